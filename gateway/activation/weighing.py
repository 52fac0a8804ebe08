"""Weighing one server's use: what it takes to come to a verdict, and what the record is told.

The rules are idleness.py's, the questions signals.py's; what is done about it is culler.py's.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from gateway.activation.idleness import (
    Pause,
    Reason,
    Stop,
    Terms,
    Verdict,
    Warn,
    in_force,
    judge,
    judge_paused,
    judge_stopped,
    terms_of,
)
from gateway.activation.signals import Signals, Watched
from gateway.errors import GatewayError
from gateway.notebooks.catalogue import Catalogue
from gateway.notebooks.model import Lifetimes, Notebook
from gateway.proxy.interface import Activity, RouteEntry
from gateway.spawners.base import ServerState

_RECORD_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Traffic:
    """What the traffic of one notebook was, of all gateways together.

    Attributes:
        last: the last sign of a person, UTC; None for never.
        requests: in flight now.
        websockets: open now.
    """

    last: datetime | None = None
    requests: int = 0
    websockets: int = 0


def traffic_in(told: Mapping[str, Traffic], notebook: Notebook) -> Traffic:
    """Return a notebook's traffic; there is none where nothing is told."""
    return told.get(notebook.slug, Traffic())


@dataclass(frozen=True, slots=True)
class Case:
    """One notebook at one look."""

    notebook: Notebook
    watched: Watched
    lifetimes: Lifetimes
    terms: Terms


class Weigher:
    """Comes to a verdict about one server, after as many questions as it takes.

    Args:
        catalogue: the notebooks.
        signals: asks about servers.
        entry: a notebook's route; None when there is none.
        defaults: the installation's lifetimes.
        traffic: of all gateways together, by slug. Raises GatewayError where it cannot be told.
        clock: monotonic seconds.
        wall: the wall clock, UTC.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        signals: Signals,
        entry: Callable[[str], RouteEntry | None],
        defaults: Lifetimes,
        traffic: Callable[[], Awaitable[Mapping[str, Traffic]]],
        clock: Callable[[], float],
        wall: Callable[[], datetime],
    ) -> None:
        self._catalogue = catalogue
        self._signals = signals
        self.entry = entry
        self._defaults = defaults
        self.traffic = traffic
        self.clock = clock
        self._wall = wall

    def case(self, notebook: Notebook, watched: Watched, *, hot: bool) -> Case:
        """Return the case of a notebook, with what its record says."""
        watched.meet(notebook, self.clock(), self._wall(), hot=hot)
        project = self._catalogue.project(notebook.project)
        lifetimes = in_force(project.lifetimes, self._defaults)
        return Case(notebook, watched, lifetimes, terms_of(lifetimes))

    def judge_resting(self, case: Case, state: ServerState) -> Verdict:
        """Return the verdict about one that is paused, or stopped and kept."""
        judged = judge_paused if state is ServerState.PAUSED else judge_stopped
        self.hear(case)
        return judged(case.watched.use, case.terms, self.clock())

    async def weigh(self, case: Case, traffic: Traffic) -> Verdict:
        """Return the verdict, after as many questions as it needs."""
        now, wall = self.clock(), self._wall()
        case.watched.seen(traffic.last, traffic.requests, now, wall)
        verdict = judge(case.watched.use, case.terms, now)
        for ask in (self._ask_server, self._ask_files, self._ask_check):
            if not _may_be_put_off(verdict) or case.notebook.lock is not None:
                break
            try:
                await ask(case)
            except GatewayError as error:
                case.watched.tell(case.notebook.slug, f"not told what it does: {error}")
            self.hear(case)
            verdict = judge(case.watched.use, case.terms, self.clock())
        return verdict

    async def _ask_server(self, case: Case) -> None:
        entry = self.entry(case.notebook.slug)
        if entry is not None:
            await self._signals.ask_server(case.notebook.slug, entry, case.watched)

    async def _ask_files(self, case: Case) -> None:
        await self._signals.ask_files(case.notebook.slug, case.watched)

    async def _ask_check(self, case: Case) -> None:
        check = case.lifetimes.still_busy
        await self._signals.ask_check(case.notebook.slug, check, case.watched)

    def hear(self, case: Case) -> None:
        """Take up the last sign of a person at this gateway, since that was asked."""
        activity = self.activity(case.notebook.slug)
        if activity is not None:
            case.watched.person = max(case.watched.person, activity.last or -math.inf)

    async def record(self, case: Case, *, at_once: bool = False) -> None:
        """Write when it was last of use into the record, now and then."""
        watched, last = case.watched, case.watched.last_active
        if last <= watched.recorded + (0.0 if at_once else _RECORD_SECONDS):
            return
        moment = self._wall() - timedelta(seconds=self.clock() - last)
        try:
            await self._catalogue.update_notebook(case.notebook.slug, last_active=moment)
            watched.recorded = last
        except GatewayError as error:
            watched.tell(case.notebook.slug, f"its last use is not in the record: {error}")

    def activity(self, slug: str) -> Activity | None:
        """Return what came through this gateway; None where that is not counted."""
        entry = self.entry(slug)
        return None if entry is None else entry.activity


def _may_be_put_off(verdict: Verdict) -> bool:
    match verdict:
        case Warn(reason=reason) | Stop(reason=reason):
            return reason is Reason.IDLE
        case Pause():
            return True
        case _:
            return False
