"""Virtual environments with JupyterHub, apart from ours and kept by what they are made of.

They are made when the first test asks for them, or ahead by `python -m tests.hub.environment`.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from tests.support.engine import CACHE, Say, locked

_FOLDER = Path(__file__).parent
_OVERRIDES = _FOLDER / "overrides.txt"
CURRENT, OLDER = _FOLDER / "requirements.txt", _FOLDER / "requirements-older.txt"


def say(line: str) -> None:
    """Tell how it goes, on standard error."""
    sys.stderr.write(f"hub: {line}\n")
    sys.stderr.flush()


class EnvironmentMissing(Exception):
    """It cannot be made; the text says why."""


def environment(requirements: Path = CURRENT, progress: Say = say) -> Path:
    """Return the folder of an environment, which is made if it is not there.

    Args:
        requirements: what is installed.
        progress: is told what takes long.

    Raises:
        EnvironmentMissing: it cannot be made, e.g. without a package index.
    """
    home = CACHE / "hub" / _content_hash(requirements)
    with locked(home.with_suffix(".lock"), progress):
        if not (home / "ready").exists():
            progress("installing JupyterHub for the tests")
            _make(home, requirements)
            (home / "ready").touch()
    return home


def _content_hash(requirements: Path) -> str:
    digest = hashlib.sha256(f"{sys.version}\0{sys.base_prefix}".encode())
    for file in (requirements, _OVERRIDES):
        digest.update(file.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def _make(home: Path, requirements: Path) -> None:
    shutil.rmtree(home, ignore_errors=True)
    uv, python = str(Path(sys.executable).with_name("uv")), str(home / "bin" / "python")
    _run(uv, "venv", "--quiet", "--python", sys.executable, str(home))
    files = ("--requirements", str(requirements), "--overrides", str(_OVERRIDES))
    # Compiled now, or each of the first servers would do it once more.
    _run(uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", python, *files)


def _run(*command: str) -> None:
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True)
    except OSError as error:
        raise EnvironmentMissing(f"cannot run {command[0]}: {error.strerror}") from error
    if done.returncode:
        raise EnvironmentMissing(f"JupyterHub cannot be installed: {done.stderr.strip()}")


def main() -> int:
    """Make the environments ready; return an exit status."""
    try:
        for requirements in (CURRENT, OLDER):
            say(f"ready: {environment(requirements)}")
    except EnvironmentMissing as error:
        say(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
