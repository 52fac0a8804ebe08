"""Gateways that share a database know of each other, and of the traffic at each."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from gateway.activation.leadership import Leadership
from gateway.activation.presence import Presence
from gateway.activation.weighing import Traffic
from gateway.notebooks.catalogue import Catalogue
from gateway.notebooks.database import Database
from gateway.notebooks.schema import activities, gateways
from gateway.notebooks.shared import moment
from gateway.proxy.interface import Activity

NOW = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
TICKS = 5000.0
SLACK = timedelta(minutes=1)


class Gateway:
    """One of them: its notebooks' traffic, and what it says of it."""

    def __init__(self, database: Database, letter: str, now: datetime) -> None:
        self.traffic: dict[str, Activity] = {}
        self.presence = Presence(
            database, letter * 32, letter, lambda: self.traffic, lambda: TICKS, lambda: now
        )


@pytest.fixture
def one(database: Database) -> Gateway:
    return Gateway(database, "a", NOW)


@pytest.fixture
def two(second: Database) -> Gateway:
    """Its machine's clock is wrong."""
    return Gateway(second, "b", NOW + timedelta(days=3))


async def rows(database: Database) -> list[tuple[str, str]]:
    async with database.reading() as connection:
        found = await connection.execute(
            sa.select(activities.c.slug, activities.c.gateway).order_by(activities.c.slug)
        )
        return [(row.slug, row.gateway[0]) for row in found]


async def silent(database: Database, letter: str, seconds: float) -> None:
    """Have a gateway not been heard of for so long."""
    async with database.writing() as connection:
        long_ago = moment(connection, -seconds)
        await connection.execute(
            sa.update(gateways).where(gateways.c.id == letter * 32).values(seen=long_ago)
        )
        await connection.execute(
            sa.update(activities)
            .where(activities.c.gateway == letter * 32)
            .values(reported=long_ago)
        )


async def test_gateways_know_of_each_other(one: Gateway, two: Gateway) -> None:
    await one.presence.beat()
    assert one.presence.others == {}
    await two.presence.beat()
    await one.presence.beat()
    assert list(one.presence.others.values()) == ["b"]
    assert list(two.presence.others.values()) == ["a"]
    assert not one.presence.lost.is_set()
    await two.presence.close()
    await one.presence.beat()
    assert one.presence.others == {}
    assert one.presence.lost.is_set()


async def test_run_that_was_killed_is_dead_once_the_next_one_begins(
    one: Gateway, two: Gateway, second: Database
) -> None:
    two.traffic["x"] = Activity(TICKS - 1, websockets=1)
    await one.presence.begin()
    await two.presence.begin()
    assert await Leadership(second, "b" * 32).renew()
    again = Presence(second, "c" * 32, "b", dict, lambda: TICKS, lambda: NOW)
    await again.begin()
    await one.presence.beat()
    assert list(one.presence.others) == ["c" * 32]
    assert (await one.presence.traffic())["x"].websockets == 0
    assert await Leadership(second, "c" * 32).renew(), "what it led need not run out"


async def test_traffic_is_everybodys_together(one: Gateway, two: Gateway) -> None:
    one.traffic["x"] = Activity(TICKS - 600, requests=1, websockets=2)
    two.traffic["x"] = Activity(TICKS - 100, requests=3, websockets=4)
    two.traffic["y"] = Activity()
    for gateway in (one, two, one, two):
        await gateway.presence.beat()
    for gateway, now in ((one, NOW), (two, NOW + timedelta(days=3))):
        traffic = await gateway.presence.traffic()
        found = traffic["x"]
        assert (found.requests, found.websockets) == (4, 6)
        assert found.last is not None
        ago = now - found.last
        assert timedelta(seconds=100) <= ago < timedelta(seconds=100) + SLACK, (
            "each in its own time"
        )


