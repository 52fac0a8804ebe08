"""What nbgate-proxy must reach. Pure."""

from __future__ import annotations

from bench.datapath.goals import Goal
from bench.routes.leaks import LEAKS
from bench.routes.operations import case
from bench.routes.proxies import KEEPING, OURS

_COUNT = 10_000
_ADD_MS = 2.0
_GROWN_MIB = 4.0


def all_goals() -> list[Goal]:
    """Return every goal, in the order of the report."""
    add = case("add", _COUNT)
    return [
        *(
            _most(
                f"{subject}: adding a route to {_COUNT:,}, p50", add, "p50", _ADD_MS, " ms", subject
            )
            for subject in (OURS, KEEPING)
        ),
        _most("memory that stays of what came and went (RSS)", LEAKS, "grown", _GROWN_MIB, " MiB"),
        _most("descriptors that stay", LEAKS, "opened", 0.0),
        _most("tasks that stay", LEAKS, "begun", 0.0),
    ]


def _most(
    title: str, name: str, metric: str, must: float, unit: str = "", subject: str = OURS
) -> Goal:
    return Goal(title, name, metric, "", must, None, at_least=False, subject=subject, unit=unit)
