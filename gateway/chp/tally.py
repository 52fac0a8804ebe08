"""What this mode counts besides gateway.traffic: plain numbers, since it counts each request."""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass, field

from gateway.proxy.interface import Clock


@dataclass(slots=True)
class Tally:
    """Counts since the start.

    Attributes:
        requests: that ask for no upgrade.
        websockets: that do.
        statuses: answers to clients, by status; upgrades that succeeded are not among them.
        api_statuses: answers of the API, by status.
        listed, added, deleted: operations of the API: all routes told, one set, one removed.
        lookups: routes looked up for requests; `lookup_seconds` what they took together.
        marks: of routes as active; `mark_seconds` what they took together.
        clock: seconds; for these.
    """

    requests: int = 0
    websockets: int = 0
    statuses: defaultdict[int, int] = field(default_factory=lambda: defaultdict(int))
    api_statuses: defaultdict[int, int] = field(default_factory=lambda: defaultdict(int))
    listed: int = 0
    added: int = 0
    deleted: int = 0
    lookups: int = 0
    lookup_seconds: float = 0.0
    marks: int = 0
    mark_seconds: float = 0.0
    clock: Clock = time.perf_counter

    def looked_up(self, seconds: float) -> None:
        """Count a lookup."""
        self.lookups += 1
        self.lookup_seconds += seconds

    def marked(self, seconds: float) -> None:
        """Count a mark."""
        self.marks += 1
        self.mark_seconds += seconds
