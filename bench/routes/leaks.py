"""What stays of many requests and WebSockets once they are over: memory, descriptors, tasks.

Before each look the routes are removed, so that connections kept for their targets are closed too.
"""

from __future__ import annotations

import asyncio
import re
import socket
import sys
import time
import urllib.request
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from bench.datapath.cores import descriptors, resident_bytes
from bench.datapath.loops import new_loop
from bench.datapath.processes import free_port, program
from bench.datapath.results import CaseResult, Metric
from bench.routes.api import Unexpected
from bench.routes.churn import DEAD, LIVE, Mixture, churn
from bench.routes.proxies import Contender, Running, started

LEAKS = "leaks"
_PARTS = 10
_SETTLED_SECONDS = 30.0
QUIET_SECONDS = 6.0  # CHP closes what is idle after five
_LOOK_SECONDS = 0.1
_MIB = 2**20
# Node.js has no tasks: what keeps its event loop busy is counted.
_TASKS = re.compile(r"^(?:nbgate_tasks|nodejs_active_resources_total) (\d+)$", re.MULTILINE)
_METRICS = (
    Metric("before", "RSS before, MiB", 1),
    Metric("after", "after", 1),
    Metric("grown", "grown by", 1),
    Metric("open_before", "descriptors before", 0),
    Metric("open_after", "after", 0),
    Metric("tasks_before", "tasks before", 0),
    Metric("tasks_after", "after", 0),
    Metric("took", "seconds", 1),
)


@dataclass(frozen=True, slots=True)
class Look:
    """What a process has.

    Attributes:
        resident: bytes.
        descriptors: that are open.
        tasks: of its event loop.
    """

    resident: int
    descriptors: int
    tasks: int


def measure_leaks(
    who: Sequence[Contender],
    mixture: Mixture,
    folder: Path,
    proxy_core: int,
    load_core: int,
    quiet: float = QUIET_SECONDS,
) -> CaseResult:
    """Let requests and WebSockets come and go; look before and after, when all is quiet.

    Args:
        who: the contenders.
        mixture: what comes and goes.
        folder: for files.
        proxy_core: the contenders'.
        load_core: that of clients and target.
        quiet: seconds without a descriptor that closes, after which it is quiet.
    """
    title = (
        f"What stays of {mixture.requests:,} requests and {mixture.sockets:,} WebSockets, "
        f"after a tenth of them as a warm-up"
    )
    result = CaseResult(LEAKS, title, _METRICS)
    with ExitStack() as stack:
        port = free_port()
        words = [sys.executable, "-m", "bench.datapath.sink", str(port)]
        stack.enter_context(program(words, {load_core}, folder / "sink.log", port=port))
        for one in who:
            with started(one, folder, {proxy_core}, metrics=True) as running:
                _measure(running, mixture, port, quiet, result)
    return result


def _measure(
    running: Running, mixture: Mixture, target: int, quiet: float, result: CaseResult
) -> None:
    part = mixture.part(_PARTS)
    _parts(running, part, 1, target)
    before = _settled(running, quiet)
    began = time.perf_counter()
    sizes = _parts(running, part, _PARTS, target)
    took = time.perf_counter() - began
    after = _settled(running, quiet, before.descriptors)
    result.add(
        running.name,
        {
            "before": before.resident / _MIB,
            "after": after.resident / _MIB,
            "grown": (after.resident - before.resident) / _MIB,
            "open_before": before.descriptors,
            "open_after": after.descriptors,
            "opened": after.descriptors - before.descriptors,
            "tasks_before": before.tasks,
            "tasks_after": after.tasks,
            "begun": after.tasks - before.tasks,
            "took": took,
        },
    )
    told = ", ".join(f"{size / _MIB:.1f}" for size in sizes)
    result.remarks.append(f"{running.name}: RSS in MiB after each tenth: {told}")
    print(f"{running.name:30} {before}\n{'':30} {after}", file=sys.stderr, flush=True)


def _parts(running: Running, part: Mixture, parts: int, target: int) -> list[int]:
    """Send `parts` parts; return the resident bytes after each."""
    sizes = []
    # Bound and deaf: a port that is merely free could become the proxy's own end of a connection.
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        with running.connected() as api:
            dead = deaf.getsockname()[1]
            api.expect(201, "POST", LIVE, {"target": f"http://127.0.0.1:{target}"})
            api.expect(201, "POST", DEAD, {"target": f"http://127.0.0.1:{dead}"})
        for _ in range(parts):
            with asyncio.Runner(loop_factory=new_loop) as runner:
                runner.run(churn(running.port, part))
            sizes.append(resident_bytes(running.pid))
    with running.connected() as api:
        api.expect(204, "DELETE", LIVE)
        api.expect(204, "DELETE", DEAD)
    return sizes


def _settled(running: Running, quiet: float, wanted: int = 0) -> Look:
    """Return what there is, when no more than `wanted` is open or nothing has closed for long."""
    deadline = time.monotonic() + _SETTLED_SECONDS
    seen, since = descriptors(running.pid), time.monotonic()
    while seen > wanted and time.monotonic() < min(deadline, since + quiet):
        time.sleep(_LOOK_SECONDS)
        found = descriptors(running.pid)
        if found != seen:
            seen, since = found, time.monotonic()
    return Look(resident_bytes(running.pid), seen, _tasks(running))


def _tasks(running: Running) -> int:
    url = f"http://127.0.0.1:{running.metrics}/metrics"
    with urllib.request.urlopen(url, timeout=30) as answer:
        text = answer.read().decode()
    found = _TASKS.search(text)
    if found is None:
        raise Unexpected(f"{running.name} does not tell its tasks")
    return int(found[1])
