"""The numbers of a run: samples by case, contender and metric, and what follows from them. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Metric:
    """One measured quantity.

    Attributes:
        name: the key under which cases give it.
        title: column head, with its unit.
        digits: decimals that are shown.
        compared: whether ratios to peers are shown.
    """

    name: str
    title: str
    digits: int = 0
    compared: bool = False


@dataclass(slots=True)
class CaseResult:
    """What one case gave.

    Attributes:
        name: the case's.
        title: what it measures, in one line.
        metrics: its columns.
        samples: one mapping of numbers per round, by contender.
        remarks: lines for people: what was left out, and why.
        failed: whether a contender failed in a round.
        disturbed: the most that other programs had of the two cores, in cores (0.05 is 5 %).
    """

    name: str
    title: str
    metrics: tuple[Metric, ...]
    samples: dict[str, list[Mapping[str, float]]] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    failed: bool = False
    disturbed: float = 0.0

    def add(self, contender: str, numbers: Mapping[str, float]) -> None:
        """Keep the numbers of one round."""
        self.samples.setdefault(contender, []).append(numbers)

    def fail(self, contender: str, number: int, reason: str) -> None:
        """Keep that a contender failed in a round."""
        self.failed = True
        line = " ".join(reason.split())
        self.remarks.append(f"{contender} failed in round {number}: {line[:300]}")

    def values(self, contender: str, metric: str) -> list[float]:
        """Return the samples of a metric, in the order of the rounds."""
        return [numbers[metric] for numbers in self.samples.get(contender, ()) if metric in numbers]

    def median(self, contender: str, metric: str) -> float | None:
        """Return the median of a metric, or None where it was not measured."""
        values = self.values(contender, metric)
        return statistics.median(values) if values else None

    def ratio(self, contender: str, metric: str, against: str) -> float | None:
        """Return the median of the rounds' ratios, or None where a contender is missing.

        What is measured in one round is compared with each other: the machine's speed changes
        from minute to minute. Where a round failed for one of them, it is the medians' ratio.
        """
        ours, theirs = self.values(contender, metric), self.values(against, metric)
        if not ours or not theirs or 0 in theirs:
            return None
        if len(ours) != len(theirs):
            return statistics.median(ours) / statistics.median(theirs)
        return statistics.median(our / their for our, their in zip(ours, theirs, strict=True))
