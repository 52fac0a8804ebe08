"""Publish: a new file beside the old one, synced, dated later, renamed over it.

httpd opens the file at each uncached lookup and caches what it finds until the modification time
differs, in microseconds; GDBM locks a file while it is open. So the published file is never
written to again.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from routes import gdbm
from routes.errors import BuildFailed

SEAL = b"!nbgate"
"""The reserved key with count and digest of all other entries. It can be no host and no path."""

_PREFIX, _SUFFIX = ".", ".nbgate-new"


def seal_of(entries: Mapping[bytes, bytes]) -> bytes:
    """Return the value of the reserved key: it tells silent damage."""
    digest = hashlib.sha256()
    for key in sorted(entries):
        for part in (key, entries[key]):
            digest.update(len(part).to_bytes(4, "big") + part)
    return f"v1 {len(entries)} {digest.hexdigest()}".encode("ascii")


def publish(path: Path, entries: Iterable[gdbm.Entry], mode: int) -> None:
    """Put a new file with `entries` in the place of `path`, atomically and durably.

    Args:
        path: the file; its folder exists.
        entries: all of them, the seal among them.
        mode: permission bits of the file.

    Raises:
        BuildFailed: the old file, if there was one, is in place.
    """
    try:
        _replace(path, gdbm.build(entries), mode)
    except gdbm.GdbmError as error:
        raise BuildFailed(path, str(error)) from error
    except OSError as error:
        raise BuildFailed(path, error.strerror or str(error)) from error


def remove_leftovers(path: Path) -> None:
    """Remove new files that a killed writer did not finish; the writer's lock must be held."""
    for leftover in path.parent.glob(f"{_PREFIX}{path.name}.*{_SUFFIX}"):
        with contextlib.suppress(FileNotFoundError):
            leftover.unlink()


def _replace(path: Path, content: memoryview, mode: int) -> None:
    handle, name = tempfile.mkstemp(_SUFFIX, f"{_PREFIX}{path.name}.", path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), mode)
            stamp = _later_than(path)
            os.utime(file.fileno(), ns=(stamp, stamp))
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _later_than(path: Path) -> int:
    """Return now in nanoseconds, but at least a microsecond after the file's last change."""
    try:
        last = path.stat().st_mtime_ns // 1000
    except FileNotFoundError:
        last = 0
    return max(time.time_ns() // 1000, last + 1) * 1000


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
