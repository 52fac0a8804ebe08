"""Read-only copies of notebooks that people share: made, found, taken back, over.

A copy is found by a secret in its address. It belongs to a notebook, and lasts no longer than its
space. How copies are on disk is sharefiles.py's; what of one is shown is web/shares.py's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeVar

from gateway.launch import secret
from gateway.launch.sharefiles import Share, ShareFiles
from gateway.notebooks.projects import utc_now
from gateway.spaces.spaces import SpaceError

T = TypeVar("T")

FOLDER = ".shares"
"""Name of the copies' folder in that of the spaces: no space can be called so."""

LARGEST = 4 * 2**20
"""Bytes of a file that can be shared."""

MOST = 10
"""Copies of one notebook; one more takes the place of the oldest."""

_LIFETIME = 7 * 86400.0
_ABANDONED = timedelta(days=1)


class Shares:
    """The copies below one folder.

    It is beside the spaces, which gateways that share an installation share too. So nothing is
    remembered here, and each step may be taken by another gateway at the same moment.

    Args:
        folder: made when it is first needed.
        exists: whether a notebook has a space.
        lifetime: seconds that a copy lasts; 0: none is made, and none that is there lasts.
        now: the time in UTC.
    """

    def __init__(
        self,
        folder: Path,
        exists: Callable[[str], Awaitable[bool]],
        lifetime: float = _LIFETIME,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._files = ShareFiles(folder)
        self._exists = exists
        self._lifetime = lifetime
        self._now = now

    @property
    def offered(self) -> bool:
        """Whether people can share."""
        return self._lifetime > 0

    async def make(self, slug: str, project: str, file: str, content: bytes) -> tuple[str, Share]:
        """Keep a copy; return its secret, which nobody can be told again, and what it is.

        Args:
            slug: the notebook's.
            project: the notebook's.
            file: the file's path in its space.
            content: at most LARGEST bytes.

        Raises:
            SpaceError: the disk fails.
        """
        assert self.offered
        assert len(content) <= LARGEST
        fresh, made = secret.fresh(), _whole(self._now())
        expires = made + timedelta(milliseconds=round(self._lifetime * 1000))
        share = Share(secret.digest(fresh), slug, project, file, made, expires)
        await _in_thread(lambda: self._files.add(share, content, MOST))
        return fresh, share

    async def find(self, fresh: str) -> tuple[Share, bytes] | None:
        """Return the copy with this secret and its content; None: there is none (any more).

        Raises:
            SpaceError: the disk fails.
        """
        if not self.offered:
            return None
        digest = secret.digest(fresh)
        found = await _in_thread(lambda: self._files.find(digest))
        if found is None or found[0].expires <= self._now():
            return None
        return found if await self._exists(found[0].slug) else None

    async def of(self, slug: str) -> list[Share]:
        """Return the copies of a notebook, the newest first. Raises SpaceError."""
        found = await _in_thread(lambda: self._files.of(slug)) if self.offered else []
        return [one for one in found if one.expires > self._now()]

    async def end(self, slug: str, digest: str) -> bool:
        """Take a copy of a notebook back; return whether there was one. Raises SpaceError."""
        return await _in_thread(lambda: self._files.remove(slug, lambda one: one.digest == digest))

    async def forget(self, slug: str) -> None:
        """Take all copies of a notebook back. Raises SpaceError."""
        await _in_thread(lambda: self._files.forget(slug))

    async def expire(self) -> None:
        """Delete what is over, also what has no space any more, and what was left half done.

        Raises:
            SpaceError: the disk fails.
        """
        now = self._now()
        over = now if self.offered else None
        for slug in await _in_thread(lambda: self._files.expire(over, now - _ABANDONED)):
            if not await self._exists(slug):
                await self.forget(slug)


def _whole(moment: datetime) -> datetime:
    """Return a moment in whole milliseconds, as names of files tell it."""
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


async def _in_thread(work: Callable[[], T]) -> T:
    try:
        return await asyncio.to_thread(work)
    except OSError as error:
        reason = error.strerror or str(error)
        raise SpaceError(f"shared copies cannot be read or written: {reason}") from error
