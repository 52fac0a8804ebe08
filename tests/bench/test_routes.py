"""bench.routes: its parts, and all of it on a small scale against nbgate-proxy as it is here."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bench.datapath.results import CaseResult
from bench.routes import report
from bench.routes.api import Answer, Incoming
from bench.routes.churn import PER_CONNECTION, Mixture, kinds
from bench.routes.following import FOLLOWING, measure_following
from bench.routes.goals import all_goals
from bench.routes.leaks import LEAKS, measure_leaks
from bench.routes.operations import OPERATIONS, case, measure_operations, route
from bench.routes.proxies import CHP, KEEPING, OURS, Contender
from bench.routes.starting import STARTING, measure_starting
from routes.keys import parse_target
from tests.chp.test_options import PROGRAM

_LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n{  }"
_CHUNKS = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"2\r\n{ \r\nc\r\n           }\r\n0\r\n\r\n"
)
_CHUNKED_NOTHING = b"HTTP/1.1 201 Created\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"
_NOTHING = b"HTTP/1.1 204 No Content\r\nDate: now\r\n\r\n"


@pytest.fixture
def cores() -> tuple[int, int]:
    """Cores that this process may use; they may be one."""
    usable = os.sched_getaffinity(0)
    return min(usable), max(usable)


@pytest.fixture
def ours() -> Contender:
    return Contender(OURS, PROGRAM)


@pytest.mark.parametrize(
    ("wire", "status", "body"),
    [
        (_LENGTH, 200, b"{  }"),
        (_CHUNKS, 200, b"{ " + b" " * 11 + b"}"),
        (_CHUNKED_NOTHING, 201, b""),
        (_NOTHING, 204, b""),
    ],
)
@pytest.mark.parametrize("step", [1, 7, 1000])
def test_answers_are_whole_at_their_last_byte(
    wire: bytes, status: int, body: bytes, step: int
) -> None:
    incoming = Incoming()
    pieces = [wire[place : place + step] for place in range(0, len(wire), step)]
    assert [incoming.feed(piece) for piece in pieces] == [False] * (len(pieces) - 1) + [True]
    assert incoming.answer(1.0) == Answer(status, body, 1.0)


def test_routes_differ_and_can_be_targets() -> None:
    made = [route(number) for number in range(0, 101_000, 100)]
    targets = {str(one.data["target"]) for one in made}
    assert len(targets) == len({one.path for one in made}) == len(made)
    assert all(parse_target(target).port == 8888 for target in targets)


def test_mixture_has_the_requests_that_were_asked_for() -> None:
    each = list(kinds(1000))
    sent = sum(PER_CONNECTION if kind == "live" else 1 for kind in each)
    assert 1000 <= sent < 1000 + PER_CONNECTION
    assert set(each) == {"live", "dead", "unknown", "leaves"}
    assert Mixture(1000, 50).part(10) == Mixture(100, 5)


def test_report_has_goals_and_a_row_for_each_operation_and_count() -> None:
    results = {}
    for operation in OPERATIONS:
        for count in (10, 10_000):
            name = case(operation, count)
            results[name] = CaseResult(name, "", ())
            results[name].add(OURS, {"p50": 0.5, "p99": 3.0})
            results[name].add(CHP, {"p50": 1.0, "p99": 2.0})
    table = report.operations_table((10, 10_000), results).splitlines()
    assert [cell.strip() for cell in table[2].split("|")[1:-1]] == [
        *("POST one that is new", "10", "0.500", "0.50", "3.000", "1.50", "1.000", "2.000")
    ]
    assert len(table) == 2 + 2 * len(OPERATIONS)
    text = report.document({"processor": "one"}, all_goals(), (10,), results, ["a remark"])
    for part in ("- processor: one", "- a remark", "adding a route to 10,000, p50"):
        assert part in text


def test_operations_are_measured_and_leave_the_routes_as_they_were(
    ours: Contender, cores: tuple[int, int], tmp_path: Path
) -> None:
    # A listing that has not as many routes as there should be is an error.
    results = measure_operations([ours], (3, 8), 2, tmp_path, cores[0])
    for operation in OPERATIONS:
        for count in (3, 8):
            assert len(results[case(operation, count)].values(OURS, "p50")) == 2


def test_start_and_memory_are_measured(
    ours: Contender, cores: tuple[int, int], tmp_path: Path
) -> None:
    result = measure_starting([ours], 5, 1, tmp_path, cores[0])
    (numbers,) = result.samples[OURS]
    assert result.name == STARTING
    assert numbers["seconds"] > 0
    assert 1 < numbers["idle_pss"] <= numbers["idle"] <= numbers["filled"]


def test_how_long_the_files_lag_behind_is_measured(cores: tuple[int, int], tmp_path: Path) -> None:
    keeping = Contender(KEEPING, PROGRAM, keeps=True)
    result = measure_following(keeping, [3, 20], tmp_path, cores[0])
    assert result.name == FOLLOWING
    for numbers in result.samples[KEEPING]:
        assert numbers["3"] > 0
        assert numbers["20"] > 0
    assert "20 routes: s" in report.parts([3, 20], {FOLLOWING: result})[0]


def test_of_what_comes_and_goes_no_descriptor_and_no_task_stays(
    ours: Contender, cores: tuple[int, int], tmp_path: Path
) -> None:
    result = measure_leaks([ours], Mixture(2000, 200), tmp_path, *cores, quiet=5.0)
    (numbers,) = result.samples[OURS]
    assert result.name == LEAKS
    assert numbers["opened"] <= 0
    assert numbers["begun"] <= 0
    assert numbers["grown"] < 4
