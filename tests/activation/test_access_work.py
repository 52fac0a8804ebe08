"""What the gate does for a request does not grow with the request's path."""

from __future__ import annotations

import gc
import sys
import tracemalloc
from types import FrameType

import pytest

from gateway.proxy.interface import Decision, Local, Relay, RouteEntry
from routes.keys import parse_target
from tests.activation.test_access import CLIENT, COOKIE, HOT, PLAIN, gate_with, head

LONG = 8000
ELSEWHERE = RouteEntry("wiki.example.org", parse_target("127.0.0.1:9003"))
DEEP = RouteEntry("/deep" + "/x" * 20, parse_target("127.0.0.1:9004"))
TABLES = pytest.mark.parametrize(
    "routes",
    [(PLAIN, HOT), (PLAIN, HOT, ELSEWHERE)],
    ids=["path keys", "path and host keys"],
)


def work(routes: tuple[RouteEntry, ...], target: str) -> tuple[Decision, int]:
    """Return what is decided, and how many calls, of Python's and C's functions, that took."""
    gate, request = gate_with(*routes), head(target, COOKIE)
    calls = 0

    def count(frame: FrameType, event: str, argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    gc.disable()  # the collector calls finalizers, of whatever earlier tests left
    sys.setprofile(count)
    try:
        decision = gate.decide(request, CLIENT)
    finally:
        sys.setprofile(None)
        gc.enable()
    return decision, calls


@TABLES
@pytest.mark.parametrize("begin", ["/nb/hers/", "/wiki/", "/nb/nobody/"])
@pytest.mark.parametrize("unit", ["/", "x/", "../", "%2f/", "%2F", "a%2fb/"])
def test_long_path_behind_a_key_costs_what_a_short_one_does(
    routes: tuple[RouteEntry, ...], begin: str, unit: str
) -> None:
    short = work(routes, begin + 4 * unit)
    assert short == work(routes, begin + unit * (LONG // len(unit)))
    assert isinstance(short[0], Local if "nobody" in begin else Relay)


@TABLES
@pytest.mark.parametrize("unit", ["/", "/x", "/nb", "/..", "/%2f", "/%6e%62"])
def test_long_path_that_no_key_begins_costs_what_a_short_one_does(
    routes: tuple[RouteEntry, ...], unit: str
) -> None:
    short = work(routes, 4 * unit)
    assert short[1] == work(routes, unit * (LONG // len(unit)))[1]
    assert isinstance(short[0], Local)


@TABLES
@pytest.mark.parametrize("begin", ["/nb/hers", "/wiki", "/nb/nobody", ""])
def test_long_path_is_not_taken_apart(routes: tuple[RouteEntry, ...], begin: str) -> None:
    gate, request = gate_with(*routes), head(begin + "/" * LONG, COOKIE)
    gate.decide(request, CLIENT)
    tracemalloc.start()
    try:
        gate.decide(request, CLIENT)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 * LONG, "an object for each of its segments would take 8 bytes at the least"


def test_each_segment_of_a_key_counts() -> None:
    routes = (PLAIN, HOT, DEEP)
    steps = [work(routes, "/deep" + "/x" * number)[1] for number in (5, 10, 15, 20)]
    assert steps == sorted(set(steps))
    assert steps[-1] == work(routes, "/deep" + "/x" * LONG)[1]
    assert steps[-1] == work(routes, "/deep" + "/x" * 20 + "/" * LONG)[1]
