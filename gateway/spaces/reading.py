"""A person's files as somebody else may look at them: one file, or what is in one folder.

Reading changes nothing, waits for nobody who makes or fills the space, and is bounded. By
descriptors, beneath the space, following no symlink: its owner may plant them while we look.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import itertools
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from gateway.spaces import folders
from gateway.spaces.spaces import Spaces

T = TypeVar("T")

LARGEST = 16 * 2**20
"""Bytes of a file that can be read; there is none that is larger."""

MOST_ITEMS = 1000
"""Items of a folder that are given."""

_MOST_SEEN = 20_000
_DEEPEST = 100
_AT_ONCE = 4
_NOT_THERE = (
    errno.ENOENT,
    errno.ELOOP,
    errno.ENOTDIR,
    errno.ENAMETOOLONG,
    errno.EACCES,
    errno.ENXIO,  # a socket
)


@dataclass(frozen=True, slots=True)
class Item:
    """What a folder has: a regular file, or a folder.

    Attributes:
        name: as the operating system has it, see os.fsdecode.
        folder: whether it is one.
    """

    name: str
    folder: bool


class Reading:
    """Reads what is in spaces.

    Args:
        spaces: those.
    """

    def __init__(self, spaces: Spaces) -> None:
        self._spaces = spaces
        # What is read is held in memory, and is large at times.
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def file(self, slug: str, parts: Sequence[str]) -> bytes | None:
        """Return the content of a regular file of a notebook's space, or None: there is none.

        Args:
            slug: the notebook's.
            parts: the names on the way from the space to it.

        Returns:
            None as well for a file larger than LARGEST, one behind a symlink, and a name that
            no file can have.

        Raises:
            SpaceError: the disk fails.
        """
        return await self._in_space(slug, parts, _content) if parts else None

    async def folder(self, slug: str, parts: Sequence[str]) -> list[Item] | None:
        """Return what is in a folder of a space, folders first, or None: there is none.

        Args:
            slug: the notebook's.
            parts: the names on the way from the space to it; none for the space itself.

        Returns:
            At most MOST_ITEMS, in the order of their names. Symlinks, and names with a dot in
            front, are left out.

        Raises:
            SpaceError: the disk fails.
        """
        return await self._in_space(slug, parts, _items)

    async def _in_space(
        self, slug: str, parts: Sequence[str], look: Callable[[int, Sequence[str]], T]
    ) -> T | None:
        if len(parts) > _DEEPEST or not all(map(_is_name, parts)):
            return None

        def work(space: int) -> T | None:
            try:
                return look(space, parts)
            except OSError as error:
                if error.errno in _NOT_THERE:
                    return None
                raise

        async with self._turns:
            return await self._spaces.in_space(slug, work)


def _is_name(part: str) -> bool:
    if part in ("", ".", "..") or "/" in part or "\0" in part:
        return False
    try:
        os.fsencode(part)
    except UnicodeEncodeError:
        return False
    return True


@contextlib.contextmanager
def _folder_at(space: int, parts: Sequence[str]) -> Iterator[int]:
    """Give a descriptor of a folder that can be passed through, and perhaps not be listed."""
    with contextlib.ExitStack() as stack:
        folder = space
        for part in parts:
            flags = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            folder = stack.enter_context(folders.opened(part, flags, folder))
        yield folder


def _content(space: int, parts: Sequence[str]) -> bytes | None:
    # O_NONBLOCK: a pipe in the file's place must not hold us.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with (
        _folder_at(space, parts[:-1]) as folder,
        folders.opened(parts[-1], flags, folder) as handle,
    ):
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode) or found.st_size > LARGEST:
            return None
        with os.fdopen(os.dup(handle), "rb") as reader:
            content = reader.read(LARGEST + 1)
    return None if len(content) > LARGEST else content


def _items(space: int, parts: Sequence[str]) -> list[Item]:
    with (
        _folder_at(space, parts) as place,
        folders.opened_folder(".", place) as handle,
        os.scandir(handle) as entries,
    ):
        found = [_item(one) for one in itertools.islice(entries, _MOST_SEEN)]
    items = sorted((one for one in found if one is not None), key=_order)
    return items[:MOST_ITEMS]


def _item(entry: os.DirEntry[str]) -> Item | None:
    if entry.name.startswith("."):
        return None
    if entry.is_dir(follow_symlinks=False):
        return Item(entry.name, folder=True)
    return Item(entry.name, folder=False) if entry.is_file(follow_symlinks=False) else None


def _order(item: Item) -> tuple[bool, str, str]:
    return not item.folder, item.name.casefold(), item.name
