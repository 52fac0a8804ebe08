"""The companion of the route file: the map from which httpd takes hop secrets.

It is read like a route file, but whoever can read it can open every hot notebook, and whoever
can write it decides what httpd sends. What is said about it never has a value in it.
"""

from __future__ import annotations

import stat
from pathlib import Path

from routes.errors import DamagedDatabase, DatabaseInUse
from routes.files import read_and_seal
from routes.keys import InvalidKey, InvalidTarget, canonical_key, checked_text
from routes.seal import seal_of

MODE = 0o640
"""Owner and group (httpd's) read it, nobody else."""

_TOO_OPEN = 0o777 & ~MODE
_REBUILD = "`nbgate route rebuild` writes a fresh one"
_REMOVE = (
    "remove it: only with NBGATE_HTTPD_DIRECT is it used, and then the gateway writes it anew at "
    "its start"
)


def beside(route_file: Path) -> Path:
    """Return where the map of a route file is; httpd's configuration has the same name."""
    return route_file.with_name("secrets.gdbm")


def check(path: Path, wanted: bool) -> list[str]:
    """Return what is wrong with the map, one line each with its remedy; empty when it is sound.

    Args:
        path: the map.
        wanted: whether httpd is to send hot notebooks' secrets; else the map may be missing.
    """
    remedy = _REBUILD if wanted else _REMOVE
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        found = [f"{fault}; {remedy}" for fault in faults(path)]
    except FileNotFoundError:
        return [f"{path} is not there, and httpd needs it; {remedy}"] if wanted else []
    except OSError as error:
        return [f"{path}: {error.strerror}; it is for the gateway's user and httpd's group"]
    if mode & _TOO_OPEN:
        found.append(
            f"{path} has secrets, and its mode {mode:04o} gives them away; `chmod {MODE:o} {path}`"
        )
    return found


def faults(path: Path) -> list[str]:
    """Return what is wrong with the content, one line each. Raises OSError."""
    try:
        entries, seal = read_and_seal(path)
    except DamagedDatabase as error:
        return [f"{path} is damaged: {error.reason}"]
    except DatabaseInUse as error:
        return [f"{path} is in use by {error.holder}, and the gateway alone may write it"]
    if seal is None:
        return [f"{path} has no seal: not the gateway but another program has written it"]
    if seal != seal_of(entries):
        return [f"{path} has entries that not the gateway but another program has written"]
    unusable = [key for key, value in sorted(entries.items()) if not _usable(key, value)]
    return [f"{path}: httpd cannot use the entry of {key!a}" for key in unusable]


def _usable(key: bytes, value: bytes) -> bool:
    try:
        checked_text(value)
        return canonical_key(key).encode("ascii") == key
    except (InvalidKey, InvalidTarget):
        return False
