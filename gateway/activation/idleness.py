"""What is to happen to a server: kept, warned of, paused, stopped or removed. Pure.

Everything is monotonic seconds of one clock, so a jump of the wall clock ends nothing: what is
told in UTC becomes a monotonic moment once, when it is first told (`Moments`). Two kinds of use
keep a server. A *person* does always. *Work* without a person (a busy kernel, a terminal's
program, files that change, a download, a check of the project's) does for `busy_cap` seconds
after the last sign of a person. Nothing here does I/O; culler.py asks and carries out.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass, field, fields
from datetime import datetime

from gateway.notebooks.model import Lifetimes

NEVER = math.inf
LONG_AGO = -math.inf


class Reason(enum.StrEnum):
    """Why a server is stopped."""

    IDLE = "idle"
    AGE = "age"


@dataclass(frozen=True, slots=True)
class Terms:
    """The lifetimes in force, in seconds; NEVER where nothing happens.

    Attributes:
        idle_timeout: unused for so long, it is stopped.
        max_age: it is stopped so long after its start.
        warning: pages are told so long before; 0 for not at all.
        busy_cap: work alone keeps it so long after the last sign of a person.
        pause_after: unused for so long, it is paused.
        remove_after: a stopped one is kept for so long; 0: it is removed at once.
    """

    idle_timeout: float
    max_age: float
    warning: float
    busy_cap: float
    pause_after: float
    remove_after: float

    @property
    def endless(self) -> bool:
        """Whether nothing ever happens to a running server."""
        return math.isinf(min(self.idle_timeout, self.max_age, self.pause_after))


def in_force(own: Lifetimes, default: Lifetimes) -> Lifetimes:
    """Return a project's lifetimes, with the installation's where it says nothing."""
    values = {}
    for one in fields(Lifetimes):
        value = getattr(own, one.name)
        values[one.name] = getattr(default, one.name) if value is None else value
    return Lifetimes(**values)


def terms_of(lifetimes: Lifetimes) -> Terms:
    """Return lifetimes in force as terms: 0 and None are never, for all but two of them.

    A warning is at most half of what it warns of, or it would be there always.
    """
    idle, age = _or_never(lifetimes.idle_timeout), _or_never(lifetimes.max_age)
    return Terms(
        idle_timeout=idle,
        max_age=age,
        warning=min(lifetimes.warning or 0.0, idle / 2, age / 2),
        busy_cap=_or_never(lifetimes.busy_cap),
        pause_after=_or_never(lifetimes.pause_after),
        remove_after=lifetimes.remove_after or 0.0,
    )


def _or_never(seconds: float | None) -> float:
    return seconds or NEVER


@dataclass(frozen=True, slots=True)
class Use:
    """How a server is used, as far as it was asked.

    Attributes:
        person: moment of the last sign of a person; its start is one.
        work: moment of the last known work without one.
        started: moment of its start.
        requests: in flight for longer than a moment; each is work, e.g. a download.
        warned: moment since when its pages are warned; None if they are not.
    """

    person: float
    work: float
    started: float
    requests: int = 0
    warned: float | None = None


@dataclass(frozen=True, slots=True)
class Keep:
    """Leave it; nothing is due before the moment `until`, whatever else is asked."""

    until: float


@dataclass(frozen=True, slots=True)
class Warn:
    """Tell its pages that it will be stopped at the moment `at`."""

    at: float
    reason: Reason


@dataclass(frozen=True, slots=True)
class Pause:
    """Freeze it."""


@dataclass(frozen=True, slots=True)
class Stop:
    """End it; keep what was stopped if it is removed later."""

    reason: Reason
    keep: bool


@dataclass(frozen=True, slots=True)
class Remove:
    """Remove what was stopped and kept."""


Verdict = Keep | Warn | Pause | Stop | Remove


def judge(use: Use, terms: Terms, now: float) -> Verdict:
    """Return what is to happen now to a server that runs."""
    end, reason = _end_of(use, terms, now)
    pause_at = _unused_for(terms.pause_after, use, terms, now)
    if pause_at <= now < end and not use.requests:
        return Pause()
    if now < end - terms.warning:
        return Keep(min(end - terms.warning, pause_at if pause_at > now else NEVER))
    began = now if use.warned is None else use.warned
    # However late it is noticed that it is due: who has a page open gets the whole warning.
    stop_at = max(end, began + terms.warning)
    if now < stop_at:
        return Warn(stop_at, reason)
    return Stop(reason, keep=terms.remove_after > 0)


def judge_paused(use: Use, terms: Terms, now: float) -> Verdict:
    """Return what is to happen to one that is paused: no page of it could be warned."""
    end, reason = _end_of(use, terms, now)
    return Stop(reason, keep=terms.remove_after > 0) if now >= end else Keep(end)


def judge_stopped(use: Use, terms: Terms, now: float) -> Verdict:
    """Return what is to happen to one that was stopped and kept, or has ended by itself.

    The latter is there for its log; where servers are never idle and none is kept, it stays.
    """
    idle = terms.idle_timeout
    if math.isinf(idle) and terms.remove_after:
        idle = 0.0
    remove_at = max(use.person, use.work) + idle + terms.remove_after
    return Remove() if now >= remove_at else Keep(remove_at)


def _end_of(use: Use, terms: Terms, now: float) -> tuple[float, Reason]:
    too_old = use.started + terms.max_age
    unused = _unused_for(terms.idle_timeout, use, terms, now)
    return (too_old, Reason.AGE) if too_old <= unused else (unused, Reason.IDLE)


def _unused_for(seconds: float, use: Use, terms: Terms, now: float) -> float:
    """Return the moment when it has been unused for so long, if nothing more happens."""
    work = now if use.requests else use.work
    return min(max(use.person, work) + seconds, use.person + max(terms.busy_cap, seconds))


@dataclass(slots=True)
class Moments:
    """Turns moments in UTC into monotonic ones, each once.

    A moment that is told again is the same moment, wherever the wall clock has gone meanwhile;
    one in the future is now.
    """

    _seen: dict[str, tuple[datetime, float]] = field(default_factory=dict)

    def of(self, name: str, told: datetime | None, now: float, wall: datetime) -> float:
        """Return the monotonic moment of `told`.

        Args:
            name: what it is the moment of.
            told: UTC; None for never.
            now: the monotonic clock.
            wall: the wall clock, UTC.
        """
        if told is None:
            return LONG_AGO
        seen = self._seen.get(name)
        if seen is not None and seen[0] == told:
            return seen[1]
        moment = now - max(0.0, (wall - told).total_seconds())
        self._seen[name] = (told, moment)
        return moment
