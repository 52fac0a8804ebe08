"""Other programs that read and write GDBM files: the referees of ours."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.support.waiting import PATIENCE

_READ = """
import dbm.gnu, sys
with dbm.gnu.open(sys.argv[1], "r") as file:
    key = file.firstkey()
    while key is not None:
        sys.stdout.buffer.write(key + b"\\t" + file[key] + b"\\n")
        key = file.nextkey(key)
"""
_WRITE = """
import dbm.gnu, sys
with dbm.gnu.open(sys.argv[1], "c") as file:
    for line in sys.stdin.buffer.read().splitlines():
        key, value = line.split(b"\\t")
        file[key] = value
"""
_HOLD = """
import dbm.gnu, sys
with dbm.gnu.open(sys.argv[1], "w") as file:
    print("held", flush=True)
    sys.stdin.readline()
"""


def read_with_dbm_gnu(path: Path) -> dict[bytes, bytes]:
    """Return what Debian's `dbm.gnu` finds in a file."""
    lines = _debian_python(_READ, path, b"").splitlines()
    return {key: value for key, _, value in (line.partition(b"\t") for line in lines)}


def write_with_dbm_gnu(path: Path, entries: Mapping[bytes, bytes]) -> None:
    """Set entries in place, as `dbm.gnu` does it; makes the file if there is none."""
    _debian_python(_WRITE, path, b"".join(b"%b\t%b\n" % entry for entry in entries.items()))


def write_with_httxt2dbm(path: Path, entries: Mapping[bytes, bytes]) -> None:
    """Set entries in place, as httpd's own tool does it; makes the file if there is none."""
    text = path.with_name("routes.txt")
    text.write_bytes(b"".join(b"%b %b\n" % entry for entry in entries.items()))
    tool = shutil.which("httxt2dbm", path=f"{os.environ['PATH']}:/usr/sbin")
    assert tool is not None, "httxt2dbm is missing: apt-get install apache2-utils"
    command = [tool, "-f", "GDBM", "-i", str(text), "-o", str(path)]
    subprocess.run(command, check=True, capture_output=True, timeout=PATIENCE)
    text.unlink()


def hold_with_dbm_gnu(path: Path) -> subprocess.Popen[str]:
    """Start a program that has the file open for writing until its input ends."""
    holder = subprocess.Popen(
        ["/usr/bin/python3", "-c", _HOLD, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    return holder


def _debian_python(program: str, path: Path, stdin: bytes) -> bytes:
    command = ["/usr/bin/python3", "-c", program, str(path)]
    return subprocess.run(
        command, input=stdin, stdout=subprocess.PIPE, check=True, timeout=PATIENCE
    ).stdout
