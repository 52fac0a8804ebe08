"""Control's end of the connection to one worker: snapshot, changes, answers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass

from gateway.launch.session_table import SessionTable
from gateway.problems import problem_of
from gateway.proxy.interface import Activity, Clock, RouteEntry
from gateway.traffic import Traffic
from gateway.workers.channel import Channel
from gateway.workers.feed import Feed, Snapshot
from gateway.workers.frames import BadFrame, Message
from gateway.workers.tally import Contribution
from routes.table import Table

logger = logging.getLogger(__name__)


def _uncounted(more: Mapping[str, float]) -> None:
    """Nobody asks for other counts than those of gateway.traffic."""


@dataclass(frozen=True, slots=True)
class Source:
    """What control offers its workers.

    Attributes:
        feed: the changes of both tables.
        table: the routes.
        sessions: the sessions.
        ensure: makes a notebook hot; raises GatewayError.
        suspect: told of an entry whose target refuses connections.
        activity_of: a route's activity, by its key; None when there is none.
        traffic: where workers' counts are added up.
        clock: monotonic seconds.
        count: told of what else workers counted, as differences.
    """

    feed: Feed
    table: Table[RouteEntry]
    sessions: SessionTable
    ensure: Callable[[str], Awaitable[RouteEntry]]
    suspect: Callable[[RouteEntry], RouteEntry | None]
    activity_of: Callable[[str], Activity | None]
    traffic: Traffic
    clock: Clock
    count: Callable[[Mapping[str, float]], None] = _uncounted


class Link:
    """See the module's docstring.

    Attributes:
        pid: of the worker.
        applied: number of the last change that is in force there; 0 before its first snapshot.
        progress: clock time of the last sign of life.
        lagging: whether it was waited for in vain; changes are not held up by it until it has
            caught up.

    Args:
        channel: to the worker, which has said hello.
        source: what it is to know.
        moved: called when `applied` grew.
        fresh: whether it had no snapshot in force when it said hello, so that it serves nobody.
    """

    def __init__(
        self, channel: Channel, source: Source, moved: Callable[[], None], *, fresh: bool
    ) -> None:
        self.pid = channel.peer
        self.applied = 0
        self.progress = source.clock()
        self.lagging = False
        self._channel = channel
        self._source = source
        self._moved = moved
        self._fresh = fresh
        self._first_snapshot: int | None = None
        self._contribution = Contribution(source.traffic, source.activity_of)
        self._waits: dict[str, asyncio.Task[None]] = {}
        self._wake = asyncio.Event()
        self._epoch = ""
        self._sent = -1

    def follows(self, seq: int) -> bool:
        """Whether nothing that change `seq` took away is in use there, nor will be."""
        if self.applied >= seq:
            return True
        began = self._first_snapshot
        return self._fresh and not self.applied and (began is None or began >= seq)

    async def serve(self, messages: AsyncIterator[Message]) -> None:
        """Serve the worker until its connection ends; raises nothing of the connection's."""
        unfollow = self._source.feed.follow(self._wake.set)
        sender = asyncio.create_task(self._send_changes(), name=f"changes for worker {self.pid}")
        try:
            async for message in messages:
                self.progress = self._source.clock()
                self._take(message)
        except (OSError, BadFrame) as error:
            logger.warning("worker's connection broke pid=%d reason=%s", self.pid, error)
        finally:
            unfollow()
            self._contribution.withdraw()
            self._channel.close()
            tasks = [sender, *self._waits.values()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _take(self, message: Message) -> None:
        match message["t"]:
            case "applied":
                if not self.applied:
                    logger.info("worker follows pid=%d", self.pid)
                self.applied = message["seq"]
                self.lagging = self.lagging and self.applied < self._source.feed.seq
                self._moved()
            case "ensure":
                self._ensure(message["slug"])
            case "suspect":
                self._suspect(message)
            case "traffic":
                self._contribution.take_traffic(message)
            case "activity":
                self._contribution.take_activity(message)
            case "counts":
                self._source.count(message["more"])
            case "snapshot":
                self._sent = -1
                self._wake.set()
            case unknown:
                raise BadFrame(f"a message of kind {unknown!r}")

    async def _send_changes(self) -> None:
        """Keep the worker up to date: who is too far behind gets a snapshot."""
        feed = self._source.feed
        try:
            while True:
                self._wake.clear()
                if self._sent < 0 or self._epoch != feed.epoch:
                    await self._send_snapshot()
                changes = feed.since(self._sent)
                if changes is None:
                    self._sent = -1
                elif changes:
                    first = self._sent + 1
                    self._sent += len(changes)
                    self._channel.send(
                        {"t": "delta", "epoch": feed.epoch, "first": first, "changes": changes}
                    )
                    await self._went_out()
                else:
                    await self._wake.wait()
        except (OSError, TimeoutError) as error:
            logger.warning("worker takes nothing pid=%d reason=%r", self.pid, error)
            self._channel.close()

    async def _send_snapshot(self) -> None:
        source = self._source
        snapshot = Snapshot(source.feed, source.table, source.sessions)
        self._epoch, self._sent = snapshot.epoch, snapshot.seq
        if self._first_snapshot is None:
            self._first_snapshot = snapshot.seq
        self._channel.send({"t": "begin", "epoch": snapshot.epoch, "seq": snapshot.seq})
        for part in snapshot.parts():
            self._channel.send({"t": "part", **part})
            await self._went_out()
        self._channel.send({"t": "end"})

    async def _went_out(self) -> None:
        await self._channel.sent()
        self.progress = self._source.clock()
        await asyncio.sleep(0)  # a long run of parts must not hold the event loop

    def _ensure(self, slug: str) -> None:
        if slug not in self._waits:
            task = asyncio.create_task(self._make_hot(slug), name=f"worker waits for {slug}")
            self._waits[slug] = task

    async def _make_hot(self, slug: str) -> None:
        try:
            await self._source.ensure(slug)
        except Exception as error:  # noqa: BLE001 - whatever failed, the worker is told its problem
            problem = problem_of(error)
            answer: Message = {
                "t": "problem",
                "slug": slug,
                "status": problem.status,
                "code": problem.code,
                "detail": problem.detail,
                "retry_after": problem.retry_after,
            }
        else:
            answer = {"t": "hot", "slug": slug, "seq": self._source.feed.seq}
        finally:
            self._waits.pop(slug, None)
        self._channel.send(answer)

    def _suspect(self, message: Message) -> None:
        now = self._source.table.get(message["key"])
        if now is not None and now.generation == message["generation"]:
            self._source.suspect(now)
