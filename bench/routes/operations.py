"""Adding, removing and telling routes through the API, by how many routes there are."""

from __future__ import annotations

import contextlib
import json
import random
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from bench.datapath.fixed_rate import percentile
from bench.datapath.results import CaseResult, Metric
from bench.datapath.runner import rotated
from bench.routes.api import Answer, Api, Unexpected
from bench.routes.proxies import Contender, Running, started

T = TypeVar("T")

OPERATIONS: Mapping[str, str] = {
    "add": "POST one that is new",
    "tell": "GET one",
    "remove": "DELETE one",
    "list": "GET all",
}
FILLING = "filling"
_METRICS = (
    Metric("p50", "p50 ms", 3, compared=True),
    Metric("p99", "p99 ms", 3, compared=True),
)
_RATE = (Metric("rate", "routes/s", 0, compared=True),)
_CALLS = 500
_LISTED_ROUTES = 300_000
_LISTINGS = range(5, 51)


@dataclass(frozen=True, slots=True)
class Route:
    """A route as a JupyterHub sets it.

    Attributes:
        path: behind /api/routes.
        data: its JSON.
    """

    path: str
    data: Mapping[str, object]


def route(number: int) -> Route:
    """Return the route of a user's server; all of them differ."""
    name = f"student-{number:06}"
    third, fourth = divmod(number, 250)
    target = f"http://10.{third // 250}.{third % 250}.{fourth + 1}:8888"
    data = {"user": name, "server_name": "", "target": target, "jupyterhub": True}
    return Route(f"/user/{name}", data)


def fill(api: Api, numbers: range) -> float:
    """Add routes one after another; return the seconds."""
    began = time.perf_counter()
    for number in numbers:
        made = route(number)
        api.expect(201, "POST", made.path, made.data)
    return time.perf_counter() - began


def case(operation: str, count: int) -> str:
    """Return the name of a case."""
    return f"{operation}-{count}"


def measure_operations(
    who: Sequence[Contender], counts: Sequence[int], rounds: int, folder: Path, core: int
) -> dict[str, CaseResult]:
    """Measure every operation at every count; the contenders take turns."""
    results = {
        case(operation, count): CaseResult(case(operation, count), title, _METRICS)
        for count in counts
        for operation, title in OPERATIONS.items()
    }
    results[FILLING] = CaseResult(FILLING, "", _RATE)
    with contextlib.ExitStack() as stack:
        running = [stack.enter_context(started(one, folder, {core})) for one in who]
        have = 0
        for count in counts:
            for one in running:
                _fill(one, range(have, count), results[FILLING])
            if not have:
                for one in running:
                    _round(one, count, rounds)  # nobody is measured cold
            have = count
            for number in range(rounds):
                for one in rotated(running, number):
                    for operation, numbers in _round(one, count, number).items():
                        results[case(operation, count)].add(one.name, numbers)
    return results


def _fill(running: Running, numbers: range, result: CaseResult) -> None:
    with running.connected() as api:
        seconds = fill(api, numbers)
    result.title = f"Adding {len(numbers):,} routes to {numbers.start:,}, one after another"
    result.samples[running.name] = [{"rate": len(numbers) / seconds}]
    _say(f"{running.name}: {len(numbers):,} routes added in {seconds:.1f} s")


def _round(running: Running, count: int, number: int) -> dict[str, dict[str, float]]:
    """Measure the operations once; the routes are afterwards those that they were."""
    chosen = random.Random(number)
    present = [route(chosen.randrange(count)) for _ in range(_CALLS)]
    new = [route(count + index) for index in range(_CALLS)]
    with running.connected() as api:
        samples = {
            "add": _timed(new, lambda one: api.expect(201, "POST", one.path, one.data)),
            "tell": _timed(present, lambda one: _told(api, one)),
            "remove": _timed(new, lambda one: api.expect(204, "DELETE", one.path)),
            "list": _timed([count] * _listings(count), lambda size: _listed(api, size)),
        }
    made = {
        operation: {"p50": percentile(sorted(taken), 50), "p99": percentile(sorted(taken), 99)}
        for operation, taken in samples.items()
    }
    said = "  ".join(f"{name} {one['p50']:.3f}/{one['p99']:.3f}" for name, one in made.items())
    _say(f"{count:>7,} {running.name:30} {said}  (p50/p99 ms)")
    return made


def _listings(count: int) -> int:
    return min(max(_LISTED_ROUTES // count, _LISTINGS.start), _LISTINGS.stop)


def _timed(things: Sequence[T], call: Callable[[T], Answer]) -> list[float]:
    return [call(thing).seconds * 1e3 for thing in things]


def _told(api: Api, one: Route) -> Answer:
    answer = api.expect(200, "GET", one.path)
    if not one.data.items() <= json.loads(answer.body).items():
        raise Unexpected(f"GET {one.path}: {answer.body[:200]!r}")
    return answer


def _listed(api: Api, count: int) -> Answer:
    answer = api.expect(200, "GET", "")
    if len(json.loads(answer.body)) != count:
        raise Unexpected(f"GET all: {answer.body[:200]!r}…, not {count} routes")
    return answer


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
