"""Who watches a start: told that something may have changed, never what. It knows no status."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator


class Watch:
    """One onlooker of one notebook.

    Attributes:
        over: the gateway stops: nothing will be told any more.
    """

    def __init__(self) -> None:
        self.over = False
        self._moved = asyncio.Event()
        self._urgent = asyncio.Event()

    def tell(self) -> None:
        """Say that something may have changed."""
        self._moved.set()

    def urge(self) -> None:
        """Say that something has changed that waits for no pause."""
        self._urgent.set()
        self._moved.set()

    def end(self) -> None:
        """Say that nothing will be told any more."""
        self.over = True
        self.urge()

    async def moved(self, pause: float, patience: float) -> None:
        """Return when something may have changed, or it is over.

        Args:
            pause: seconds in which changes are not told but gathered, unless one is urgent.
            patience: seconds after which it returns all the same.
        """
        await _set_within(self._urgent, pause)
        await _set_within(self._moved, patience)
        self._moved.clear()
        if not self.over:
            self._urgent.clear()


class Watchers:
    """All onlookers. In a class where everybody waits, they are many."""

    def __init__(self) -> None:
        self._by_slug: dict[str, set[Watch]] = {}
        self._over = False

    @contextlib.contextmanager
    def watching(self, slug: str) -> Iterator[Watch]:
        """Follow a notebook's start until the context is left."""
        watch = Watch()
        if self._over:
            watch.end()
        self._by_slug.setdefault(slug, set()).add(watch)
        try:
            yield watch
        finally:
            watches = self._by_slug[slug]
            watches.discard(watch)
            if not watches:
                del self._by_slug[slug]

    def tell(self, slug: str) -> None:
        """Say that something may have changed for one notebook."""
        for watch in self._by_slug.get(slug, ()):
            watch.tell()

    def tell_all(self) -> None:
        """Say that something may have changed for every notebook."""
        for slug in self._by_slug:
            self.tell(slug)

    def end(self) -> None:
        """End all watching, also what begins from now on: the gateway stops."""
        self._over = True
        for watches in self._by_slug.values():
            for watch in watches:
                watch.end()


async def _set_within(event: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
