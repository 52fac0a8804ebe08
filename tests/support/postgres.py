"""A throw-away PostgreSQL cluster on loopback, of the programs under /usr/lib/postgresql."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.places import free_port
from tests.support.waiting import PATIENCE

USER = "nbgate"
_SECONDS = int(PATIENCE)


@dataclass(frozen=True, slots=True)
class Cluster:
    """A running server that trusts loopback."""

    port: int

    def url(self, database: str, host: str = "127.0.0.1") -> str:
        """Return the URL of one of its databases."""
        return f"postgresql://{USER}@{host}:{self.port}/{database}"


def find_programs() -> Path:
    """Return the folder of initdb and pg_ctl, of the newest version that is installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    on_path = shutil.which("initdb")
    if not found and on_path is None:
        raise FileNotFoundError(
            "PostgreSQL is not installed; on Debian or Ubuntu: apt-get install postgresql"
        )
    return found[-1].parent if found else Path(str(on_path)).parent


@contextmanager
def running_cluster() -> Iterator[Cluster]:
    """Start a cluster in a folder of its own; at the end, stop it and delete the folder."""
    programs = find_programs()
    # Not pytest's folder: PostgreSQL refuses to be root, and nobody else may pass through that.
    folder = Path(tempfile.mkdtemp(prefix="nbgate-postgres-"))
    try:
        identity = _not_root(folder)
        data, port = str(folder / "data"), free_port()
        _run(
            [programs / "initdb", "-D", data, "-U", USER, "-A", "trust", "-N", "-E", "UTF8"],
            identity,
        )
        options = f"-c listen_addresses=127.0.0.1 -p {port} -k {folder} -F -c max_connections=60"
        control: list[str | Path] = [
            programs / "pg_ctl",
            "-D",
            data,
            "-l",
            folder / "log",
            "-w",
            "-t",
            str(_SECONDS),
        ]
        _run([*control, "-o", options, "start"], identity)
        try:
            yield Cluster(port)
        finally:
            _run([*control, "-m", "immediate", "stop"], identity)
    finally:
        shutil.rmtree(folder)


def _not_root(folder: Path) -> tuple[int, int] | None:
    """Return whom to run as; None when we are not root and stay who we are."""
    if os.geteuid() != 0:
        return None
    user = pwd.getpwnam("postgres")
    os.chown(folder, user.pw_uid, user.pw_gid)
    return user.pw_uid, user.pw_gid


def _run(command: Sequence[str | Path], identity: tuple[int, int] | None) -> None:
    user, group = identity or (None, None)
    result = subprocess.run(
        command,
        user=user,
        group=group,
        extra_groups=[] if identity else None,
        cwd="/",
        env={"PATH": os.environ["PATH"], "LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=_SECONDS * 2,
        check=False,
    )
    if result.returncode != 0:
        raise RuntimeError(f"{command[0]}: {result.stdout.decode(errors='replace')}")
