"""Ids that plain links bring anew are so many in an hour, per course."""

from __future__ import annotations

import pytest

from gateway.launch.newcomers import Newcomers
from tests.launch.clock import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def newcomers(clock: Clock) -> Newcomers:
    return Newcomers(2, lambda: clock().timestamp())


def test_one_too_many_is_told_how_long_to_wait(newcomers: Newcomers, clock: Clock) -> None:
    assert newcomers.wait("c", "a") == 0.0
    clock.advance(600)
    assert newcomers.wait("c", "b") == 0.0
    assert newcomers.wait("c", "x") == 3000.0
    clock.advance(2999.5)
    assert newcomers.wait("c", "x") == 0.5
    clock.advance(0.5)
    assert newcomers.wait("c", "x") == 0.0
    assert newcomers.wait("c", "y") == 600.0


def test_same_id_counts_once(newcomers: Newcomers) -> None:
    for _ in range(3):
        assert newcomers.wait("c", "a") == 0.0
    assert newcomers.wait("c", "b") == 0.0
    assert newcomers.wait("c", "x") > 0.0
    assert newcomers.wait("c", "a") == 0.0


def test_courses_are_counted_apart(newcomers: Newcomers) -> None:
    for student in ("a", "b"):
        assert newcomers.wait("c", student) == 0.0
    assert newcomers.wait("c", "x") > 0.0
    assert newcomers.wait("d", "x") == 0.0
