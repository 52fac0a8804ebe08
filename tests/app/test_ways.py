"""What is done about links while the gateway runs."""

from __future__ import annotations

import asyncio
import errno
from datetime import UTC, datetime, timedelta

import pytest

from gateway.app.ways import forget_passers_by, keep_passers_by
from gateway.launch.deeplinks import passer_by, plain_subject
from gateway.launch.session_table import Principal, SessionTable
from gateway.launch.sessions import Sessions
from gateway.notebooks.database import Database
from tests.activation.conftest import World, world
from tests.launch.clock import Clock
from tests.support.waiting import PATIENCE

__all__ = ["world"]


@pytest.fixture
def clock() -> Clock:
    return Clock()


def later() -> datetime:
    return datetime.now(UTC) + timedelta(minutes=11)


async def test_notebooks_of_passers_by_end_with_their_sessions(world: World) -> None:
    table, people = SessionTable(), [passer_by("demo"), passer_by("demo")]
    others = [plain_subject("demo", "mary"), "bob"]
    slugs = [await world.notebook(person) for person in (*people, *others)]
    for slug in slugs:
        await world.spaces.ensure(slug, None)
    until = datetime.now(UTC) + timedelta(hours=1)
    table.put(b"d" * 32, "h", until, Principal(people[0], "s1", administrator=False))
    await forget_passers_by(table, world.catalogue, world.lifecycle)
    assert len(world.catalogue.notebooks()) == 4, "young ones stay"
    await forget_passers_by(table, world.catalogue, world.lifecycle, later)
    left = {book.slug for book in world.catalogue.notebooks()}
    assert left == {slugs[0], *slugs[2:]}
    assert [await world.spaces.exists(slug) for slug in slugs] == [True, False, True, True]


async def test_one_that_is_locked_keeps_no_other(world: World) -> None:
    slugs = [await world.notebook(passer_by("demo")) for _ in range(2)]
    await world.catalogue.lock(slugs[0], "admin", "a look")
    await forget_passers_by(SessionTable(), world.catalogue, world.lifecycle, later)
    assert [book.slug for book in world.catalogue.notebooks()] == [slugs[0]]


async def test_one_whose_start_takes_long_or_that_cannot_be_deleted_keeps_no_other(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    slugs = sorted([await world.notebook(passer_by("demo")) for _ in range(3)])
    remove = world.spaces.remove

    async def broken(slug: str) -> None:
        if slug == slugs[1]:
            raise OSError(errno.EIO, "Input/output error")
        await remove(slug)

    monkeypatch.setattr(world.spaces, "remove", broken)
    async with asyncio.timeout(PATIENCE), world.lifecycle.lock(slugs[0]):  # e.g. a pull
        await forget_passers_by(SessionTable(), world.catalogue, world.lifecycle, later)
    assert [book.slug for book in world.catalogue.notebooks()] == slugs[:2]


async def test_nameless_people_stay_while_they_work(
    world: World, database: Database, clock: Clock
) -> None:
    sessions = Sessions(database, SessionTable(clock), 7200.0, clock, unused=3600.0)
    people = [passer_by("demo") for _ in range(4)]
    slugs = [await world.notebook(person) for person in people]
    tokens = [await sessions.create(person, "h") for person in people]
    clock.advance(3000)
    await world.catalogue.update_notebook(slugs[0], last_active=clock())
    await world.catalogue.update_notebook(slugs[1], last_active=clock() - timedelta(seconds=2999))
    # Whose notebook may run without end has no last use in the record: its traffic is looked at.
    traffic = {slugs[2]: 1000.0}
    await keep_passers_by(
        sessions, world.catalogue, lambda slug: traffic.get(slug, 0.0), lambda: 1100.0, clock
    )
    clock.advance(600)
    there = [sessions.table.lookup(token.encode(), "h") is not None for token in tokens]
    assert there == [True, False, True, False]
    await sessions.expire_due()
    await forget_passers_by(sessions.table, world.catalogue, world.lifecycle, later)
    assert {book.slug for book in world.catalogue.notebooks()} == {slugs[0], slugs[2]}
