"""The process that has the routes and serves their API: `python -m gateway.chp_fleet.control SEAT`.

Its workers have copies, and tell it what they counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Self

from gateway.chp import administration, logs
from gateway.chp.book import RouteBook
from gateway.chp.options import Options
from gateway.chp.redirect import serve_redirect
from gateway.chp.tally import Tally
from gateway.chp_fleet.journal import Journal
from gateway.chp_fleet.passing import Passed
from gateway.errors import GatewayError
from gateway.launch.session_table import SessionTable
from gateway.loop import heed_signals, run
from gateway.proxy.interface import Activity, Relay, RouteEntry, monotonic
from gateway.traffic import Traffic
from gateway.workers.feed import FedTable, Feed
from gateway.workers.hub import Hub
from gateway.workers.lifeline import Lifeline
from gateway.workers.link import Source
from gateway.workers.roll import Roll

logger = logging.getLogger(__name__)

FAILED = 1


@dataclass(frozen=True, slots=True)
class Seat:
    """Where this control stands among the supervisor's children.

    Attributes:
        lifeline: descriptor of its lifeline.
        before: process ids of the workers that were started before it.
        listener: descriptor of the control socket.
        journal: descriptors of the journal's memories.
    """

    lifeline: int
    before: list[int]
    listener: int
    journal: tuple[int, int]

    @classmethod
    def load(cls, text: str) -> Self:
        """Return what it was as JSON."""
        return cls(**json.loads(text))


class FedRelays:
    """A book's entries as changes that workers are told; see gateway.chp.book.Relays.

    Args:
        entries: the table.
    """

    def __init__(self, entries: FedTable) -> None:
        self._entries = entries

    def put(self, key: str, value: Relay) -> None:
        """See Relays."""
        self._entries.put(key, value.entry)

    def get(self, key: str) -> Relay | None:
        """See Relays."""
        entry = self._entries.get(key)
        return None if entry is None else Relay(entry)

    def remove(self, key: str) -> None:
        """See Relays."""
        self._entries.remove(key)


class Control:
    """The parts of control.

    Args:
        options: of the proxy.
        fleet: see Passed.
        roll: the workers that may serve.
        lifeline: the tie to the supervisor.
    """

    def __init__(self, options: Options, fleet: str, roll: Roll, lifeline: Lifeline) -> None:
        feed = Feed()
        self.entries = FedTable(feed)
        self.tally, self.traffic = Tally(), Traffic()
        relays = FedRelays(self.entries)
        self.book = administration.book_of(options, lambda target: None, relays)
        source = Source(
            feed=feed,
            table=self.entries,
            sessions=SessionTable(),
            ensure=_nothing_is_started,
            suspect=lambda entry: None,
            activity_of=self._activity_of,
            traffic=self.traffic,
            clock=monotonic,
            count=self.tally.add,
        )
        self.hub = Hub(source, fleet, roll, lifeline.keep_only)

    def _activity_of(self, key: str) -> Activity | None:
        entry = self.entries.get(key)
        return None if entry is None else entry.activity


async def _nothing_is_started(slug: str) -> RouteEntry:
    raise LookupError(slug)


@contextlib.asynccontextmanager
async def running(control: Control, seat: Seat, options: Options) -> AsyncIterator[None]:
    """Run control: it serves when entered, and is closed when left. Raises InvalidInput."""
    async with contextlib.AsyncExitStack() as stack:
        book, tally = control.book, control.tally
        await _load(book, seat, options, stack)
        administration.warn_without_token(options)
        await control.hub.start(socket.socket(fileno=seat.listener))
        stack.push_async_callback(control.hub.close)
        # From here on a change is answered when every worker has it; those of an earlier control
        # that do not come are ended first.
        await control.hub.drained()
        book.in_force = control.hub.settled
        await administration.serve_api(book, tally, options, stack)
        await administration.serve_metrics(book, tally, control.traffic, options, stack)
        if options.redirect_port is not None:
            await serve_redirect(options, stack)
        yield


async def _load(
    book: RouteBook, seat: Seat, options: Options, stack: contextlib.AsyncExitStack
) -> None:
    """Put the routes there that are known at the start."""
    if options.route_file:
        administration.put_default(book, options)
        await administration.keep_in_file(book, options, stack)
        return
    journal = Journal((seat.journal[0], seat.journal[1]), book)
    if journal.restore():
        logger.info("Routes taken over: %d", len(book))
    else:
        administration.put_default(book, options)
    journal.begin()


async def _serve(seat: Seat, passed: Passed) -> None:
    stopping = asyncio.Event()
    heed_signals(stopping.set)
    roll = Roll(seat.before)
    lifeline = await Lifeline.open(seat.lifeline, stopping.set, roll.ended)
    try:
        control = Control(passed.options, passed.fleet, roll, lifeline)
        async with running(control, seat, passed.options):
            administration.say_proxying(passed.options)
            lifeline.ready()
            await stopping.wait()
    finally:
        lifeline.close()


def main(arguments: list[str]) -> int:
    """Be control until SIGTERM, or until the supervisor is gone; return the exit code."""
    passed = Passed.take()
    logs.configure(passed.options.log_level)
    try:
        run(_serve(Seat.load(arguments[0]), passed))
    except GatewayError as error:
        sys.stderr.write(f"nbgate: {error}\n")  # at once: others write there too
        return FAILED
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
