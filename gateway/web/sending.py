"""Bounds pages of people's files: how many are made at once, and how many lie in memory.

A page is some times its file, and who does not read it keeps it here. One that is sent, or whose
browser has gone, is nobody's any more, and so counts no longer.
"""

from __future__ import annotations

import asyncio
import weakref
from collections import Counter
from collections.abc import Awaitable, Callable

from aiohttp import web

_AT_ONCE = 2
MOST = 20
MOST_EACH = 4


class Sending:
    """Pages that are being made or sent.

    Args:
        most: of all.
        most_each: for one person, or of one address that needs no session.
    """

    def __init__(self, most: int = MOST, most_each: int = MOST_EACH) -> None:
        self._most = most
        self._most_each = most_each
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._making: Counter[str] = Counter()
        self._unsent: weakref.WeakKeyDictionary[web.Response, str] = weakref.WeakKeyDictionary()

    async def make(
        self, whose: str, made: Callable[[], Awaitable[web.Response]]
    ) -> web.Response | None:
        """Return the page that `made` makes, in its turn; None where too many are under way.

        Args:
            whose: whose it counts as.
            made: reads the file, too: whoever waits for a turn holds nothing.
        """
        under_way = self._making + Counter(self._unsent.values())
        if under_way.total() >= self._most or under_way[whose] >= self._most_each:
            return None
        self._making[whose] += 1
        try:
            async with self._turns:
                answer = await made()
        finally:
            self._making[whose] -= 1
            self._making += Counter()  # without those that are nought
        self._unsent[answer] = whose
        return answer
