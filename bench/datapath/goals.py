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
        against_case: the case of `against`; "" for the same.
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
    against_case: str = ""
    unit: str = ""

    def value(self, results: Mapping[str, CaseResult]) -> float | None:
        """Return the ratio, or the value itself; None where it was not measured."""
        if self.case not in results:
            return None
        ours = results[self.case].median(self.subject, self.metric)
        if not self.against or ours is None:
            return ours
        other = results.get(self.against_case or self.case)
        theirs = other.median(self.against, self.metric) if other is not None else None
        return ours / theirs if theirs else None

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
    full, bare = "Small GET, 32 connections, full", "Small GET, 32 connections, bare"
    return [
        Goal(full, "get-full-32", "rate", "nginx", 0.5, 0.8),
        Goal(full, "get-full-32", "rate", "chp", 5, None),
        Goal(bare, "get-bare-32", "rate", "nginx", 0.6, 1.0),
        Goal(bare, "get-bare-32", "rate", "chp", 6, None),
    ]
