"""The asynchronous publisher: changes that come while a publish runs go out with the next one."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from routes.apachedb import ApacheDB
from routes.content import Changes
from routes.errors import RouteFileError
from routes.place import Place

logger = logging.getLogger(__name__)

Request = tuple[Changes, asyncio.Future[None]]
T = TypeVar("T")

_CALLERS_TURNS = 2
"""Of the loop: one to wake a caller, one in which they go on."""
_OTHERS_TURNS, _OTHERS_SECONDS = 7, 0.002
"""What is left to requests before the next is told: so many turns, and no longer than that."""

_DEADLINE = 330.0
"""Seconds; a little more than building the largest map may take. Only a stuck disk needs it."""

_LONGEST_PAUSE = 0.1
"""Seconds. Publishes that follow each other take half of the time at most; requests need it."""


class Publisher:
    """Publishes changes of one ApacheDB without holding the event loop.

    Cancelling a caller cancels its wait, not its change.

    Args:
        database: opened for writing; it stays the caller's to close. All that touches the disk
            is done in a thread of the publisher's own.
        on_publish: called with the seconds that each publish took; None for nobody.
        pause: waits for so many seconds between publishes that follow each other.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        database: ApacheDB,
        on_publish: Callable[[float], None] | None = None,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._on_publish = on_publish
        self._pause = pause
        self._clock = clock
        self._waiting: list[Request] = []
        self._under_way: Sequence[Request] = ()
        self._rereading = 0
        self._worker: asyncio.Task[None] | None = None
        self._closed = False
        # A thread of its own: syncing must neither wait behind other work nor hold it up.
        self._thread = ThreadPoolExecutor(1, "publish")

    @property
    def path(self) -> Path:
        """The file that is published."""
        return self._database.path

    @property
    def place(self) -> Place:
        """Where it is put; see ApacheDB."""
        return self._database.place

    @property
    def entries(self) -> dict[bytes, bytes]:
        """A copy of what is published."""
        return self._database.entries

    def get(self, key: bytes) -> bytes | None:
        """Return what is published of a key, in stored form; None for nothing."""
        return self._database.get(key)

    async def put(self, key: str, target: str) -> None:
        """Set one route; see `update`."""
        await self.update({key: target}, ())

    async def put_stored(self, key: str, target: str) -> None:
        """Do what `put` does; both are in the form in which they are stored, and not checked."""
        await self.change({key.encode("ascii"): target.encode("ascii")})

    async def change(self, changes: Changes) -> None:
        """Do what `update` does, with changes in the form in which they are stored."""
        await self._request(changes)

    async def delete(self, key: str) -> None:
        """Delete one route; see `update`. Where it is not there, nothing is waited for.

        Each start deletes its notebook's, which is hardly ever there, and the file may be busy.
        """
        stored = self._database.key(key)
        if self._concerns(stored):
            await self._request({stored: None})

    async def update(self, puts: Mapping[str, str], deletes: Iterable[str] = ()) -> None:
        """Change routes; when this returns, the file in place has the changes.

        Deletes come first, and those of keys that are not there are done already.

        Raises:
            InvalidKey, InvalidTarget: nothing has changed.
            RouteFileError, OSError: the publish failed; nothing has changed, for all who waited
                for it.
            TimeoutError: the disk is stuck; whether the change is published is not known.
        """
        changes: dict[bytes, bytes | None] = {self._database.key(key): None for key in deletes}
        changes.update(self._stored(puts))
        await self._request(changes)

    async def replace(self, puts: Mapping[str, str]) -> Path | None:
        """Write a fresh file with these routes, and what only the present file has, if usable.

        Returns:
            Where the present file is kept, if something was wrong with it; else None.
        """
        stored = self._stored(puts)
        return await self._reread(lambda: self._database.rebuild(stored))

    async def reload(self) -> None:
        """Read the file again, after somebody else wrote it. Raises as ApacheDB.reload."""
        await self._reread(self._database.reload)

    async def reopen(self) -> None:
        """Let versions of the file in again, when none is on its way that was begun before.

        Raises:
            TimeoutError: the disk is stuck.
        """
        async with asyncio.timeout(_DEADLINE):
            await self._in_thread(self.place.reopen)

    async def close(self) -> None:
        """Finish what was asked for; nothing can be asked for afterwards."""
        self._closed = True
        if self._worker is not None:
            await asyncio.wait([self._worker], timeout=_DEADLINE)
        self._thread.shutdown(wait=False)

    def _stored(self, puts: Mapping[str, str]) -> dict[bytes, bytes]:
        database = self._database
        return {database.key(key): database.value(target) for key, target in puts.items()}

    def _concerns(self, key: bytes) -> bool:
        """Whether a key, in stored form, is in the file, or may be in a moment."""
        if self._rereading or self._database.pending({key: None}):
            return True
        return any(key in changes for changes, _ in (*self._under_way, *self._waiting))

    async def _request(self, changes: Changes) -> None:
        if self._closed:
            raise RuntimeError("the publisher is closed")
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        # A caller that was cancelled does not look at its result.
        done.add_done_callback(lambda future: future.cancelled() or future.exception())
        self._waiting.append((changes, done))
        if self._worker is None:
            self._worker = asyncio.create_task(self._work(), name="publish")
        async with asyncio.timeout(_DEADLINE):
            await asyncio.shield(done)

    async def _work(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting, []
                self._under_way = batch
                began = self._clock()
                await self._publish(batch)
                if self._waiting:
                    await self._pause(min(self._clock() - began, _LONGEST_PAUSE))
        finally:
            self._worker = None
            self._under_way = ()
            for _, done in self._waiting:
                done.cancel()
            self._waiting = []

    async def _publish(self, batch: Sequence[Request]) -> None:
        changes = [change for change, _ in batch]
        try:
            seconds = await self._in_thread(lambda: self._apply(changes))
        except asyncio.CancelledError:
            for _, done in batch:
                done.cancel()
            raise
        except (RouteFileError, OSError) as error:
            _fail(batch, error)
            return
        except Exception as error:
            logger.exception("publish failed file=%s", self._database.path)
            _fail(batch, error)
            return
        if seconds is not None and self._on_publish is not None:
            self._on_publish(seconds)
        await _succeed(batch, self._clock)

    def _apply(self, changes: Iterable[Changes]) -> float | None:
        """Publish `changes`, in the thread; return the seconds, None if there was none to do."""
        wanted: dict[bytes, bytes | None] = {}
        for change in changes:
            wanted.update(change)
        pending = self._database.pending(wanted)
        if not pending:
            return None
        began = time.perf_counter()
        self._database.change(pending)
        return time.perf_counter() - began

    async def _reread(self, work: Callable[[], T]) -> T:
        """Do what may bring keys into the file that nobody asked for."""
        self._rereading += 1
        done = asyncio.ensure_future(self._in_thread(work))
        done.add_done_callback(self._was_reread)
        return await asyncio.shield(done)

    def _was_reread(self, done: asyncio.Future[Any]) -> None:
        self._rereading -= 1

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)


async def _succeed(batch: Iterable[Request], clock: Callable[[], float]) -> None:
    """Tell the callers one after the other: what they do next is done between requests."""
    left = deque(done for _, done in batch)
    try:
        while left:
            left.popleft().set_result(None)
            for _ in range(_CALLERS_TURNS):
                await asyncio.sleep(0)
            if left:
                await _leave_turns(clock)
    finally:
        for done in left:
            done.set_result(None)


async def _leave_turns(clock: Callable[[], float]) -> None:
    until = clock() + _OTHERS_SECONDS
    for _ in range(_OTHERS_TURNS):
        await asyncio.sleep(0)
        if clock() > until:
            return


def _fail(batch: Iterable[Request], error: Exception) -> None:
    for _, done in batch:
        done.set_exception(error)