async def test_only_what_changed_is_written_and_alone_nothing(
    one: Gateway, two: Gateway, database: Database
) -> None:
    one.traffic = {"x": Activity(TICKS - 1), "quiet": Activity()}
    await one.presence.beat()
    assert await rows(database) == [], "nobody else is there to read it"
    await two.presence.beat()
    await one.presence.beat()
    assert await rows(database) == [("x", "a")]
    async with database.writing() as connection:
        await connection.execute(sa.delete(activities))
    await one.presence.beat()
    assert await rows(database) == []
    one.traffic["x"].requests += 1
    await one.presence.beat()
    assert await rows(database) == [("x", "a")]


async def test_traffic_of_many_notebooks_is_one_statement(
    one: Gateway, two: Gateway, database: Database
) -> None:
    two.traffic = {f"book-{number}": Activity(TICKS - number) for number in range(1, 50)}
    two.traffic["open"] = Activity(websockets=1)  # a reader that was never seen to do anything
    sent: list[str] = []

    def note(_c: object, _k: object, statement: str, *_: object) -> None:
        if statement.startswith("INSERT INTO activities"):
            sent.append(statement)

    await one.presence.beat()
    sa.event.listen(sa.engine.Engine, "before_cursor_execute", note)
    try:
        await two.presence.beat()
    finally:
        sa.event.remove(sa.engine.Engine, "before_cursor_execute", note)

    assert len(sent) == 1
    assert len(await rows(database)) == 50
    traffic = await one.presence.traffic()
    assert traffic["open"] == Traffic(None, 0, 1)
    last = traffic["book-49"].last
    assert last is not None
    assert timedelta(seconds=49) <= NOW - last < timedelta(seconds=49) + SLACK


async def test_what_was_open_at_a_dead_gateway_is_open_no_more(
    one: Gateway, two: Gateway, database: Database
) -> None:
    two.traffic["x"] = Activity(TICKS - 100, requests=1, websockets=1)
    for gateway in (one, two):
        await gateway.presence.beat()
    assert (await one.presence.traffic())["x"].websockets == 1
    await silent(database, "b", 3600)
    found = (await one.presence.traffic())["x"]
    assert (found.requests, found.websockets) == (0, 0)
    assert found.last is not None, "somebody was there all the same"


async def notebook(database: Database) -> str:
    """Make a notebook; return its slug."""
    catalogue = Catalogue(database)
    await catalogue.add_project("demo")
    return (await catalogue.open_for("demo", "mary")).slug


async def test_rows_of_gateways_that_are_long_gone_are_swept(
    one: Gateway, two: Gateway, database: Database
) -> None:
    slug = await notebook(database)
    two.traffic[slug] = Activity(TICKS - 100, requests=1)
    for gateway in (one, two):
        await gateway.presence.beat()
    await silent(database, "b", 3600)
    await one.presence.sweep()
    assert await rows(database) == [(slug, "b")], "not yet"
    await silent(database, "b", 200_000)
    await one.presence.sweep()
    assert await rows(database) == []
    await one.presence.beat()
    assert await one.presence.traffic() == {}


async def test_rows_of_deleted_notebooks_are_swept_at_a_gateway_that_lives(
    one: Gateway, two: Gateway, database: Database
) -> None:
    slug = await notebook(database)
    two.traffic |= {"deleted": Activity(TICKS - 100), slug: Activity(TICKS - 100)}
    for gateway in (one, two):
        await gateway.presence.beat()
    assert await rows(database) == [("deleted", "b"), (slug, "b")]
    await two.presence.sweep()
    assert await rows(database) == [(slug, "b")]


async def test_one_gateways_own_traffic_is_what_it_is_now(one: Gateway) -> None:
    one.traffic["x"] = Activity(0.0, requests=1)
    assert await one.presence.traffic() == {"x": Traffic(None, 1, 0)}
    one.traffic["x"].requests = 0
    assert await one.presence.traffic() == {"x": Traffic(None, 0, 0)}
