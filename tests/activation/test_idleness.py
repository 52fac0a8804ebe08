"""What is to happen to a server, from how it is used and from its lifetimes."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.activation.idleness import (
    LONG_AGO,
    NEVER,
    Keep,
    Moments,
    Pause,
    Reason,
    Remove,
    Stop,
    Terms,
    Use,
    Warn,
    in_force,
    judge,
    judge_paused,
    judge_stopped,
    terms_of,
)
from gateway.notebooks.model import Lifetimes

TERMS = Terms(
    idle_timeout=100.0,
    max_age=NEVER,
    warning=20.0,
    busy_cap=1000.0,
    pause_after=NEVER,
    remove_after=0.0,
)
STARTED = Use(person=0.0, work=LONG_AGO, started=0.0)
WARNED = replace(STARTED, warned=80.0)
STOP = Stop(Reason.IDLE, keep=False)


def test_unused_server_is_kept_then_warned_of_then_stopped() -> None:
    assert judge(STARTED, TERMS, 79.0) == Keep(until=80.0)
    assert judge(STARTED, TERMS, 80.0) == Warn(at=100.0, reason=Reason.IDLE)
    assert judge(WARNED, TERMS, 99.0) == Warn(at=100.0, reason=Reason.IDLE)
    assert judge(WARNED, TERMS, 100.0) == STOP


def test_whoever_notices_late_warns_for_the_whole_time() -> None:
    assert judge(STARTED, TERMS, 500.0) == Warn(at=520.0, reason=Reason.IDLE)
    assert judge(replace(STARTED, warned=500.0), TERMS, 519.0) == Warn(520.0, Reason.IDLE)
    assert judge(replace(STARTED, warned=500.0), TERMS, 520.0) == STOP


def test_a_person_calls_the_stop_off() -> None:
    assert judge(replace(WARNED, person=99.0), TERMS, 99.5) == Keep(until=179.0)


def test_a_busy_kernel_keeps_it_up_to_the_cap_after_the_last_person() -> None:
    def working(now: float) -> Use:
        return replace(STARTED, work=now)

    assert isinstance(judge(working(500.0), TERMS, 500.0), Keep)
    assert isinstance(judge(working(979.0), TERMS, 979.0), Keep)
    assert judge(working(980.0), TERMS, 980.0) == Warn(at=1000.0, reason=Reason.IDLE)
    assert judge(replace(working(1000.0), warned=980.0), TERMS, 1000.0) == STOP


def test_without_a_cap_work_keeps_it_for_ever() -> None:
    endless = replace(TERMS, busy_cap=NEVER)
    assert isinstance(judge(replace(STARTED, work=1e9), endless, 1e9), Keep)


def test_work_that_has_ended_is_the_beginning_of_idleness() -> None:
    assert judge(replace(STARTED, work=400.0), TERMS, 450.0) == Keep(until=480.0)


def test_a_cap_below_the_idle_timeout_shortens_nothing() -> None:
    assert judge(STARTED, replace(TERMS, busy_cap=1.0), 50.0) == Keep(until=80.0)


def test_a_request_in_flight_keeps_it_up_to_the_cap() -> None:
    download = replace(WARNED, requests=1)
    assert isinstance(judge(download, TERMS, 200.0), Keep)
    assert judge(download, TERMS, 1000.0) == STOP


def test_the_greatest_age_stops_whatever_it_does_after_a_warning() -> None:
    terms = replace(TERMS, max_age=300.0)
    used = Use(person=279.0, work=279.0, started=0.0, requests=1)
    assert judge(used, terms, 279.0) == Keep(until=280.0)
    assert judge(used, terms, 280.0) == Warn(at=300.0, reason=Reason.AGE)
    used = replace(used, person=300.0, warned=280.0)
    assert judge(used, terms, 300.0) == Stop(Reason.AGE, keep=False)


def test_it_is_paused_first_where_that_comes_first() -> None:
    terms = replace(TERMS, pause_after=30.0, remove_after=1000.0)
    assert judge(STARTED, terms, 29.0) == Keep(until=30.0)
    assert judge(STARTED, terms, 30.0) == Pause()
    assert isinstance(judge(replace(STARTED, requests=1), terms, 30.0), Keep)
    assert judge_paused(STARTED, terms, 99.0) == Keep(until=100.0)
    assert judge_paused(STARTED, terms, 100.0) == Stop(Reason.IDLE, keep=True)


def test_a_busy_one_is_not_paused() -> None:
    terms = replace(TERMS, pause_after=30.0)
    assert judge(replace(STARTED, work=60.0), terms, 60.0) == Keep(until=90.0)


def test_what_cannot_be_paused_is_stopped_in_its_time() -> None:
    assert judge(WARNED, replace(TERMS, pause_after=30.0), 100.0) == STOP


def test_a_kept_one_is_removed_in_its_time() -> None:
    terms = replace(TERMS, remove_after=1000.0)
    assert judge_stopped(STARTED, terms, 1099.0) == Keep(until=1100.0)
    assert judge_stopped(STARTED, terms, 1100.0) == Remove()


def test_without_an_idle_timeout_a_kept_one_is_removed_and_one_that_ended_by_itself_stays() -> None:
    never = replace(TERMS, idle_timeout=NEVER)
    assert judge_stopped(STARTED, replace(never, remove_after=10.0), 10.0) == Remove()
    assert judge_stopped(STARTED, never, 1e9) == Keep(until=NEVER)


def test_nothing_happens_where_every_time_is_never() -> None:
    terms = terms_of(Lifetimes())
    assert terms.endless
    assert judge(STARTED, terms, 1e12) == Keep(until=NEVER)


def test_projects_say_what_differs_from_the_installations() -> None:
    default = Lifetimes(idle_timeout=3600.0, warning=300.0, busy_cap=86400.0)
    own = in_force(Lifetimes(idle_timeout=0.0, max_age=7200.0), default)
    assert (own.idle_timeout, own.max_age, own.warning) == (0.0, 7200.0, 300.0)
    terms = terms_of(own)
    assert (terms.idle_timeout, terms.max_age, terms.busy_cap) == (NEVER, 7200.0, 86400.0)


@pytest.mark.parametrize("idle", [10.0, 599.0])
def test_a_warning_is_at_most_half_of_what_it_warns_of(idle: float) -> None:
    assert terms_of(Lifetimes(idle_timeout=idle, warning=300.0)).warning == idle / 2


@given(
    person=st.floats(-1e6, 1e6),
    work=st.floats(-1e6, 1e6),
    more=st.floats(0, 1e6),
    now=st.floats(0, 2e6),
)
def test_no_further_sign_of_work_brings_an_end_nearer(
    person: float, work: float, more: float, now: float
) -> None:
    before = judge(Use(person, work, person), TERMS, now)
    after = judge(Use(person, work + more, person), TERMS, now)
    if isinstance(before, Keep):
        assert isinstance(after, Keep)
        assert after.until >= before.until


WALL = datetime(2026, 3, 29, 1, 30, tzinfo=UTC)


def test_a_moment_in_the_future_is_now() -> None:
    assert Moments().of("kernels", WALL + timedelta(days=1), 50.0, WALL) == 50.0


def test_what_was_never_is_long_ago() -> None:
    assert Moments().of("kernels", None, 50.0, WALL) == LONG_AGO


@pytest.mark.parametrize("jump", [timedelta(days=1), timedelta(days=-1)])
def test_a_moment_stays_the_same_though_the_wall_clock_jumps(jump: timedelta) -> None:
    moments = Moments()
    assert moments.of("kernels", WALL - timedelta(seconds=10), 50.0, WALL) == 40.0
    later = WALL + timedelta(seconds=60) + jump
    assert moments.of("kernels", WALL - timedelta(seconds=10), 110.0, later) == 40.0
    assert moments.of("kernels", later - timedelta(seconds=5), 110.0, later) == 105.0
