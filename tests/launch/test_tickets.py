"""Tickets: good once, for one purpose, at one host, for a while."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
import sqlalchemy as sa

from gateway.launch.tickets import Ticket, Tickets
from gateway.notebooks import schema
from gateway.notebooks.database import Database
from tests.launch.clock import Clock

_HOST = "nb.example.org:8000"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tickets(database: Database, clock: Clock) -> Tickets:
    return Tickets(database, clock)


async def _issue(tickets: Tickets) -> str:
    return await tickets.issue("login", "mary", _HOST, "/nb/demo-x-mary/lab", 60.0)


async def test_ticket_says_what_it_was_issued_for(tickets: Tickets, clock: Clock) -> None:
    ticket = await tickets.issue(
        "enter", "mary", "NB.example.org", "/lab?x=é", 60.0, session="s1", state="st"
    )
    assert await tickets.redeem(ticket, "enter", "nb.Example.org") == Ticket(
        purpose="enter",
        subject="mary",
        session="s1",
        host="nb.example.org",
        next_path="/lab?x=é",
        state="st",
        expires=clock.now + timedelta(seconds=60),
    )


async def test_ticket_is_good_once(tickets: Tickets) -> None:
    ticket = await _issue(tickets)
    assert await tickets.redeem(ticket, "login", _HOST) is not None
    assert await tickets.redeem(ticket, "login", _HOST) is None


async def test_of_many_that_redeem_a_ticket_at_once_one_gets_it(
    tickets: Tickets, database_url: str, clock: Clock
) -> None:
    second = Database(database_url)
    await second.open()
    both = (tickets, Tickets(second, clock))
    ticket = await _issue(tickets)
    found = await asyncio.gather(
        *(both[number % 2].redeem(ticket, "login", _HOST) for number in range(50))
    )
    assert sum(one is not None for one in found) == 1
    await second.close()


async def test_ticket_survives_a_restart(
    tickets: Tickets, database: Database, clock: Clock
) -> None:
    ticket = await _issue(tickets)
    assert await Tickets(database, clock).redeem(ticket, "login", _HOST) is not None


async def test_expired_ticket_is_not_good(tickets: Tickets, clock: Clock) -> None:
    ticket = await _issue(tickets)
    clock.advance(60)
    assert await tickets.redeem(ticket, "login", _HOST) is None


async def test_ticket_is_good_until_its_last_second(tickets: Tickets, clock: Clock) -> None:
    ticket = await _issue(tickets)
    clock.advance(59.9)
    assert await tickets.redeem(ticket, "login", _HOST) is not None


@pytest.mark.parametrize(("purpose", "host"), [("enter", _HOST), ("login", "nb.example.org")])
async def test_ticket_for_something_else_is_not_good_and_stays(
    tickets: Tickets, purpose: str, host: str
) -> None:
    ticket = await _issue(tickets)
    assert await tickets.redeem(ticket, purpose, host) is None
    assert await tickets.redeem(ticket, "login", _HOST) is not None


@pytest.mark.parametrize("ticket", ["", "x", "\ud800", "a\0b", "é" * 10_000])
async def test_nonsense_is_not_good(tickets: Tickets, ticket: str) -> None:
    assert await tickets.redeem(ticket, "login", _HOST) is None


async def test_expired_tickets_are_removed(
    tickets: Tickets, clock: Clock, database: Database
) -> None:
    await _issue(tickets)
    clock.advance(30)
    kept = await _issue(tickets)
    clock.advance(30)
    assert await tickets.expire() == 1
    async with database.reading() as connection:
        rows = (await connection.execute(sa.select(schema.tickets))).all()
    assert len(rows) == 1
    assert kept not in repr(rows)
    assert await tickets.redeem(kept, "login", _HOST) is not None
