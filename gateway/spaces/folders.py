"""Folders by file descriptor: opening, copying and deleting without following a symlink.

Students write below a space's root and plant symlinks there, also while we look. So each step
opens one name relative to an open folder with O_NOFOLLOW, and no path is ever resolved twice.
Everything here blocks: run it in a thread. What fails raises OSError.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import posixpath
import secrets
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CHUNK = 1 << 20
_DEEPEST = 100
_NO_WAY = (errno.ENOENT, errno.ELOOP, errno.ENOTDIR, errno.ENAMETOOLONG, errno.EACCES)

Owner = tuple[int, int]


@contextlib.contextmanager
def opened(name: str, flags: int, dir_fd: int | None = None, mode: int = 0o600) -> Iterator[int]:
    """Give a file descriptor of `name` and close it at the end."""
    handle = os.open(name, flags, mode, dir_fd=dir_fd)
    try:
        yield handle
    finally:
        os.close(handle)


@contextlib.contextmanager
def opened_folder(name: str, dir_fd: int | None = None) -> Iterator[int]:
    """Give a file descriptor of the folder `name`; ELOOP or ENOTDIR if it is a symlink."""
    with opened(name, _FOLDER, dir_fd) as handle:
        yield handle


def kind_of(name: str, dir_fd: int) -> int | None:
    """Return the file type bits (stat.S_IFMT) of `name` itself, or None if it is not there."""
    try:
        return stat.S_IFMT(os.stat(name, dir_fd=dir_fd, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return None


def is_file_beneath(dir_fd: int, parts: list[str]) -> bool:
    """Whether `parts` lead from the folder to a regular file, by folders alone."""
    if len(parts) > _DEEPEST:
        return False
    try:
        if len(parts) == 1:
            return kind_of(parts[0], dir_fd) == stat.S_IFREG
        # O_PATH: a folder that may only be passed through is enough.
        with opened(parts[0], os.O_PATH | _FOLDER, dir_fd) as folder:
            return is_file_beneath(folder, parts[1:])
    except OSError as error:
        if error.errno in _NO_WAY:
            return False
        raise


@dataclass(frozen=True, slots=True)
class Copier:
    """Copies a folder's files into a new, empty folder.

    Attributes:
        owner: (uid, gid) that everything copied gets; None leaves it as it is made.
    """

    owner: Owner | None

    def copy(self, source_fd: int, target_fd: int, parts: tuple[str, ...] = ()) -> None:
        """Copy what is in the folder `source_fd`, at `parts` below the source's root.

        Regular files and folders; symlinks only if they are relative and stay inside, as
        symlinks; `.git` and everything else is left out.
        """
        if len(parts) > _DEEPEST:
            raise OSError(errno.ELOOP, f"folders nested more than {_DEEPEST} deep")
        with os.scandir(source_fd) as entries:
            for entry in entries:
                if entry.name != ".git":
                    self.copy_entry(entry, source_fd, target_fd, parts)

    def copy_entry(
        self,
        entry: os.DirEntry[str],
        source_fd: int,
        target_fd: int,
        parts: tuple[str, ...] = (),
    ) -> None:
        """Copy one of what is in the folder `source_fd`; see `copy`."""
        if entry.is_dir(follow_symlinks=False):
            os.mkdir(entry.name, 0o700, dir_fd=target_fd)
            with (
                opened_folder(entry.name, source_fd) as source,
                opened_folder(entry.name, target_fd) as target,
            ):
                self.copy(source, target, (*parts, entry.name))
                self._finish(source, target, 0o700)
        elif entry.is_file(follow_symlinks=False):
            self.copy_file(entry.name, source_fd, target_fd)
        elif entry.is_symlink():
            self._copy_symlink(entry.name, source_fd, target_fd, parts)

    def copy_file(
        self, name: str, source_fd: int, target_fd: int, called: str | None = None
    ) -> None:
        """Copy the regular file `name` of one folder into another, as `called` if that is given.

        What is no regular file is left out; what has its name there raises FileExistsError.
        """
        # O_NONBLOCK: a pipe that took the file's place must not hold us.
        reading = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        writing = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with opened(name, reading, source_fd) as source:
            if not stat.S_ISREG(os.fstat(source).st_mode):
                return
            with opened(called or name, writing, target_fd) as target:
                while chunk := os.read(source, _CHUNK):
                    _write_all(target, chunk)
                self._finish(source, target, 0o600)

    def _copy_symlink(
        self, name: str, source_fd: int, target_fd: int, parts: tuple[str, ...]
    ) -> None:
        leads_to = os.readlink(name, dir_fd=source_fd)
        if not _stays_inside(leads_to, parts):
            return
        os.symlink(leads_to, name, dir_fd=target_fd)
        if self.owner is not None:
            os.chown(name, *self.owner, dir_fd=target_fd, follow_symlinks=False)

    def _finish(self, source_fd: int, target_fd: int, least: int) -> None:
        """Give the copy its owner, its mode (never setuid, never for others to write), its time."""
        found = os.fstat(source_fd)
        if self.owner is not None:
            os.fchown(target_fd, *self.owner)
        os.fchmod(target_fd, found.st_mode & 0o755 | least)
        os.utime(target_fd, ns=(found.st_atime_ns, found.st_mtime_ns))


def _write_all(handle: int, chunk: bytes) -> None:
    view = memoryview(chunk)
    while view:
        view = view[os.write(handle, view) :]


def _stays_inside(leads_to: str, parts: tuple[str, ...]) -> bool:
    if posixpath.isabs(leads_to):
        return False
    landed = posixpath.normpath(posixpath.join(*parts, leads_to))
    return landed != ".." and not landed.startswith("../")


def delete(name: str, dir_fd: int) -> None:
    """Delete the file, symlink or folder `name` with everything in it.

    Folders are first moved up into `name` itself, so that neither depth nor the length of a
    path is a limit: a student can nest folders deeper than any recursion or open file limit.
    """
    if kind_of(name, dir_fd) != stat.S_IFDIR:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=dir_fd)
        return
    prefix = secrets.token_hex(8)
    fresh_names = (f"{prefix}-{number}" for number in itertools.count())
    _let_us_in(name, dir_fd)
    with opened_folder(name, dir_fd) as top:
        waiting = _empty(top, top, fresh_names)
        while waiting:
            folder = waiting.pop()
            with opened_folder(folder, top) as handle:
                waiting += _empty(handle, top, fresh_names)
            os.rmdir(folder, dir_fd=top)
    os.rmdir(name, dir_fd=dir_fd)


def _empty(folder: int, top: int, fresh_names: Iterator[str]) -> list[str]:
    """Delete the files in `folder`, move its folders into `top`; return their new names."""
    moved = []
    for name in os.listdir(folder):
        if kind_of(name, folder) == stat.S_IFDIR:
            _let_us_in(name, folder)
            moved.append(next(fresh_names))
            os.rename(name, moved[-1], src_dir_fd=folder, dst_dir_fd=top)
        else:
            os.unlink(name, dir_fd=folder)
    return moved


def _let_us_in(name: str, dir_fd: int) -> None:
    """Make the folder readable and writable for its owner; people chmod things."""
    with opened(name, os.O_PATH | _FOLDER, dir_fd) as handle:
        mode = stat.S_IMODE(os.fstat(handle).st_mode)
        if mode & 0o700 != 0o700:
            # An O_PATH descriptor cannot be chmodded itself, only by this name of it.
            Path(f"/proc/self/fd/{handle}").chmod(mode | 0o700)
