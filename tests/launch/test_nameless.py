"""People without a name: how many are in a course, as sessions and notebooks come and go."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from gateway.launch.deeplinks import passer_by
from gateway.launch.nameless import Nameless
from gateway.launch.session_table import SessionTable
from gateway.launch.sessions import Sessions
from gateway.notebooks.database import Database
from gateway.notebooks.model import Notebook
from tests.launch.clock import Clock

HOST = "nb.example.org"
HOUR = 3600.0


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sessions(database: Database, clock: Clock) -> Sessions:
    return made(database, clock)


def made(database: Database, clock: Clock) -> Sessions:
    return Sessions(database, SessionTable(clock), 24 * HOUR, clock, unused=HOUR)


def notebook(owner: str, slug: str = "demo-x--1") -> Notebook:
    created = datetime(2026, 3, 4, tzinfo=UTC)
    return Notebook(slug=slug, name="demo", project="demo", owner=owner, created=created)


async def begun(sessions: Sessions, subject: str) -> tuple[str, str]:
    """Begin a session; return its token and its id."""
    token = await sessions.create(subject, HOST)
    found = sessions.table.lookup(token.encode(), HOST)
    assert found is not None
    return token, found.session


def is_in(sessions: Sessions, token: str) -> bool:
    return sessions.table.lookup(token.encode(), HOST) is not None


def test_each_counts_once_until_session_and_notebook_are_gone() -> None:
    nameless, one = Nameless(), passer_by("demo")
    nameless.begin(one, "s1")
    nameless.begin(one, "s2")
    nameless.notebook_changed("demo-x--1", notebook(one))
    nameless.notebook_changed("demo-x--1", replace(notebook(one), generation=2))
    nameless.begin(passer_by("demo"), "s3")
    nameless.begin(passer_by("other"), "s4")
    assert (nameless.count("demo"), nameless.count("other"), nameless.count("dem")) == (2, 1, 0)
    for session in ("s1", "s2", "s2", "s4", "s9"):
        nameless.end(session)
    assert (nameless.count("demo"), nameless.count("other")) == (2, 0)
    nameless.notebook_changed("demo-x--1", None)
    nameless.notebook_changed("demo-x--1", None)
    assert nameless.count("demo") == 1
    nameless.end("s3")
    assert nameless.count("demo") == 0
    assert not any(vars(nameless).values()), "nothing is kept of who has gone"


@pytest.mark.parametrize("subject", ["mary", "plain/demo:mary", "plain/demo:student", "demo:x~1"])
def test_people_with_a_name_are_not_counted(subject: str) -> None:
    nameless = Nameless()
    nameless.begin(subject, "s1")
    nameless.notebook_changed("demo-x-mary", notebook(subject, "demo-x-mary"))
    assert not any(vars(nameless).values())


def test_notebook_that_changes_hands_is_its_new_owners() -> None:
    nameless, one, other = Nameless(), passer_by("demo"), passer_by("demo")
    for owner in (one, other, "mary"):
        nameless.notebook_changed("demo-x--1", notebook(owner))
        assert nameless.count("demo") == (owner != "mary")


async def test_count_is_right_after_a_restart_and_of_another_gateways_sessions(
    sessions: Sessions, database: Database, clock: Clock
) -> None:
    first = (await begun(sessions, passer_by("demo")))[1]
    second = (await begun(sessions, passer_by("demo")))[1]
    other = made(database, clock)
    await other.load()
    assert other.nameless.count("demo") == 2
    await other.revoke(first)
    third = (await begun(other, passer_by("demo")))[1]
    assert other.nameless.count("demo") == 2
    await sessions.refresh([first, third])
    assert sessions.nameless.count("demo") == 2
    await other.revoke(second)
    await sessions.load()
    assert sessions.nameless.count("demo") == 1


async def test_session_of_who_has_no_name_ends_hours_after_it_was_of_use(
    sessions: Sessions, clock: Clock, database: Database
) -> None:
    idle, busy = passer_by("demo"), passer_by("demo")
    (idle_token, _), (busy_token, _) = await begun(sessions, idle), await begun(sessions, busy)
    mary = (await begun(sessions, "mary"))[0]
    clock.advance(HOUR - 60)
    await sessions.put_off({busy: clock() - timedelta(seconds=60), "plain/demo:student~0": clock()})
    clock.advance(60)
    await sessions.expire_due()
    assert [is_in(sessions, one) for one in (idle_token, busy_token, mary)] == [False, True, True]
    assert sessions.nameless.count("demo") == 1
    after = made(database, clock)
    await after.load()
    assert is_in(after, busy_token), "that is stored"
    clock.advance(HOUR - 121)
    assert is_in(sessions, busy_token)
    clock.advance(1)
    await sessions.expire_due()
    assert not is_in(sessions, busy_token)
    assert sessions.nameless.count("demo") == 0
    assert is_in(sessions, mary)


async def test_what_has_ended_is_not_put_off_and_no_session_lives_for_ever(
    sessions: Sessions, clock: Clock
) -> None:
    one = passer_by("demo")
    token, _ = await begun(sessions, one)
    for _ in range(23):
        clock.advance(HOUR - 300)
        await sessions.put_off({one: clock()})
        assert is_in(sessions, token)
    clock.advance(HOUR + 23 * 300 - 1)
    await sessions.put_off({one: clock()})
    assert not is_in(sessions, token), "a day has passed"


async def test_end_is_not_put_off_for_a_little_more(
    sessions: Sessions, clock: Clock, database: Database
) -> None:
    """A write, and its news for all workers and gateways, is not worth it."""
    one = passer_by("demo")
    token, _ = await begun(sessions, one)
    clock.advance(60)
    await sessions.put_off({one: clock()})
    clock.advance(HOUR - 60)
    assert not is_in(sessions, token)
