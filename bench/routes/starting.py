"""Start time, and memory without and with routes: one contender runs at a time."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from bench.datapath.cores import memory_bytes, resident_bytes
from bench.datapath.results import CaseResult, Metric
from bench.datapath.runner import rotated
from bench.routes.operations import fill
from bench.routes.proxies import Contender, started

STARTING = "starting"
_MIB = 2**20


def measure_starting(
    who: Sequence[Contender], routes: int, rounds: int, folder: Path, core: int
) -> CaseResult:
    """Start each contender in each round; a first start of each is not counted.

    Args:
        who: the contenders.
        routes: how many are added then.
        rounds: how often.
        folder: for their files.
        core: theirs.
    """
    metrics = (
        Metric("seconds", "seconds to both ports", 3, compared=True),
        Metric("idle", "idle: RSS, MiB", 1, compared=True),
        Metric("idle_pss", "PSS", 1),
        Metric("filled", f"{routes:,} routes: RSS, MiB", 1, compared=True),
        Metric("filled_pss", "PSS", 1),
    )
    title = "Start: from the process to an answer at both ports; memory"
    result = CaseResult(STARTING, title, metrics)
    for one in who:
        with started(one, folder, {core}):
            pass
    for number in range(rounds):
        for one in rotated(who, number):
            result.add(one.name, _start(one, routes, folder, core))
    return result


def _start(one: Contender, routes: int, folder: Path, core: int) -> dict[str, float]:
    with started(one, folder, {core}) as running:
        idle, idle_pss = resident_bytes(running.pid), memory_bytes(running.pid)
        with running.connected() as api:
            fill(api, range(routes))
        made = {
            "seconds": running.seconds,
            "idle": idle / _MIB,
            "idle_pss": idle_pss / _MIB,
            "filled": resident_bytes(running.pid) / _MIB,
            "filled_pss": memory_bytes(running.pid) / _MIB,
        }
    said = "  ".join(f"{name} {value:.3f}" for name, value in made.items())
    print(f"{one.name:30} {said}", file=sys.stderr, flush=True)
    return made
