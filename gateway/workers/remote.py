"""A worker's end of the control socket: connects again and again, follows, asks and reports.

While control is away the copy stays in force: what is hot goes on, what is cold cannot be woken.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from gateway.errors import GatewayError
from gateway.proxy.interface import RouteEntry
from gateway.workers import records
from gateway.workers.channel import Channel
from gateway.workers.frames import VERSION, BadFrame, Message
from gateway.workers.replica import OutOfStep, Replica
from gateway.workers.tally import Reporter
from routes.table import Table

logger = logging.getLogger(__name__)

_FIRST_BACK_OFF = 0.05
_LONGEST_BACK_OFF = 0.5
_REPORT_SECONDS = 0.5
_CONNECT_SECONDS = 5.0
_FREED_AT_ONCE = 500


class ControlAway(GatewayError):
    """Control cannot be asked now."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    code = "control-away"
    retry_after = 2.0

    def __str__(self) -> str:
        return "the gateway's control is restarting; notebooks that run go on, try again"


@dataclass(eq=False)
class Told(GatewayError):
    """Control answered with a problem; the fields are that problem's."""

    told_status: int
    told_code: str
    detail: str
    retry_after: float | None = None

    def __post_init__(self) -> None:
        self.status, self.code = HTTPStatus(self.told_status), self.told_code

    def __str__(self) -> str:
        return self.detail


class Refused(Exception):
    """Control does not want this worker; another try would not help."""


