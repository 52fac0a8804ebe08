"""Clocks jump, forwards and backwards: a gateway's own, and the database's."""

from __future__ import annotations

from datetime import timedelta

import pytest
import sqlalchemy as sa

from gateway.activation.leadership import Leadership
from gateway.activation.presence import Presence
from gateway.launch.session_table import SessionTable
from gateway.launch.sessions import Sessions
from gateway.launch.tickets import Tickets
from gateway.notebooks.database import Database
from gateway.notebooks.schema import gateways, leases
from gateway.notebooks.shared import moment
from gateway.proxy.interface import Activity
from tests.launch.clock import Clock

HOST = "gateway.example"
LIFETIME = 3600.0
DAY = 86400.0


@pytest.mark.parametrize("jump", [-10 * DAY, -1.0, LIFETIME - 1])
async def test_jump_within_its_lifetime_ends_no_session(database: Database, jump: float) -> None:
    clock = Clock()
    table = SessionTable(clock)
    sessions = Sessions(database, table, LIFETIME, clock)
    token = await sessions.create("alice", HOST)
    clock.advance(jump)
    assert table.lookup(token.encode(), HOST) is not None
    await sessions.expire()
    await sessions.load()
    assert table.lookup(token.encode(), HOST) is not None


async def test_clock_that_is_set_back_lengthens_no_session(database: Database) -> None:
    clock = Clock()
    table = SessionTable(clock)
    sessions = Sessions(database, table, LIFETIME, clock)
    token = await sessions.create("alice", HOST)
    clock.advance(-DAY)
    clock.advance(DAY + LIFETIME)
    assert table.lookup(token.encode(), HOST) is None


@pytest.mark.parametrize(("jump", "good"), [(-DAY, True), (59.0, True), (61.0, False)])
async def test_ticket_is_good_once_however_the_clock_jumps(
    database: Database, jump: float, good: bool
) -> None:
    clock = Clock()
    tickets = Tickets(database, clock)
    ticket = await tickets.issue("login", "alice", HOST, "/", 60.0)
    clock.advance(jump)
    assert (await tickets.redeem(ticket, "login", HOST) is not None) is good
    clock.advance(-jump)
    assert await tickets.redeem(ticket, "login", HOST) is None


@pytest.mark.parametrize("jump", [-DAY, DAY])
async def test_gateways_clock_is_nothing_to_the_others(database: Database, jump: float) -> None:
    clock = Clock()
    traffic = {"x": Activity(4900.0)}
    presence = Presence(database, "a" * 32, "a", lambda: traffic, lambda: 5000.0, clock)
    other = Presence(database, "b" * 32, "b", dict, lambda: 9.0, Clock())
    await other.begin()
    await presence.begin()
    clock.advance(jump)
    await presence.beat()
    last = (await other.traffic())["x"].last
    assert last is not None
    assert timedelta(seconds=100) <= Clock().now - last < timedelta(seconds=160)


@pytest.mark.parametrize("jump", [-DAY, DAY])
async def test_jump_of_the_databases_clock_leaves_the_lease_to_somebody(
    database: Database, jump: float
) -> None:
    holder = Leadership(database, "a" * 32, clock=lambda: 0.0)
    other = Leadership(database, "b" * 32, clock=lambda: 0.0)
    assert await holder.renew()
    async with database.writing() as connection:  # the same as if the clock had jumped
        moved = moment(connection, 30.0 - jump)
        await connection.execute(sa.update(leases).values(expires=moved))
    assert await other.renew(), "it is not held for a day by one that may be dead"
    assert not await holder.renew()
    assert not holder.leads()


async def test_gateway_seen_in_the_future_is_not_alive_for_ever(database: Database) -> None:
    one = Presence(database, "a" * 32, "a", dict)
    other = Presence(database, "b" * 32, "b", dict)
    for presence in (other, one):
        await presence.begin()
    assert list(one.others) == ["b" * 32]
    async with database.writing() as connection:
        await connection.execute(sa.update(gateways).values(seen=moment(connection, DAY)))
    await one.beat()
    assert one.others == {}
    await other.beat()
    await one.beat()
    assert list(one.others) == ["b" * 32]
