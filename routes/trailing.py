"""Writes that trail behind what is in memory: a moment later, many changes as one, until done."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Generic, TypeVar

from routes.errors import RouteFileError

logger = logging.getLogger(__name__)

V = TypeVar("V")

DELAY = 0.3
"""Seconds that changes wait for others to go with them."""

_LONGEST_PAUSE = 30.0


class Trailing(Generic[V]):
    """Writes the latest change of each key.

    What is noted is written within DELAY, or as long as the last writing took if that is more, so
    that a large file is not written all the time. What cannot be written is tried again.

    Args:
        write: writes changes by their keys; whatever it raises, they are handed to it once more
            later. What is no RouteFileError or OSError is a fault, logged with its traceback.
        name: of what is written, for the log.
        sleep: waits for some seconds.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        write: Callable[[Mapping[str, V]], Awaitable[None]],
        name: str,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._write = write
        self._name = name
        self._sleep = sleep
        self._clock = clock
        self._pending: dict[str, V] = {}
        self._under_way: dict[str, V] = {}
        self._writing = asyncio.Lock()
        self._follower: asyncio.Task[None] | None = None
        self._pause = DELAY
        self._failing = False

    def get(self, key: str) -> V | None:
        """Return the latest change of a key that is not known to be written; None for none."""
        return self._pending.get(key) or self._under_way.get(key)

    def note(self, key: str, change: V) -> None:
        """Have a change written, in place of an earlier one of the same key."""
        self._pending[key] = change
        self._follow()

    async def flush(self) -> None:
        """Return when all that was noted is written.

        Raises:
            RouteFileError, OSError, TimeoutError: it could not be; it will be tried again.
        """
        async with self._writing:
            if self._pending:
                await self._write_now()

    async def close(self) -> None:
        """Write what is left; nothing is tried again."""
        await self._stop()
        try:
            await self.flush()
        except Exception as error:  # noqa: BLE001 - whatever it is, they are lost
            lost = len(self._pending)
            logger.error("%s: changes of %d routes are lost error=%s", self._name, lost, error)
        await self._stop()

    def _follow(self) -> None:
        if self._follower is None:
            self._follower = asyncio.get_running_loop().create_task(self._keep_up(), name="trail")

    async def _keep_up(self) -> None:
        try:
            while self._pending:
                await self._sleep(self._pause)
                with contextlib.suppress(Exception):  # it was told, and is tried again
                    await self.flush()
        finally:
            self._follower = None

    async def _write_now(self) -> None:
        changes, self._pending = self._pending, {}
        self._under_way = changes
        began = self._clock()
        try:
            await self._write(changes)
        except BaseException as error:
            self._pending = changes | self._pending
            if isinstance(error, Exception):
                self._failed(error)
            self._follow()
            raise
        finally:
            self._under_way = {}
        self._pause = min(_LONGEST_PAUSE, max(DELAY, self._clock() - began))
        if self._failing:
            self._failing = False
            logger.warning("%s: written again", self._name)

    def _failed(self, error: Exception) -> None:
        self._pause = min(_LONGEST_PAUSE, 2 * self._pause)
        if not self._failing:
            self._failing = True
            expected = isinstance(error, (RouteFileError, OSError))
            told = str(error) if expected and str(error) else type(error).__name__
            fault = None if expected else error
            logger.error("%s: not written, trying again error=%s", self._name, told, exc_info=fault)

    async def _stop(self) -> None:
        follower = self._follower
        if follower is not None:
            follower.cancel()
            await asyncio.gather(follower, return_exceptions=True)
