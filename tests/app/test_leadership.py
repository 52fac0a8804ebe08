"""One of the gateways that share a database leads, by the database's clock."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from gateway.activation.leadership import Leadership
from gateway.notebooks.database import Database, DatabaseError
from gateway.notebooks.schema import leases
from gateway.notebooks.shared import moment

SECONDS = 30.0


class Ticks:
    """A monotonic clock that tests move."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def ticks() -> Ticks:
    return Ticks()


@pytest.fixture
def first(database: Database, ticks: Ticks) -> Leadership:
    return Leadership(database, "a" * 32, seconds=SECONDS, clock=ticks)


@pytest.fixture
def other(second: Database) -> Leadership:
    return Leadership(second, "b" * 32, seconds=SECONDS, clock=Ticks())


async def lease_runs_out(database: Database) -> None:
    """Have the lease's end lie in the past of the database."""
    async with database.writing() as connection:
        await connection.execute(sa.update(leases).values(expires=moment(connection, -0.001)))


async def test_one_of_two_gateways_leads(first: Leadership, other: Leadership) -> None:
    assert not first.leads()
    assert await first.renew()
    assert not await other.renew()
    assert (first.leads(), other.leads()) == (True, False)
    assert await first.renew(), "it renews its own"


async def test_lease_that_is_given_up_is_free_at_once(first: Leadership, other: Leadership) -> None:
    await first.renew()
    await first.close()
    assert not first.leads()
    assert await other.renew()
    await first.close()
    assert not await first.renew(), "who has no lease gives up nobody's"


async def test_who_cannot_renew_leads_no_more_before_another_can(
    first: Leadership, other: Leadership, ticks: Ticks, database: Database
) -> None:
    await first.renew()
    ticks.now += SECONDS * 0.79
    assert first.leads()
    ticks.now += SECONDS * 0.02
    assert not first.leads()
    assert not await other.renew(), "in the database it has not run out yet"
    await lease_runs_out(database)
    assert await other.renew()
    assert not await first.renew(), "it was taken over"
    assert not first.leads()


async def test_time_that_the_renewal_took_is_time_of_the_lease(
    first: Leadership, ticks: Ticks, monkeypatch: pytest.MonkeyPatch, database: Database
) -> None:
    writing = database.writing

    def slow() -> object:
        ticks.now += SECONDS
        return writing()

    monkeypatch.setattr(database, "writing", slow)
    assert not await first.renew(), "counted from before it asked"


async def test_lost_lease_is_noticed_at_the_next_renewal(
    first: Leadership, other: Leadership, database: Database
) -> None:
    await first.renew()
    await lease_runs_out(database)  # the database's clock was set forward
    assert await other.renew()
    assert not await first.renew()


async def test_database_that_is_away_ends_no_leadership_before_its_time(
    first: Leadership, ticks: Ticks, database: Database
) -> None:
    await first.renew()
    await database.close()
    with pytest.raises(DatabaseError):
        await first.renew()
    assert first.leads()
    ticks.now += SECONDS
    assert not first.leads()
    await database.open()
    assert await first.renew()


async def test_leases_of_other_names_are_others(database: Database, second: Database) -> None:
    one = Leadership(database, "a" * 32, "one")
    two = Leadership(second, "b" * 32, "two")
    assert await one.renew()
    assert await two.renew()