class Remote:
    """Control, as a worker sees it.

    Attributes:
        ready: set once the first snapshot is in force.

    Args:
        path: the control socket; a name that begins with a NUL is in no directory (unix(7)).
        fleet: names the supervisor's run.
        replica: kept up to date.
        reporter: what is told.
        key_of: a notebook's route key.
    """

    def __init__(
        self,
        path: Path | str,
        fleet: str,
        replica: Replica,
        reporter: Reporter,
        key_of: Callable[[str], str],
    ) -> None:
        self.ready = asyncio.Event()
        self._path = str(path)
        self._fleet = fleet
        self._replica = replica
        self._reporter = reporter
        self._key_of = key_of
        self._channel: Channel | None = None
        self._waits: dict[str, asyncio.Future[None]] = {}
        self._hot: list[tuple[int, str]] = []
        self._freeing: asyncio.Task[None] | None = None

    @property
    def connected(self) -> bool:
        """Whether control can be asked."""
        return self._channel is not None

    async def ensure(self, slug: str) -> RouteEntry:
        """Return the hot entry of a notebook; see AccessGate.

        The answer is taken from the copy, once it has what control meant: a notebook that was
        stopped in the meantime is not used.

        Raises:
            ControlAway, Told.
        """
        key = self._key_of(slug)
        entry = self._replica.table.get(key)
        if entry is None or entry.target is None:
            await asyncio.shield(self._ask(slug))
            entry = self._replica.table.get(key)
        if entry is None or entry.target is None:
            raise Told(503, "stopped", "the notebook was stopped again; try again", 1.0)
        return entry

    def suspected(self, entry: RouteEntry) -> RouteEntry | None:
        """Take a target out of use, here at once and then everywhere; see AccessGate.

        While control is away nothing could wake the notebook again: None, it stays in use.
        """
        if self._channel is None:
            return None
        before = self._replica.table.get(entry.key)
        now = self._replica.suspect(entry)
        if now is not None and now is not before:
            self._channel.send({"t": "suspect", "key": entry.key, "generation": entry.generation})
        return now

    async def run(self) -> None:
        """Follow control for ever.

        Raises:
            Refused: control sent this worker away.
        """
        back_off = _FIRST_BACK_OFF
        while True:
            channel = await self._connect()
            if channel is None:
                await asyncio.sleep(back_off)
                back_off = min(_LONGEST_BACK_OFF, back_off * 2)
                continue
            back_off = _FIRST_BACK_OFF
            try:
                await self._follow(channel)
            except (OSError, BadFrame) as error:
                logger.info("connection to control broke reason=%r", error)
            finally:
                self._lost(channel)
            logger.warning("control is away; what is hot goes on")

    async def report(self) -> None:
        """Tell what changed since the last time."""
        for message in self._reporter.reports():
            if message is not None and self._channel is not None:
                self._channel.send(message)
            await asyncio.sleep(0)

    async def _connect(self) -> Channel | None:
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                return Channel(*await _opened(self._path))
        except (OSError, TimeoutError):
            return None

    async def _follow(self, channel: Channel) -> None:
        channel.send(
            {
                "t": "hello",
                "version": VERSION,
                "pid": os.getpid(),
                "fleet": self._fleet,
                "fresh": not self._replica.epoch,
            }
        )
        reporting: asyncio.Task[None] | None = None
        try:
            async for message in channel.messages():
                if self._channel is None and message["t"] == "begin":
                    self._channel = channel
                    self._reporter.start_over()
                    reporting = asyncio.create_task(self._keep_reporting(channel), name="reports")
                await self._take(channel, message)
        finally:
            if reporting is not None:
                reporting.cancel()
                await asyncio.gather(reporting, return_exceptions=True)

    async def _take(self, channel: Channel, message: Message) -> None:
        match message["t"]:
            case "delta":
                self._take_changes(channel, message)
            case "begin":
                gc.disable()  # full collections while a large table grows would hold everything
                self._replica.begin(message)
            case "part":
                self._replica.part(message)
                await asyncio.sleep(0)  # requests go on meanwhile
            case "end":
                before = self._replica.end()
                gc.freeze()  # nor must it be walked by each one afterwards
                gc.enable()
                self._in_force(channel)
                self.ready.set()
                self._freeing = asyncio.create_task(_emptied(before), name="free old routes")
            case "hot":
                self._hot.append((message["seq"], message["slug"]))
                self._answer_hot()
            case "problem":
                self._answer_problem(message)
            case "refused":
                raise Refused(message["reason"])
            case unknown:
                raise BadFrame(f"a message of kind {unknown!r}")

    def _take_changes(self, channel: Channel, message: Message) -> None:
        try:
            applied = self._replica.apply(message)
        except OutOfStep:
            logger.warning("out of step with control seq=%d", self._replica.seq)
            channel.send({"t": "snapshot"})
            return
        if applied:
            # Before it: who makes a route cold then knows what was sent to its target here.
            told = self._reporter.report_of(records.keys_in(message["changes"]))
            if told is not None:
                channel.send(told)
            self._in_force(channel)

    def _in_force(self, channel: Channel) -> None:
        channel.send({"t": "applied", "seq": self._replica.seq})
        self._answer_hot()

    def _ask(self, slug: str) -> asyncio.Future[None]:
        """Ask control to start a notebook, or join who asked already."""
        if self._channel is None:
            raise ControlAway
        future = self._waits.get(slug)
        if future is None:
            future = self._waits[slug] = asyncio.get_running_loop().create_future()
            # Those who wait may all have gone: then nobody looks at the error, and that is well.
            future.add_done_callback(lambda done: done.cancelled() or done.exception())
            self._channel.send({"t": "ensure", "slug": slug})
        return future

    def _answer_hot(self) -> None:
        seq = self._replica.seq
        for needed, slug in self._hot:
            future = self._waits.pop(slug, None) if needed <= seq else None
            if future is not None:
                future.set_result(None)
        self._hot = [wait for wait in self._hot if wait[0] > seq]

    def _answer_problem(self, message: Message) -> None:
        future = self._waits.pop(message["slug"], None)
        if future is not None:
            problem = (message["status"], message["code"], message["detail"])
            future.set_exception(Told(*problem, message["retry_after"]))

    async def _keep_reporting(self, channel: Channel) -> None:
        with contextlib.suppress(OSError, TimeoutError):
            while True:
                await self.report()
                await channel.sent()
                await asyncio.sleep(_REPORT_SECONDS)
        channel.close()

    def _lost(self, channel: Channel) -> None:
        gc.enable()
        self._channel = None
        channel.close()
        self._hot.clear()
        self._replica.trust()
        waits = tuple(self._waits.values())
        self._waits.clear()
        for future in waits:
            future.set_exception(ControlAway())


async def _opened(path: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect by hand: not every event loop knows names that are in no directory."""
    sock = socket.socket(socket.AF_UNIX)
    sock.setblocking(False)
    try:
        await asyncio.get_running_loop().sock_connect(sock, path)
        return await asyncio.open_unix_connection(sock=sock)
    except BaseException:
        sock.close()
        raise


async def _emptied(table: Table[RouteEntry]) -> None:
    """Free a table without a stall."""
    for number, key in enumerate(table.keys()):
        table.remove(key)
        if number % _FREED_AT_ONCE == 0:
            await asyncio.sleep(0)
