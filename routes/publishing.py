"""Publish: a new file beside the old one, synced, dated later, renamed over it.

httpd opens the file at each uncached lookup and caches what it finds until the modification time
differs, in microseconds; GDBM locks a file while it is open. So the published file is never
written to again. Nothing here knows what the entries mean.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import re
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from routes import gdbm, helper
from routes.builder import Builder
from routes.content import Content
from routes.errors import BuildFailed, DatabaseInUse
from routes.place import Place
from routes.rests import rest

logger = logging.getLogger(__name__)

_PREFIX, _SUFFIX = ".", ".nbgate-new"
_IN_PROCESS = 100
"""Entries. Building a larger file holds the interpreter for more than a millisecond or two."""

_SETTLE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Stamp:
    """What tells one version of a file from another.

    Attributes:
        inode: its number.
        size: bytes.
        modified: nanoseconds since the epoch.
    """

    inode: int
    size: int
    modified: int


def stamp_of(path: Path) -> Stamp | None:
    """Return the stamp of the file that is in place now; None when there is none."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return Stamp(status.st_ino, status.st_size, status.st_mtime_ns)


def publish(
    path: Path,
    content: Content,
    mode: int,
    last: Stamp | None,
    builder: Builder,
    place: Place | None = None,
) -> Stamp:
    """Put a new, sealed file with `content` in the place of `path`, atomically and durably.

    Args:
        path: the file; its folder exists.
        content: all entries, without the seal.
        mode: permission bits of the file.
        last: the version published before; None when there is none.
        builder: makes it when it is large.
        place: may be closed meanwhile; None: it never is.

    Returns:
        The new file's stamp.

    Raises:
        BuildFailed: the old file, if there was one, is in place.
        Overtaken: the place was closed meanwhile.
    """
    try:
        with _new_file(path) as file:
            rest()
            _write(path, file, content, builder)
            rest()
            _adorn(file, path, mode)
            _date(file.fileno(), max(_modified(last), _modified(stamp_of(path))))
            os.fsync(file.fileno())
            status = os.fstat(file.fileno())
            (place or Place()).put(Path(file.name), path)
    except gdbm.GdbmError as error:
        raise BuildFailed(path, str(error)) from error
    except OSError as error:
        raise BuildFailed(path, error.strerror or str(error)) from error
    _sync_folder(path.parent)
    return Stamp(status.st_ino, status.st_size, status.st_mtime_ns)


@contextlib.contextmanager
def settled(path: Path) -> Iterator[None]:
    """Keep programs that write files in place (`httxt2dbm`, `dbm.gnu`) away from this one.

    They hold GDBM's exclusive lock while they write; readers, httpd too, share the one held here.

    Raises:
        DatabaseInUse: somebody went on writing for several seconds.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        yield
        return
    try:
        _share(path, handle)
        yield
    finally:
        os.close(handle)


def remove_leftovers(path: Path) -> None:
    """Remove new files that a killed writer did not finish; the writer's lock must be held."""
    ours = re.compile(re.escape(f"{_PREFIX}{path.name}.") + r"[^.]+" + re.escape(_SUFFIX))
    for leftover in path.parent.iterdir():
        if ours.fullmatch(leftover.name):
            leftover.unlink(missing_ok=True)


@contextlib.contextmanager
def _new_file(path: Path) -> Iterator[BinaryIO]:
    """Yield a new file beside `path`; whoever does not rename it loses it."""
    handle, name = tempfile.mkstemp(_SUFFIX, f"{_PREFIX}{path.name}.", path.parent)
    os.close(handle)
    try:
        with Path(name).open("r+b") as file:
            yield file
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _write(path: Path, file: BinaryIO, content: Content, builder: Builder) -> None:
    if len(content) <= _IN_PROCESS:
        file.write(helper.content(dict(content.pairs())))
        file.flush()
    else:
        builder.build(path, content, file)


def _adorn(file: BinaryIO, path: Path, mode: int) -> None:
    """Give the new file the old one's group (httpd's, for a map of secrets), and the mode."""
    with contextlib.suppress(FileNotFoundError, PermissionError):
        os.fchown(file.fileno(), -1, path.stat().st_gid)
    os.fchmod(file.fileno(), mode)


def _date(handle: int, last: int) -> None:
    """Date a file now, but later than `last` (nanoseconds) by what the file system can tell.

    A microsecond is enough where it keeps such; some keep one or two seconds.
    """
    now = time.time_ns() // 1000 * 1000
    for step in (1_000, 1_000_000_000, 2_000_000_000):
        wanted = max(now, last // 1000 * 1000 + step)
        os.utime(handle, ns=(wanted, wanted))
        if os.fstat(handle).st_mtime_ns // 1000 > last // 1000:
            return


def _modified(stamp: Stamp | None) -> int:
    return stamp.modified if stamp else 0


def _share(path: Path, handle: int) -> None:
    deadline = time.monotonic() + _SETTLE_SECONDS
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise DatabaseInUse(path, "a program that writes it in place") from None
            time.sleep(0.01)
        else:
            return


def _sync_folder(folder: Path) -> None:
    """Make the rename durable. The new file is in place already: a failure is only told."""
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        logger.warning("folder of the route file not synced folder=%s error=%s", folder, error)
