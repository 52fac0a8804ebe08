"""Checkouts of git repositories, shared by the spaces that are filled from them.

When a lecture starts, hundreds of spaces are filled from one repository within a minute: it is
fetched once. When it cannot be fetched again, the files that came last are better than none.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from gateway.notebooks.source import Source
from gateway.spaces import folders, git

logger = logging.getLogger(__name__)

PREFIX = ".source-"
_KEEP_SECONDS = 60.0


@dataclass(slots=True)
class _Checkout:
    """One fetched state. `fetched` is clock time in seconds, `users` copy from it now."""

    folder: Path
    fetched: float
    users: int = 0
    current: bool = True


class Checkouts:
    """The checkouts of one gateway.

    Args:
        root: an existing folder; checkouts are made in it, under names that begin with PREFIX.
        keep_seconds: how long a checkout counts as fresh.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        root: Path,
        keep_seconds: float = _KEEP_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._root = root
        self._keep_seconds = keep_seconds
        self._clock = clock
        self._checkouts: dict[Source, _Checkout] = {}
        self._locks: dict[Source, asyncio.Lock] = {}
        self._failures: dict[Source, git.SourceUnavailable] = {}

    @property
    def names(self) -> frozenset[str]:
        """What the checkouts that are current are called in the root."""
        return frozenset(one.folder.name for one in self._checkouts.values())

    def is_fresh(self, source: Source) -> bool:
        """Whether `use` has nothing to fetch."""
        found = self._checkouts.get(source)
        return found is not None and self._clock() - found.fetched < self._keep_seconds

    @asynccontextmanager
    async def use(self, source: Source) -> AsyncIterator[Path]:
        """Give a folder with the repository's files, which stays until the end.

        Raises:
            SourceUnavailable: it cannot be fetched, and never was.
        """
        before = self._failures.get(source)
        async with self._locks.setdefault(source, asyncio.Lock()):
            failure = self._failures.get(source)
            if failure is not None and failure is not before:
                # It failed while this one waited: a class does not wait for one after the other.
                raise git.SourceUnavailable(str(failure)) from failure
            checkout = await self._fresh(source)
            checkout.users += 1
        try:
            yield checkout.folder
        finally:
            checkout.users -= 1
            await self._drop_unused(checkout)

    async def close(self) -> None:
        """Delete the checkouts that nobody uses."""
        for checkout in self._checkouts.values():
            checkout.current = False
            await self._drop_unused(checkout)
        self._checkouts.clear()

    async def _fresh(self, source: Source) -> _Checkout:
        old = self._checkouts.get(source)
        if old is not None and self.is_fresh(source):
            return old
        now = self._clock()
        try:
            new = _Checkout(await self._fetch(source), now)
        except git.SourceUnavailable as error:
            if old is None:
                self._failures[source] = error
                raise
            logger.warning("the files that came last are used source=%s reason=%s", source, error)
            old.fetched = now
            return old
        self._failures.pop(source, None)
        self._checkouts[source] = new
        if old is not None:
            old.current = False
            await self._drop_unused(old)
        return new

    async def _fetch(self, source: Source) -> Path:
        folder = self._root / f"{PREFIX}{secrets.token_hex(8)}"
        try:
            await git.clone(source, folder)
        except BaseException:
            await asyncio.shield(asyncio.to_thread(_delete, folder))
            raise
        return folder

    async def _drop_unused(self, checkout: _Checkout) -> None:
        if not checkout.current and checkout.users == 0:
            await asyncio.to_thread(_delete, checkout.folder)


def _delete(folder: Path) -> None:
    with folders.opened(str(folder.parent), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC) as root:
        folders.delete(folder.name, root)
