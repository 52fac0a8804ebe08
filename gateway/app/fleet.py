"""Control in a process of its own: the same parts, with workers in place of a data path."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Collection
from dataclasses import dataclass

from gateway import app, logs
from gateway.app.control import Control, Tables
from gateway.loop import heed_signals
from gateway.loop import run as run_loop
from gateway.proxy.interface import Activity, RouteEntry
from gateway.settings import Settings
from gateway.workers.feed import FedSessions, FedTable, Feed
from gateway.workers.hub import Hub
from gateway.workers.lifeline import Lifeline
from gateway.workers.link import Source
from gateway.workers.roll import Roll

logger = logging.getLogger(__name__)

# While a class starts, workers that have a request go first: bench/LIFECYCLE.md has the effect.
_NICE = 10


@dataclass(frozen=True, slots=True)
class Place:
    """Where this control stands among the supervisor's children.

    Attributes:
        fleet: names the supervisor's run.
        lifeline: descriptor of the lifeline.
        again: whether there was a control before, whose workers may still serve.
        before: process ids of the workers that were started before it.
    """

    fleet: str
    lifeline: int
    again: bool
    before: list[int]


class _Workers:
    """The data path, as control sees it, when it is in other processes."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    async def settled(self) -> None:
        await self._hub.settled()

    async def drained(self, entry: RouteEntry | None) -> None:
        del entry  # the change that made it cold has its number; workers forget its target with it
        await self._hub.drained()

    async def end_sessions(self, session_ids: Collection[str]) -> None:
        del session_ids  # a change like the others: workers end what they had open with it

    def end_use(self, key: str, people: frozenset[str]) -> None:
        del key, people  # likewise: they compare the route's entry with the one before


def run(settings: Settings, place: Place, prepare: app.Prepare = app.nothing) -> int:
    """Be control until SIGTERM, or until the supervisor is gone; return the exit code.

    Args:
        settings: in force.
        place: where it stands.
        prepare: see app.Prepare.

    Raises:
        GatewayError, RouteFileError: it cannot start; one line for people.
    """
    logs.configure(settings.log_level, settings.log_format)
    os.nice(_NICE)
    run_loop(_serve(settings, place, prepare))
    return 0


async def _serve(settings: Settings, place: Place, prepare: app.Prepare) -> None:
    stopping = asyncio.Event()
    heed_signals(stopping.set)
    roll = Roll(place.before)
    lifeline = await Lifeline.open(place.lifeline, stopping.set, roll.ended)
    feed = Feed()
    tables = Tables(FedTable(feed), FedSessions(feed))

    async def serve(settings: Settings, control: Control, stack: contextlib.AsyncExitStack) -> None:
        await _serve_workers(settings, control, stack, place.fleet, roll, feed, lifeline)

    try:
        async with app.running(settings, tables, serve, wait_for_engine=place.again) as control:
            await prepare(settings, control)
            # An event stream would hold its worker until the drain is over.
            lifeline.heed_stop(control.activator.end_watching)
            lifeline.ready()
            await stopping.wait()
            logger.info("control stops; notebooks go on running")
    finally:
        lifeline.close()


async def _serve_workers(
    settings: Settings,
    control: Control,
    stack: contextlib.AsyncExitStack,
    fleet: str,
    roll: Roll,
    feed: Feed,
    lifeline: Lifeline,
) -> None:
    def activity_of(key: str) -> Activity | None:
        entry = control.table.get(key)
        return None if entry is None else entry.activity

    source = Source(
        feed=feed,
        table=control.table,
        sessions=control.session_table,
        ensure=control.activator.ensure,
        suspect=control.activator.suspect,
        activity_of=activity_of,
        traffic=control.metrics.traffic,
        clock=time.monotonic,
    )
    hub = Hub(source, fleet, roll, lifeline.keep_only)
    await hub.start(settings.state_dir / "run" / "control.sock")
    stack.push_async_callback(hub.close)
    control.attach(_Workers(hub))
