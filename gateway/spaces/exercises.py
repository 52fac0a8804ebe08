"""One file of a course: brought into a person's space when it is not there, put back, or read.

A person's file always wins: nothing is written over, and what is put back keeps the former version
beside it. By descriptors, beneath space and source, following no symlink.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import posixpath
import secrets
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from gateway.notebooks.projects import utc_now
from gateway.notebooks.source import Source
from gateway.spaces import folders
from gateway.spaces.spaces import Spaces

LARGEST = 20 * 2**20
"""Bytes of a course's file that is read for a page."""

MOST_LISTED = 5000
"""Notebooks of a course that are listed."""

_DEEPEST = 20
_COPYING = ".nbgate-copy-"
_NEVER = frozenset(("", ".", "..", ".git"))


@dataclass(frozen=True, slots=True)
class PutBack:
    """What was put back.

    Attributes:
        file: relative to the space.
        kept: what the person's own version is called now, relative to the space; None where
            there was none.
    """

    file: str
    kept: str | None


class Exercises:
    """Files of courses in spaces.

    Args:
        spaces: that they are in.
        now: the time in UTC.
    """

    def __init__(self, spaces: Spaces, now: Callable[[], datetime] = utc_now) -> None:
        self._spaces = spaces
        self._now = now

    async def bring(
        self, slug: str, source: Source | None, candidates: Sequence[str]
    ) -> str | None:
        """Return the first of `candidates` that the space has, else bring the source's first.

        Args:
            slug: of an existing space.
            source: the course's; None for none.
            candidates: relative paths.

        Returns:
            Its relative path, or None: neither has any.

        Raises:
            SourceUnavailable, SpaceError: see Spaces.ensure.
        """
        for file in candidates:
            if await self._spaces.has_file(slug, file):
                return file

        def work(space: int, files: int | None) -> str | None:
            found = None if files is None else _first_in(files, candidates)
            if found is None or files is None:
                return None
            self._copy(found, files, space)
            return found

        return await self._spaces.with_source(slug, source, work)

    async def put_back(
        self, slug: str, source: Source | None, candidates: Sequence[str]
    ) -> PutBack | None:
        """Put the course's version of a file into the space, and keep the person's beside it.

        Returns:
            What was done, or None: the source has none of `candidates`.

        Raises:
            SourceUnavailable, SpaceError: see Spaces.ensure.
        """
        stamp = self._now().strftime("%Y%m%dT%H%M%SZ")

        def work(space: int, files: int | None) -> PutBack | None:
            found = None if files is None else _first_in(files, candidates)
            if found is None or files is None:
                return None
            kept = _set_aside(space, found, stamp)
            self._copy(found, files, space)
            return PutBack(found, kept)

        return await self._spaces.with_source(slug, source, work)

    async def read(self, source: Source, candidates: Sequence[str]) -> tuple[str, bytes] | None:
        """Return path and content of the first of `candidates` that the source has, or None.

        Raises:
            SourceUnavailable, SpaceError: see Spaces.ensure.
        """

        def work(files: int) -> tuple[str, bytes] | None:
            found = _first_in(files, candidates)
            return None if found is None else (found, _content(files, found))

        return await self._spaces.in_source(source, work)

    async def notebooks(self, source: Source) -> list[str]:
        """Return the notebooks of a course, relative to its source, sorted; at most MOST_LISTED.

        Raises:
            SourceUnavailable, SpaceError: see Spaces.ensure.
        """

        def work(files: int) -> list[str]:
            found = itertools.islice(_notebooks_in(files), MOST_LISTED)
            return sorted(found)

        return await self._spaces.in_source(source, work)

    def _copy(self, file: str, source: int, space: int) -> None:
        """Copy a file, whole or not at all; one that is there meanwhile stays."""
        name = posixpath.basename(file)
        temporary = f"{_COPYING}{secrets.token_hex(8)}"
        with (
            _parent_of(file, source) as origin,
            _parent_of(file, space, make=self._spaces.copier.owner or ()) as target,
        ):
            try:
                self._spaces.copier.copy_file(name, origin, target, temporary)
                with contextlib.suppress(FileExistsError):
                    os.link(
                        temporary,
                        name,
                        src_dir_fd=target,
                        dst_dir_fd=target,
                        follow_symlinks=False,
                    )
            finally:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(temporary, dir_fd=target)


def _first_in(files: int, candidates: Sequence[str]) -> str | None:
    for file in candidates:
        parts = file.split("/")
        if not _NEVER & set(parts) and folders.is_file_beneath(files, parts):
            return file
    return None


def _notebooks_in(folder: int, parts: tuple[str, ...] = ()) -> Iterator[str]:
    with os.scandir(folder) as entries:
        for entry in entries:
            here = (*parts, entry.name)
            if entry.name.startswith(".") or len(here) > _DEEPEST:
                continue
            if entry.is_dir(follow_symlinks=False):
                with folders.opened_folder(entry.name, folder) as below:
                    yield from _notebooks_in(below, here)
            elif entry.name.endswith(".ipynb") and entry.is_file(follow_symlinks=False):
                yield "/".join(here)


@contextlib.contextmanager
def _parent_of(file: str, root: int, make: Sequence[int] | None = None) -> Iterator[int]:
    """Give a descriptor of the folder that `file` is in.

    Folders on the way are made if `make` is not None; they belong to (uid, gid) if it has them.
    """
    with contextlib.ExitStack() as stack:
        folder = root
        for part in file.split("/")[:-1]:
            if make is not None:
                _make_folder(part, folder, make)
            folder = stack.enter_context(folders.opened_folder(part, folder))
        yield folder


def _make_folder(name: str, parent: int, owner: Sequence[int]) -> None:
    try:
        os.mkdir(name, 0o755, dir_fd=parent)
    except FileExistsError:
        return
    if owner:
        with folders.opened_folder(name, parent) as made:
            os.fchown(made, owner[0], owner[1])


def _set_aside(space: int, file: str, stamp: str) -> str | None:
    """Give the person's file another name; return it, or None if there is no such file."""
    stem, ending = posixpath.splitext(file)
    kept = f"{stem}.kept-{stamp}-{secrets.token_hex(2)}{ending}"
    try:
        with _parent_of(file, space) as folder:
            names = posixpath.basename(file), posixpath.basename(kept)
            if folders.kind_of(names[0], folder) is None:
                return None
            os.rename(*names, src_dir_fd=folder, dst_dir_fd=folder)
    except FileNotFoundError:
        return None
    return kept


def _content(files: int, file: str) -> bytes:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with (
        _parent_of(file, files) as folder,
        folders.opened(posixpath.basename(file), flags, folder) as handle,
    ):
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            return b""
        with os.fdopen(os.dup(handle), "rb") as reader:
            return reader.read(LARGEST)
