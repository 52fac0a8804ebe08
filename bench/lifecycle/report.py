"""What was measured, as numbers and as text."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.lifecycle.noticed import Noticed

GOAL = 2.0


def percentile(values: Sequence[float], share: float) -> float:
    """Return the least value that `share` of all are not above (nearest rank)."""
    ranked = sorted(values)
    return ranked[max(0, math.ceil(share * len(ranked)) - 1)]


@dataclass(frozen=True, slots=True)
class Measured:
    """One run.

    Attributes:
        students: how many started.
        quiet: seconds of each answer of the hot notebook while nothing else happened.
        busy: the same while the students' notebooks started.
        seconds: until the last one was served.
        in_order: starts began in the order in which they were asked for.
        complete: everybody was served.
    """

    students: int
    quiet: Sequence[float]
    busy: Sequence[float]
    seconds: float
    in_order: bool
    complete: bool

    @property
    def ratio(self) -> float:
        """The p99 while they started, to the quiet one."""
        return percentile(self.busy, 0.99) / percentile(self.quiet, 0.99)

    @property
    def good(self) -> bool:
        """Whether the goals were met."""
        return self.ratio <= GOAL and self.in_order and self.complete


def table(measured: Measured, noticed: Noticed) -> str:
    """Return tables in Markdown."""
    head = "| a hot notebook's answers, ms | number | p50 | p99 | longest |\n|---|---|---|---|---|"
    lines = [head, _row("quiet", measured.quiet), _row("while they start", measured.busy)]
    order = "in the order in which they came" if measured.in_order else "NOT in order"
    served = "all served" if measured.complete else "NOT all served"
    met = "met" if measured.ratio <= GOAL else "not met"
    lines += [
        "",
        f"p99 while {measured.students} start is {measured.ratio:.2f} × the quiet one "
        f"(goal: at most {GOAL:g} ×, {met}).",
        f"{measured.students} notebooks: {served} within {measured.seconds:.1f} s "
        f"({measured.seconds / measured.students:.2f} s each), {order}.",
        "",
        "| a server ended by hand, ms until its route was cold | number | p50 | p99 | longest |",
        "|---|---|---|---|---|",
        _row("`docker kill`, since its end", noticed.killed),
        _row("`docker rm --force`, since it was asked for", noticed.removed),
    ]
    return "\n".join(lines)


def document(measured: Measured, noticed: Noticed, facts: Mapping[str, str]) -> str:
    """Return the file of results."""
    told = "\n".join(f"- {name}: {value}" for name, value in facts.items())
    return (
        "# A class that starts at once\n\n"
        "Written by `python -m bench.lifecycle --write-results`; the client that asks, the engine "
        "and the gateway share the machine's cores.\n\n"
        f"{told}\n\n{table(measured, noticed)}\n"
    )


def _row(name: str, seconds: Sequence[float]) -> str:
    shown = (percentile(seconds, 0.5), percentile(seconds, 0.99), max(seconds))
    return f"| {name} | {len(seconds)} | " + " | ".join(f"{1000 * one:.1f}" for one in shown) + " |"
