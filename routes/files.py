"""A route file as a whole: read and verify it, say what is wrong, save what can be saved.

Nothing here needs the writer's lock, except `mend`, which takes it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import time
from collections.abc import Iterable
from pathlib import Path

from routes import gdbm, helper, publishing
from routes.builder import Builder
from routes.content import Content
from routes.errors import DamagedDatabase, DatabaseInUse
from routes.keys import InvalidKey, InvalidTarget, canonical_key, canonical_target
from routes.seal import SEAL, fault, mark_of, marks_of


def read(path: Path) -> dict[bytes, bytes]:
    """Return the entries of a route file, as they are, verified by its seal if it has one.

    Raises:
        DamagedDatabase: it is not there, no GDBM file, or not what was published.
        DatabaseInUse: another program writes it in place.
        GdbmMissing: libgdbm is not installed.
        OSError: it cannot be opened.
    """
    return read_and_seal(path)[0]


def read_and_seal(path: Path) -> tuple[dict[bytes, bytes], bytes | None]:
    """Return the entries and the seal, None if it has none; raises as `read`."""
    entries = dict(helper.read(path))
    seal = entries.pop(SEAL, None)
    if seal is not None and (reason := fault(entries, seal)):
        raise DamagedDatabase(path, reason)
    return entries, seal


def check(path: Path) -> list[str]:
    """Return what is wrong with a route file, one line each; empty when it is sound."""
    try:
        entries = read(path)
    except DamagedDatabase as error:
        return [f"{path}: {error.reason}"]
    except DatabaseInUse as error:
        return [str(error)]
    except OSError as error:
        return [f"{path}: {error.strerror}"]
    return [finding for entry in sorted(entries.items()) if (finding := _finding(*entry))]


def salvage(path: Path) -> dict[bytes, bytes]:
    """Return what is still readable of a route file; never raises DamagedDatabase.

    Of a damaged file, only entries that could be set, and, as far as its seal is readable, that
    are as they were published. Without a seal no value is proven; a key of which several values
    are found is left out.
    """
    try:
        return read(path)
    except DamagedDatabase:
        if not path.is_file():
            return {}
        found = _found(path)
    seals = found.pop(SEAL, set())
    marks = marks_of(seals.pop()) if len(seals) == 1 else frozenset()
    saved = {}
    for key, values in found.items():
        trusted = {value for value in values if not marks or mark_of(key, value) in marks}
        if len(trusted) == 1 and not _finding(key, value := trusted.pop()):
            saved[key] = value
    return saved


def keep_damaged(path: Path) -> Path | None:
    """Copy a damaged file beside itself; return the copy, or None when the file is sound."""
    return copy_aside(path) if path.is_file() and check(path) else None


def copy_aside(path: Path) -> Path:
    """Copy a file beside itself, under a name that says what it is; return the copy."""
    kept = aside(path)
    shutil.copy2(path, kept)
    return kept


def aside(path: Path) -> Path:
    """Return the name under which a damaged file is kept now."""
    stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
    return path.with_name(f"{path.name}.damaged-{stamp}")


def mend(path: Path) -> Path | None:
    """Replace a damaged file by what is still readable of it.

    Returns:
        Where the damaged one is kept; None when the file was sound or not there.

    Raises:
        DatabaseInUse: a gateway has it; that one can rebuild it.
    """
    path = real(path)
    lock = lock_for_writing(path)
    try:
        kept = keep_damaged(path)
        if kept is not None:
            mode = path.stat().st_mode & 0o777
            content = Content((salvage(path),))
            with contextlib.closing(Builder()) as builder:
                publishing.publish(path, content, mode, publishing.stamp_of(path), builder)
    finally:
        os.close(lock)
    return kept


def real(path: Path | str) -> Path:
    """Return where a file really is: replacing it must not replace a symbolic link to it."""
    return Path(os.path.realpath(path))


def lock_for_writing(path: Path) -> int:
    """Take the writer's lock; return the descriptor that holds it.

    Raises:
        DatabaseInUse: somebody has it.
    """
    lock = path.with_name(path.name + ".lock")
    handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(handle, 20, 0).decode("ascii", "replace").strip()
        os.close(handle)
        raise DatabaseInUse(path, f"process {holder}" if holder else "another process") from None
    os.ftruncate(handle, 0)
    os.pwrite(handle, str(os.getpid()).encode(), 0)
    return handle


def _finding(key: bytes, value: bytes) -> str:
    try:
        if (canonical := canonical_key(key)) != key.decode("ascii"):
            return f"route key {key!a} is not in canonical form; write {canonical!r}"
        canonical_target(value)
    except InvalidKey as error:
        return str(error)
    except InvalidTarget as error:
        return f"route {key.decode('ascii')!r}: {error}"
    return ""


def _found(path: Path) -> dict[bytes, set[bytes]]:
    """Return every key that can be found, with the values it may have."""
    entries: Iterable[gdbm.Entry]
    try:
        # When only the seal does not fit, every entry that there is can be read.
        entries = helper.read(path)
    except DamagedDatabase:
        entries = gdbm.carve(path.read_bytes())
    found: dict[bytes, set[bytes]] = {}
    for key, value in entries:
        found.setdefault(key, set()).add(value)
    return found
