"""What was measured, as numbers and as text."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bench.lifecycle.back import Back
from bench.lifecycle.noticed import Noticed

GOAL = 2.0
_ASKED = "through the gateway", "itself"


def percentile(values: Sequence[float], share: float) -> float:
    """Return the least value that `share` of all are not above (nearest rank)."""
    ranked = sorted(values)
    return ranked[max(0, math.ceil(share * len(ranked)) - 1)]


@dataclass(frozen=True, slots=True)
class Measured:
    """One run.

    Attributes:
        apart: the gateway and the hot notebook had a core of their own; else all shared both.
        students: how many started.
        quiet: seconds of each answer of a hot notebook while nothing else happened: through the
            gateway, and of itself.
        busy: the same while the students' notebooks started.
        seconds: until the last one was served.
        in_order: starts began in the order in which they were asked for.
        complete: everybody was served.
    """

    apart: bool
    students: int
    quiet: Sequence[Sequence[float]]
    busy: Sequence[Sequence[float]]
    seconds: float
    in_order: bool
    complete: bool

    @property
    def ratio(self) -> float:
        """The p99 through the gateway while they started, to the quiet one."""
        return percentile(self.busy[0], 0.99) / percentile(self.quiet[0], 0.99)


Rounds = Sequence[Measured]
"""Runs of one kind."""


def middle(rounds: Rounds) -> Measured:
    """Return the one with the median ratio; the upper one of two."""
    return sorted(rounds, key=lambda one: one.ratio)[len(rounds) // 2]


def are_good(rounds: Rounds) -> bool:
    """Whether the goals were met; that of the p99, by the median, is not for shared cores."""
    chosen = middle(rounds)
    fast = chosen.ratio <= GOAL or not chosen.apart
    return fast and all(one.in_order and one.complete for one in rounds)


def table(measured: Sequence[Rounds], noticed: Noticed, back: Back) -> str:
    """Return tables in Markdown."""
    lines = [
        *(line for rounds in measured for line in _of_class(rounds)),
        "| a server ended by hand, ms until its route was cold | number | p50 | p99 | longest |",
        "|---|---|---|---|---|",
        _row("`docker kill`, since its end", noticed.killed),
        _row("`docker rm --force`, since it was asked for", noticed.removed),
        "",
        "| a cold notebook, ms from the request to its answer | number | p50 | p99 | longest |",
        "|---|---|---|---|---|",
        _row("its server was paused", back.paused),
        _row("its container was gone", back.gone),
    ]
    return "\n".join(lines)


def _of_class(rounds: Rounds) -> Iterator[str]:
    measured = middle(rounds)
    yield "## The gateway on a core of its own" if measured.apart else "## All on the same cores"
    yield ""
    yield "| a hot notebook's answers, ms | number | p50 | p99 | longest |"
    yield "|---|---|---|---|---|"
    for name, quiet, busy in zip(_ASKED, measured.quiet, measured.busy, strict=True):
        yield _row(f"{name}, quiet", quiet)
        yield _row(f"{name}, while they start", busy)
    met = "met" if measured.ratio <= GOAL else "not met"
    goal = f" (goal: at most {GOAL:g} ×, {met})" if measured.apart else ""
    yield ""
    yield (
        f"The p99 through the gateway while {measured.students} start is "
        f"{measured.ratio:.2f} × the quiet one{goal}."
    )
    if len(rounds) > 1:
        ratios = ", ".join(f"{one.ratio:.2f}" for one in rounds)
        yield f"That is the median run of {len(rounds)}: {ratios} ×."
    in_order = all(one.in_order for one in rounds)
    complete = all(one.complete for one in rounds)
    order = "in the order in which they came" if in_order else "NOT in order"
    served = "all served" if complete else "NOT all served"
    yield (
        f"{measured.students} notebooks: {served} within {measured.seconds:.1f} s "
        f"({measured.seconds / measured.students:.2f} s each), {order}."
    )
    yield ""


def document(
    measured: Sequence[Rounds], noticed: Noticed, back: Back, facts: Mapping[str, str]
) -> str:
    """Return the file of results."""
    told = "\n".join(f"- {name}: {value}" for name, value in facts.items())
    return (
        "# A class that starts at once\n\n"
        "Written by `python -m bench.lifecycle --write-results`. A program asks a hot notebook "
        "all the time, through the gateway and in turn with that itself, without the gateway. "
        "First the gateway, that notebook and the program have one core; the engine with what it "
        "starts, the class's clients and all else on the machine that can be moved, its own "
        "services and threads of the kernel, have the other. Then all share both, and what the "
        "notebook itself answers shows what of a delay is the machine's.\n\n"
        f"{told}\n\n{table(measured, noticed, back)}\n"
    )


def _row(name: str, seconds: Sequence[float]) -> str:
    shown = (percentile(seconds, 0.5), percentile(seconds, 0.99), max(seconds))
    return f"| {name} | {len(seconds)} | " + " | ".join(f"{1000 * one:.1f}" for one in shown) + " |"
