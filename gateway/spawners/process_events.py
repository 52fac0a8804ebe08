"""What happens to server processes, as it happens: pidfds tell of their ends (pidfd_open(2)).

Our own children and those of an earlier gateway are followed alike. What this gateway itself does
to a server it tells here as well.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable

from gateway.errors import EngineUnavailable
from gateway.spawners import procfs
from gateway.spawners.base import Change, ServerEvent
from gateway.spawners.process_records import Record

_REMEMBERED = 256

_Queue = asyncio.Queue[ServerEvent | None]


class ProcessEvents:
    """The events of one process spawner, for all who watch.

    Nothing is followed before somebody watches; from then on until `close` everything is, so that
    a watch can resume where another ended.
    """

    def __init__(self, on_end: Callable[[], None], clock: Callable[[], float] = time.time) -> None:
        """Start with no event.

        Args:
            on_end: called when a process has ended, before that is told: its status can be had.
            clock: seconds since the epoch.
        """
        self._on_end = on_end
        self._clock = clock
        self._told: deque[ServerEvent] = deque(maxlen=_REMEMBERED)
        self._queues: set[_Queue] = set()
        self._descriptors: dict[str, int] = {}
        self._watched = False

    @contextlib.asynccontextmanager
    async def watch(
        self, since: float | None, records: Callable[[], list[Record]]
    ) -> AsyncIterator[AsyncIterator[ServerEvent]]:
        """Give the events from now on, after those of `since` and later.

        Args:
            since: seconds since the epoch; None for now.
            records: returns those of all servers; blocks.
        """
        self._watched = True
        queue: _Queue = asyncio.Queue()
        for event in self._told:
            if since is not None and event.moment >= since:
                queue.put_nowait(event)
        self._queues.add(queue)
        try:
            for record in await asyncio.to_thread(records):
                self.follow(record)
            async with contextlib.aclosing(_drained(queue)) as events:
                yield events
        finally:
            self._queues.discard(queue)

    def follow(self, record: Record) -> None:
        """Take note when a process ends; one that has ended already, or is followed, is let be."""
        if not self._watched or record.id in self._descriptors:
            return
        with contextlib.suppress(ProcessLookupError):
            descriptor = os.pidfd_open(record.pid)
            # Now that the number cannot be used again: is it still the same process?
            found = procfs.stat_of(record.pid)
            if record.boot != procfs.boot_id() or found is None or found.ticks != record.ticks:
                os.close(descriptor)
                return
            self._descriptors[record.id] = descriptor
            asyncio.get_running_loop().add_reader(descriptor, self.ended, record)

    def ended(self, record: Record) -> None:
        """Tell that a followed process ended; once."""
        if self._let_go(record.id):
            self._on_end()
            self.tell(record, Change.ENDED)

    def tell(self, record: Record, change: Change) -> None:
        """Tell everybody who watches."""
        if self._watched:
            event = ServerEvent(record.id, record.slug, change, self._clock())
            self._told.append(event)
            for queue in self._queues:
                queue.put_nowait(event)

    def close(self) -> None:
        """Follow nothing any more; watches end."""
        self._watched = False
        for identity in tuple(self._descriptors):
            self._let_go(identity)
        for queue in self._queues:
            queue.put_nowait(None)

    def _let_go(self, identity: str) -> bool:
        descriptor = self._descriptors.pop(identity, None)
        if descriptor is None:
            return False
        asyncio.get_running_loop().remove_reader(descriptor)
        os.close(descriptor)
        return True


async def _drained(queue: _Queue) -> AsyncGenerator[ServerEvent, None]:
    while (event := await queue.get()) is not None:
        yield event
    raise EngineUnavailable("this machine's processes")
