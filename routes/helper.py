"""The helper process: what must not happen in the gateway's own happens here.

Reading a file that nobody vouches for can crash or hang libgdbm, and building a large file holds
the interpreter. `python -m routes.helper read PATH` writes the entries to standard output;
`… build PATH MODE` takes them from standard input and publishes them. An entry on the wire is
two big-endian 32-bit lengths, the key, the value.
"""

from __future__ import annotations

import struct
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from routes import gdbm, publishing
from routes.errors import BuildFailed, DamagedDatabase

_LENGTHS = struct.Struct(">II")
_READ_SECONDS = 120.0
_BUILD_SECONDS = 300.0
_LONGEST_COMPLAINT = 200


def read(path: Path) -> list[gdbm.Entry]:
    """Return all entries of a file, as they are, without judging their meaning.

    Raises:
        DamagedDatabase: it is no sound GDBM file, or somebody writes it in place now.
    """
    try:
        result = _run(["read", str(path)], b"", _READ_SECONDS)
    except subprocess.TimeoutExpired:
        raise DamagedDatabase(path, "reading it does not come to an end") from None
    if result.returncode != 0:
        raise DamagedDatabase(path, _complaint(result))
    try:
        return list(unpack(result.stdout))
    except (struct.error, ValueError):
        raise DamagedDatabase(path, "reading it ended half-way") from None


def build(path: Path, entries: Iterable[gdbm.Entry], mode: int) -> None:
    """Publish `entries` as a new file at `path`.

    Raises:
        BuildFailed: it could not be made; the old file is in place.
    """
    try:
        result = _run(["build", str(path), str(mode)], pack(entries), _BUILD_SECONDS)
    except subprocess.TimeoutExpired:
        raise BuildFailed(path, "it took too long") from None
    if result.returncode != 0:
        raise BuildFailed(path, _complaint(result))


def pack(entries: Iterable[gdbm.Entry]) -> bytes:
    """Return entries in their form on the wire."""
    parts: list[bytes] = []
    for key, value in entries:
        parts += (_LENGTHS.pack(len(key), len(value)), key, value)
    return b"".join(parts)


def unpack(data: bytes) -> Iterator[gdbm.Entry]:
    """Yield the entries of `data`. Raises struct.error or ValueError where it is cut off."""
    position = 0
    while position < len(data):
        key_size, value_size = _LENGTHS.unpack_from(data, position)
        middle = position + _LENGTHS.size + key_size
        end = middle + value_size
        if end > len(data):
            raise ValueError("entries end half-way")
        yield data[position + _LENGTHS.size : middle], data[middle:end]
        position = end


def _run(words: list[str], stdin: bytes, seconds: float) -> subprocess.CompletedProcess[bytes]:
    package_root = str(Path(__file__).resolve().parent.parent)
    program = f"import sys; sys.path.insert(0, {package_root!r}); import routes.helper as helper; "
    return subprocess.run(
        [sys.executable, "-I", "-S", "-c", program + "sys.exit(helper.main(sys.argv[1:]))", *words],
        input=stdin,
        capture_output=True,
        timeout=seconds,
        check=False,
    )


def _complaint(result: subprocess.CompletedProcess[bytes]) -> str:
    lines = result.stderr.decode("utf-8", "replace").strip().splitlines()
    if lines:
        return lines[-1][:_LONGEST_COMPLAINT]
    return f"the library ended with status {result.returncode} while it read it"


def main(words: list[str]) -> int:
    """Run in the helper process; complaints go to standard error as one line."""
    try:
        if words[0] == "read":
            sys.stdout.buffer.write(pack(_read_all(Path(words[1]))))
        else:
            entries = list(unpack(sys.stdin.buffer.read()))
            publishing.publish(Path(words[1]), entries, int(words[2]))
    except (gdbm.GdbmError, OSError, BuildFailed) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _read_all(path: Path) -> list[gdbm.Entry]:
    with gdbm.Reader(path) as reader:
        claimed = reader.count()
        entries: dict[bytes, bytes] = {}
        for number, key in enumerate(reader.keys()):
            if number >= claimed or key in entries:
                raise gdbm.GdbmError(0, "its keys come round in a circle")
            value = reader.fetch(key)
            if value is None:
                raise gdbm.GdbmError(0, f"key {key!a} is listed but not found")
            entries[key] = value
        if len(entries) != claimed:
            raise gdbm.GdbmError(0, f"it claims {claimed} entries but lists {len(entries)}")
    return list(entries.items())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
