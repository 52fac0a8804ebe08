"""What this mode counts besides gateway.traffic: plain numbers, since it counts each request.

Workers tell theirs as numbers by name, of which control adds up what came since the last time.
"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.proxy.interface import Clock

_STEPS = 8  # of a spread, for each doubling: a quantile is right to within 5 %
_SHORTEST = 1e-9

Spread = defaultdict[int, int]
"""How many took about so long: by steps of which eight double the seconds."""


def _spread() -> Spread:
    return defaultdict(int)


@dataclass(slots=True)
class Tally:
    """Counts since the start.

    Attributes:
        requests: that ask for no upgrade.
        websockets: that do.
        statuses: answers to clients, by status; upgrades that succeeded are not among them.
        api_statuses: answers of the API, by status.
        listed, added, deleted: operations of the API: all routes told, one set, one removed.
        lookups: routes looked up for requests; `lookup_seconds` what they took together, and
            `lookup_spread` what each took.
        marks: of routes as active; `mark_seconds` and `mark_spread` are the same for them.
        clock: seconds; for these.
    """

    requests: int = 0
    websockets: int = 0
    statuses: Spread = field(default_factory=_spread)
    api_statuses: Spread = field(default_factory=_spread)
    listed: int = 0
    added: int = 0
    deleted: int = 0
    lookups: int = 0
    lookup_seconds: float = 0.0
    lookup_spread: Spread = field(default_factory=_spread)
    marks: int = 0
    mark_seconds: float = 0.0
    mark_spread: Spread = field(default_factory=_spread)
    clock: Clock = time.perf_counter

    def looked_up(self, seconds: float) -> None:
        """Count a lookup."""
        self.lookups += 1
        self.lookup_seconds += seconds
        self.lookup_spread[_step(seconds)] += 1

    def marked(self, seconds: float) -> None:
        """Count a mark."""
        self.marks += 1
        self.mark_seconds += seconds
        self.mark_spread[_step(seconds)] += 1

    def counts(self) -> dict[str, float]:
        """Return all of a worker's counts by name; those of a spread as `name step`."""
        counts: dict[str, float] = {name: getattr(self, name) for name in _NUMBERS}
        for name in _SPREADS:
            spread: Spread = getattr(self, name)
            counts |= {f"{name} {step}": count for step, count in spread.items()}
        return counts

    def add(self, more: Mapping[str, float]) -> None:
        """Add what a worker counted, by the names of `counts`."""
        for words, count in more.items():
            name, _, step = words.partition(" ")
            if name in _NUMBERS:
                setattr(self, name, getattr(self, name) + count)
            elif name in _SPREADS:
                getattr(self, name)[int(step)] += int(count)


_NUMBERS = ("requests", "websockets", "lookups", "lookup_seconds", "marks", "mark_seconds")
_SPREADS = ("statuses", "lookup_spread", "mark_spread")


def quantile(spread: Mapping[int, int], share: float) -> float:
    """Return the seconds within which a share of all was done; 0.0 where there was nothing."""
    left = share * sum(spread.values())
    for step, count in sorted(spread.items()):
        left -= count
        if left <= 0:
            return float(2.0 ** ((step + 0.5) / _STEPS))
    return 0.0


def _step(seconds: float) -> int:
    return math.floor(math.log2(max(seconds, _SHORTEST)) * _STEPS)
