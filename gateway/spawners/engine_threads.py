"""Threads for calls that block: so many at once, the others in a queue that costs no deadline.

The deadline of a call begins when a thread takes it up. Who waits for one is patient as long as
other calls are answered, so that many long ones after another are no engine that hangs.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")


class Threads:
    """A few threads, and who waits for one, in order."""

    def __init__(self, count: int, name: str, is_answer: Callable[[BaseException], bool]) -> None:
        """Start none yet.

        Args:
            count: of threads.
            name: how theirs begin.
            is_answer: whether a call that raised this was answered all the same.
        """
        self._pool = ThreadPoolExecutor(count, thread_name_prefix=name)
        self._free = asyncio.Semaphore(count)
        self._is_answer = is_answer
        self._under_way: dict[Future[Any], float] = {}
        self._waiting: dict[asyncio.Timeout, float] = {}

    async def run(self, ask: Callable[[], T], deadline: float) -> T:
        """Return what `ask` returns in a thread.

        Raises:
            TimeoutError: it did not within `deadline` seconds, and goes on in its thread; or no
                call was answered while this one waited, for longer than each of them, and this
                one, may take.
        """
        await self._turn(deadline)
        try:
            made = self._pool.submit(ask)
        except RuntimeError as error:  # closed meanwhile
            self._free.release()
            raise TimeoutError from error
        self._under_way[made] = deadline
        loop = asyncio.get_running_loop()

        def ended(done: Future[Any]) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended before the thread
                loop.call_soon_threadsafe(self._ended, done)

        made.add_done_callback(ended)
        async with asyncio.timeout(deadline):
            return await asyncio.wrap_future(made)

    def close(self) -> None:
        """Take up no more calls; those under way end by themselves."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _turn(self, deadline: float) -> None:
        async with asyncio.timeout(self._patience(deadline)) as limit:
            self._waiting[limit] = deadline
            try:
                await self._free.acquire()
            finally:
                del self._waiting[limit]

    def _patience(self, deadline: float) -> float:
        return max(deadline, *self._under_way.values()) if self._under_way else deadline

    def _ended(self, done: Future[Any]) -> None:
        del self._under_way[done]
        self._free.release()
        error = None if done.cancelled() else done.exception()
        if error is not None and not self._is_answer(error):
            return
        now = asyncio.get_running_loop().time()
        for limit, deadline in self._waiting.items():
            if not limit.expired():
                limit.reschedule(now + self._patience(deadline))
