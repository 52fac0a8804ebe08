"""What nbgate must reach, and what it aims at: compared with peers in the same run. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bench.datapath.results import CaseResult


@dataclass(frozen=True, slots=True)
class Goal:
    """One goal.

    Attributes:
        title: what is measured.
        case: the case's name.
        metric: of the case.
        against: the contender it is compared with; "" for a bound on the value itself.
        must: the bound that has to be met; None for none.
        aim: the bound that is wanted; None for none.
        at_least: whether larger is better.
        subject: whose value it is.
        unit: behind an absolute value.
    """

    title: str
    case: str
    metric: str
    against: str
    must: float | None
    aim: float | None
    at_least: bool = True
    subject: str = "nbgate"
    unit: str = ""

    def value(self, results: Mapping[str, CaseResult]) -> float | None:
        """Return the ratio, or the value itself; None where it was not measured."""
        if self.case not in results:
            return None
        ours = results[self.case].median(self.subject, self.metric)
        if not self.against or ours is None:
            return ours
        return results[self.case].ratio(self.subject, self.metric, self.against)

    def meets_must(self, value: float) -> bool | None:
        """Whether the bound is met; None where there is none."""
        return self._meets(value, self.must)

    def meets_aim(self, value: float) -> bool | None:
        """Whether the aim is met; None where there is none."""
        return self._meets(value, self.aim)

    @property
    def must_text(self) -> str:
        """The bound in words."""
        return self._text(self.must)

    @property
    def aim_text(self) -> str:
        """The aim in words."""
        return self._text(self.aim)

    def _meets(self, value: float, bound: float | None) -> bool | None:
        if bound is None:
            return None
        return value >= bound if self.at_least else value <= bound

    def _text(self, bound: float | None) -> str:
        if bound is None:
            return ""
        sign = "≥" if self.at_least else "≤"
        return f"{sign} {bound:.3g}{f' × {self.against}' if self.against else self.unit}"


def all_goals() -> list[Goal]:
    """Return every goal, in the order of the report."""
    full, bare = "small GET, 32 connections, full", "small GET, 32 connections, bare"
    quiet, busy = "p99 at 1,000 requests/s, quiet", "p99 while 10,000 routes are published"
    message, memory = "CPU per WebSocket message", "memory per idle WebSocket"
    fewer, more = "10 routes", "1,000,000 routes"
    return [
        Goal(full, "get-full-32", "rate", "nginx", 0.5, 0.8),
        Goal(f"{full} (the last aim)", "get-full-32", "rate", "nginx", None, 1.0),
        Goal(full, "get-full-32", "rate", "chp", 5, None),
        Goal(bare, "get-bare-32", "rate", "nginx", 0.6, 1.0),
        Goal(bare, "get-bare-32", "rate", "chp", 6, None),
        Goal(quiet, "latency", "p99", "nginx", 2, 1, at_least=False),
        Goal(busy, "latency-publishing", "p99", "nginx", 2, 1, at_least=False),
        Goal("download of 100 MiB", "download-100m", "rate", "nginx", 0.7, 1.0),
        Goal("upload of 100 MiB", "upload-100m", "rate", "nginx", 0.7, 1.0),
        Goal(f"{message} of 100 B", "echo-100", "cpu", "nginx", 1.3, None, at_least=False),
        Goal(f"{message} of 100 B", "echo-100", "cpu", "haproxy", None, 1.0, at_least=False),
        Goal(f"{message} of 16 KiB", "echo-16384", "cpu", "nginx", 1.3, None, at_least=False),
        Goal(f"{message} of 16 KiB", "echo-16384", "cpu", "haproxy", None, 1.0, at_least=False),
        Goal(memory, "idle", "memory", "chp", 1 / 3, None, at_least=False),
        Goal(memory, "idle", "memory", "", None, 5, at_least=False, unit=" KiB"),
        Goal("1,000,000 routes against 10", "routes", "rate", fewer, 0.95, 1.0, subject=more),
    ]
