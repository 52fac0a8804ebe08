"""The companion of the route file that has the JSON of routes which came with some.

Key → one JSON object, whose member `target` is a string. Routes that httpd cannot use are in it
alone. It may name people, so it is not for everybody to read.
"""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

from routes.errors import DamagedDatabase, DatabaseInUse
from routes.files import read_and_seal
from routes.keys import InvalidKey, canonical_key

MODE = 0o640
"""Owner and group read it, nobody else."""

_TOO_OPEN = 0o777 & ~MODE
_REBUILD = "`nbgate route rebuild` writes a fresh one"


def beside(route_file: Path) -> Path:
    """Return where the companion of a route file is: `routes.extras.gdbm` of `routes.gdbm`."""
    return route_file.with_name(f"{route_file.stem}.extras.gdbm")


def object_of(text: bytes) -> dict[str, Any] | None:
    """Return the object that an entry holds; None when it is none with a target."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and isinstance(found.get("target"), str) else None


def check(path: Path) -> list[str]:
    """Return what is wrong with the map, one line each with its remedy; it may be missing."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        found = _faults(path)
    except FileNotFoundError:
        return []
    except OSError as error:
        return [f"{path}: {error.strerror}; it is for the gateway's user"]
    if mode & _TOO_OPEN:
        found.append(
            f"{path} may name people, and its mode {mode:04o} lets everybody read or change it; "
            f"`chmod {MODE:o} {path}`"
        )
    return found


def _faults(path: Path) -> list[str]:
    try:
        entries, _ = read_and_seal(path)
    except DamagedDatabase as error:
        return [f"{path} is damaged: {error.reason}; {_REBUILD}"]
    except DatabaseInUse as error:
        return [f"{path} is in use by {error.holder}, and the gateway alone may write it"]
    unusable = [key for key, value in sorted(entries.items()) if not _usable(key, value)]
    return [f"{path}: the entry of {key!a} is no JSON of a route; {_REBUILD}" for key in unusable]


def _usable(key: bytes, value: bytes) -> bool:
    try:
        return canonical_key(key).encode("ascii") == key and object_of(value) is not None
    except InvalidKey:
        return False
