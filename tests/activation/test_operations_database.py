"""Operations need no database: one that fails, is slow or refuses a text holds nothing up."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.activation.operations import Kind, Operations, Progress
from gateway.notebooks.database import Database, DatabaseError
from gateway.notebooks.model import State
from tests.activation.conftest import World
from tests.activation.rows import later_gateway
from tests.support.waiting import PATIENCE, until


async def test_end_that_is_written_while_operations_are_read_is_listed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    operations, go = world.lifecycle.operations, asyncio.Event()
    reading, writing = world.database.reading, world.database.writing

    @asynccontextmanager
    async def held() -> AsyncIterator[AsyncConnection]:
        await go.wait()
        async with writing() as connection:
            yield connection

    @asynccontextmanager
    async def overtaken() -> AsyncIterator[AsyncConnection]:
        async with reading() as connection:
            yield connection
        go.set()
        await operations.flush()

    async with operations.running(Kind.CREATE, "a", "tina"):
        monkeypatch.setattr(world.database, "writing", held)
    monkeypatch.setattr(world.database, "reading", overtaken)
    (done,) = await operations.list(state=Progress.DONE)
    assert (done.kind, go.is_set()) == (Kind.CREATE, True)


class Broken:
    """A database whose transactions fail while it is told to."""

    def __init__(self, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
        self.broken = False
        self._writing = database.writing
        monkeypatch.setattr(database, "writing", self.writing)

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        if self.broken:
            raise DatabaseError("the disk is full")
        async with self._writing() as connection:
            yield connection


async def test_database_that_cannot_be_written_holds_no_start_and_no_stop_up(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    slug = await world.notebook()
    database = Broken(world.database, monkeypatch)
    database.broken = True
    first = await world.activator.ensure(slug)
    assert world.catalogue.notebook(slug).state is State.RUNNING
    assert await world.lifecycle.stop_container(slug)
    assert world.catalogue.notebook(slug).state is State.COLD
    second = await world.activator.ensure(slug)
    assert first.secret != second.secret, "no two containers have one generation"
    told = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert sum("operations cannot be written down" in line for line in told) == 1
    assert sum("records cannot be written" in line for line in told) == 1
    database.broken = False
    await world.lifecycle.settle_records()
    rows = await later_gateway(world).list(slug)
    assert [one.kind for one in rows] == [Kind.START, Kind.STOP, Kind.START]
    assert {one.state for one in rows} == {Progress.DONE}
    port = world.catalogue.notebook(slug).port
    await world.catalogue.load()
    stored = world.catalogue.notebook(slug)
    assert (stored.state, stored.port) == (State.RUNNING, port)
    await world.lifecycle.stop_container(slug)
    third = await world.activator.ensure(slug)
    assert third.generation > second.generation


async def test_waiting_for_rows_in_the_turn_in_which_they_were_stored_ends(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = asyncio.get_running_loop().create_future()

    @asynccontextmanager
    async def writing() -> AsyncIterator[AsyncConnection]:
        async with real() as connection:
            yield connection
        await stored

    real = world.database.writing
    monkeypatch.setattr(world.database, "writing", writing)
    operations = Operations(world.database, "other")
    operations.plan(Kind.STOP, "n", "tina")

    async def wait() -> bool:
        await stored
        return await operations.flush()

    await until(lambda: bool(getattr(stored, "_callbacks", None)))
    waiting = asyncio.create_task(wait())  # is woken after the writer, before its end is noted
    await asyncio.sleep(0)
    # Where that never ends nothing of the event loop's could end it.
    before = signal.signal(signal.SIGALRM, _too_long)
    signal.setitimer(signal.ITIMER_REAL, PATIENCE)
    try:
        stored.set_result(None)
        assert await waiting
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)


async def test_rows_that_keep_coming_hold_nobody_up_who_waits_for_earlier_ones(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = True

    @asynccontextmanager
    async def writing() -> AsyncIterator[AsyncConnection]:
        if more:
            operations.plan(Kind.START, "n", "tina")
        async with real() as connection:
            yield connection

    real = world.database.writing
    monkeypatch.setattr(world.database, "writing", writing)
    operations = Operations(world.database, "other")
    first = operations.plan(Kind.STOP, "n", "tina")
    try:
        async with asyncio.timeout(PATIENCE):
            assert await operations.flush()
        assert (await later_gateway(world).get(first.id)).state is Progress.QUEUED
    finally:
        more = False
        await operations.flush()


def _too_long(number: int, frame: object) -> None:
    raise TimeoutError("the event loop hangs")


@pytest.mark.parametrize("reason", ["half \ud800", "nothing \0"])
async def test_text_that_a_database_refuses_holds_no_row_back(world: World, reason: str) -> None:
    operations = world.lifecycle.operations
    slug = await world.notebook()
    await world.activator.ensure(slug)
    await world.lifecycle.stop_container(slug, reason=reason)
    assert await operations.flush()
    stop, _ = await later_gateway(world).list(slug)
    assert stop.reason.encode()
    assert "\0" not in stop.reason
