"""How long the files lag behind an answer where routes are kept, by how many there are.

There is no goal: it is what docs/nbgate-proxy.md says in words.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path

from bench.datapath.results import CaseResult, Metric
from bench.routes.api import Api, Unexpected
from bench.routes.operations import fill, route
from bench.routes.proxies import Contender, started
from routes import extras
from routes.apachedb import read

FOLLOWING = "following"
_CHANGES = 5
_LOOK_SECONDS = 0.001
_LONGEST_SECONDS = 120.0


def measure_following(
    contender: Contender, counts: Sequence[int], folder: Path, core: int
) -> CaseResult:
    """Add routes one after another, each when the one before is in the files.

    Args:
        contender: keeps its routes.
        counts: of routes, growing.
        folder: for its files.
        core: its.
    """
    metrics = tuple(Metric(str(count), f"{count:,} routes: s", 2) for count in counts)
    result = CaseResult(FOLLOWING, "From 201 until the route is in the files", metrics)
    samples: list[dict[str, float]] = [{} for _ in range(_CHANGES)]
    with started(contender, folder, {core}) as running, running.connected() as api:
        assert running.route_file is not None
        have = 0
        for count in counts:
            fill(api, range(have, count))
            _added(api, count, running.route_file)  # and so all before it are there
            for number, sample in enumerate(samples, 1):
                sample[str(count)] = _added(api, count + number, running.route_file)
            have = count + _CHANGES + 1
            said = "  ".join(f"{sample[str(count)]:.2f}" for sample in samples)
            print(f"{count:>7,} {contender.name:30} {said}  (s)", file=sys.stderr, flush=True)
    for sample in samples:
        result.add(contender.name, sample)
    return result


def _added(api: Api, number: int, route_file: Path) -> float:
    """Add a route; return the seconds from the answer until both files have it."""
    made = route(number)
    files = (route_file, extras.beside(route_file))
    api.expect(201, "POST", made.path, made.data)
    began = time.perf_counter()
    seen: list[tuple[int, int]] = []
    while time.perf_counter() < began + _LONGEST_SECONDS:
        now = [_version(file) for file in files]
        if now != seen:  # a file is written anew, so its content need not be looked at each time
            moment, seen = time.perf_counter(), now
            if all(file.exists() and made.path.encode() in read(file) for file in files):
                return moment - began
        time.sleep(_LOOK_SECONDS)
    raise Unexpected(f"{made.path} is not in {route_file} after {_LONGEST_SECONDS:.0f} s")


def _version(file: Path) -> tuple[int, int]:
    try:
        found = file.stat()
    except FileNotFoundError:
        return 0, 0
    return found.st_ino, found.st_mtime_ns
