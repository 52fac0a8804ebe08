"""What is done to notebooks is written down, needs no database, and outlives its gateway."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.activation.operations import Kind, Operation, Operations, Progress
from gateway.errors import EngineError, NotebookLocked, NotFound, StartFailed
from gateway.notebooks.database import Database, DatabaseError
from gateway.notebooks.model import State
from gateway.spawners.base import Server
from tests.activation.conftest import World
from tests.support.waiting import until

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def later_gateway(world: World) -> Operations:
    return Operations(world.database, "later")


async def only(world: World, kind: Kind) -> Operation:
    (found,) = [one for one in await world.lifecycle.operations.list() if one.kind is kind]
    return found


async def test_start_and_stop_are_rows_with_who_and_why(world: World) -> None:
    slug = await world.notebook()
    await world.activator.ensure(slug)
    await world.lifecycle.stop_container(slug, by="tina", reason="the lecture is over")
    await world.lifecycle.operations.flush()
    stop, start = await later_gateway(world).list(slug)
    assert (start.kind, start.state, start.requested_by) == (Kind.START, Progress.DONE, "alice")
    assert (stop.kind, stop.state, stop.requested_by) == (Kind.STOP, Progress.DONE, "tina")
    assert stop.reason == "the lecture is over"
    assert stop.began is not None
    assert stop.ended is not None
    assert start.created <= stop.created <= stop.began <= stop.ended
    assert (stop.gateway, stop.error) == ("this", None)


async def test_start_is_written_down_before_the_engine_is_asked(world: World) -> None:
    slug = await world.notebook()
    world.spawner.gate.clear()
    start = world.activator.begin(slug)
    await until(lambda: bool(world.spawner.starts))
    (row,) = await later_gateway(world).list(slug)
    assert (row.state, row.ended) == (Progress.RUNNING, None)
    world.spawner.gate.set()
    await start
    assert (await only(world, Kind.START)).state is Progress.DONE


async def test_operation_that_fails_says_why_and_blocks_none_behind_it(world: World) -> None:
    slug = await world.notebook()
    await world.activator.ensure(slug)
    world.spawner.refuses = EngineError("the engine is busy")
    operations = world.lifecycle.operations
    failing, behind = world.lifecycle.begin_stop(slug), world.lifecycle.begin_stop(slug)
    with pytest.raises(EngineError, match="busy"):
        await operations.wait(failing)
    world.spawner.refuses = None
    await operations.wait(behind)
    failed, done = await operations.get(failing.id), await operations.get(behind.id)
    assert (failed.state, failed.error) == (Progress.FAILED, "the engine is busy")
    assert done.state is Progress.DONE
    assert (await world.activator.ensure(slug)).target is not None


async def test_failed_start_does_not_block_the_stop_and_the_start_behind_it(world: World) -> None:
    slug = await world.notebook()
    world.spawner.dies = True
    start = world.activator.begin(slug)
    stop = world.lifecycle.begin_stop(slug)
    with pytest.raises(StartFailed):
        await start
    await world.lifecycle.operations.wait(stop)
    failed = await only(world, Kind.START)
    assert failed.state is Progress.FAILED
    assert failed.error is not None
    assert "exit code 3" in failed.error
    world.spawner.dies = False
    world.activator.forgive(slug)
    assert (await world.activator.ensure(slug)).target is not None


async def test_stop_of_a_notebook_locked_meanwhile_fails_and_ends(world: World) -> None:
    slug = await world.notebook()
    await world.activator.ensure(slug)
    async with world.lifecycle.lock(slug):
        stop = world.lifecycle.begin_stop(slug)
        assert (await world.lifecycle.operations.get(stop.id)).state is Progress.QUEUED
        await world.catalogue.lock(slug, "tina", "exam data")
    with pytest.raises(NotebookLocked):
        await world.lifecycle.operations.wait(stop)
    ended = await world.lifecycle.operations.get(stop.id)
    assert ended.state is Progress.FAILED
    assert "exam data" in str(ended.error)


async def test_stop_that_is_not_to_be_done_any_more_is_no_operation(world: World) -> None:
    slug = await world.notebook()
    await world.activator.ensure(slug)

    async def still() -> bool:
        return False

    assert not await world.lifecycle.stop_container(slug, still=still)
    assert [one.kind for one in await world.lifecycle.operations.list(slug)] == [Kind.START]


async def test_operations_are_found_by_notebook_and_state(world: World) -> None:
    first, second = await world.notebook("alice"), await world.notebook("bob")
    await world.activator.ensure(first)
    world.spawner.dies = True
    with pytest.raises(StartFailed):
        await world.activator.ensure(second)
    operations = world.lifecycle.operations
    assert [one.slug for one in await operations.list(first)] == [first]
    assert [one.slug for one in await operations.list(state=Progress.FAILED)] == [second]
    assert len(await operations.list(limit=1)) == 1
    with pytest.raises(NotFound, match="operation 'nothing'"):
        await operations.get("nothing")


async def test_gateway_that_ends_in_a_stop_leaves_it_to_the_next(world: World) -> None:
    slug = await world.notebook()
    await world.activator.ensure(slug)
    async with world.lifecycle.lock(slug):
        world.lifecycle.begin_stop(slug, by="tina", reason="enough")
        await world.lifecycle.operations.close()
    later = later_gateway(world)
    (left,) = await later.take_over()
    assert (left.kind, left.requested_by, left.reason) == (Kind.STOP, "tina", "enough")
    assert (left.gateway, left.state) == ("later", Progress.INTERRUPTED)
    assert await Operations(world.database, "third").take_over(alive={"later"}) == []


async def test_stop_that_was_begun_before_is_carried_on(world: World) -> None:
    slug = await world.notebook()
    await world.activator.ensure(slug)
    left = await written_by_another(world, Kind.STOP, slug)
    (taken,) = await world.lifecycle.operations.take_over()
    world.lifecycle.carry_on(taken)
    await world.lifecycle.operations.wait(taken)
    assert await world.spawner.inspect(slug) is None
    assert world.catalogue.notebook(slug).state is State.COLD
    ended = await world.lifecycle.operations.get(left.id)
    assert (ended.state, ended.gateway) == (Progress.DONE, "this")


async def test_adoption_leaves_what_is_being_stopped_alone(world: World) -> None:
    slug = await world.notebook()
    await world.activator.ensure(slug)
    await world.lifecycle.disable_proxying(slug)
    await written_by_another(world, Kind.STOP, slug)
    (taken,) = await world.lifecycle.operations.take_over()
    world.lifecycle.carry_on(taken)
    assert await world.lifecycle.adopt() == 0
    await world.lifecycle.operations.wait(taken)
    assert not world.routes.get(f"/nb/{slug}").hot


async def test_stop_that_cannot_be_carried_on_leaves_the_notebook_hot(world: World) -> None:
    slug = await world.notebook()
    entry = await world.activator.ensure(slug)
    await world.lifecycle.disable_proxying(slug)
    await world.catalogue.lock(slug, "tina", "exam data")
    await written_by_another(world, Kind.STOP, slug)
    (taken,) = await world.lifecycle.operations.take_over()
    world.lifecycle.carry_on(taken)
    with pytest.raises(NotebookLocked):
        await world.lifecycle.operations.wait(taken)
    assert world.routes.get(f"/nb/{slug}").target == str(entry.target)


async def test_server_that_was_started_after_a_stop_was_asked_for_is_not_stopped(
    world: World,
) -> None:
    slug = await world.notebook()
    await world.activator.ensure(slug)
    world.spawner.started(slug, NOW + timedelta(seconds=1))
    await written_by_another(world, Kind.STOP, slug)
    (taken,) = await world.lifecycle.operations.take_over()
    world.lifecycle.carry_on(taken)
    await world.lifecycle.operations.wait(taken)
    assert world.spawner.stopped == []
    assert world.routes.get(f"/nb/{slug}").hot


@pytest.mark.parametrize("purge", [False, True])
async def test_deletion_that_was_begun_before_is_carried_on(world: World, purge: bool) -> None:
    slug = await world.notebook()
    await world.activator.ensure(slug)
    kind = Kind.PURGE if purge else Kind.DELETE
    await written_by_another(world, kind, slug, created=datetime.now(UTC))
    (taken,) = await world.lifecycle.operations.take_over()
    world.lifecycle.carry_on(taken)
    await world.lifecycle.operations.wait(taken)
    assert world.catalogue.find(slug) is None
    assert await world.spaces.exists(slug) is not purge
    assert (await world.lifecycle.operations.get(taken.id)).state is Progress.DONE


async def test_deletion_of_a_notebook_that_was_made_anew_since_is_not_carried_on(
    world: World,
) -> None:
    slug = await world.notebook()
    await written_by_another(world, Kind.PURGE, slug)
    (taken,) = await world.lifecycle.operations.take_over()
    world.lifecycle.carry_on(taken)
    await world.lifecycle.operations.wait(taken)
    assert world.catalogue.find(slug) is not None


async def test_start_that_was_begun_before_is_over(world: World) -> None:
    slug = await world.notebook()
    left = await written_by_another(world, Kind.START, slug)
    await world.lifecycle.operations.take_over()
    ended = await world.lifecycle.operations.get(left.id)
    assert ended.state is Progress.INTERRUPTED
    assert ended.ended is not None


async def test_operations_of_gateways_that_run_are_not_taken_over(world: World) -> None:
    slug = await world.notebook()
    await written_by_another(world, Kind.STOP, slug)
    assert await world.lifecycle.operations.take_over(alive={"another"}) == []


async def test_only_one_gateway_takes_an_operation_over(world: World) -> None:
    slug = await world.notebook()
    await written_by_another(world, Kind.STOP, slug)
    gateways = [Operations(world.database, f"gateway {number}") for number in range(4)]
    taken = await asyncio.gather(
        *(one.take_over({f"gateway {number}" for number in range(4)}) for one in gateways)
    )
    assert sorted(len(found) for found in taken) == [0, 0, 0, 1]


async def test_what_ended_long_ago_is_forgotten(world: World) -> None:
    slug = await world.notebook()
    moments = iter([NOW, NOW, NOW])
    old = Operations(world.database, "this", lambda: next(moments))
    async with old.running(Kind.STOP, slug, "tina"):
        pass
    await old.flush()
    async with world.lifecycle.operations.running(Kind.STOP, slug, "bob"):
        pass
    await world.lifecycle.operations.flush()
    unfinished = await written_by_another(world, Kind.STOP, slug)
    assert await world.lifecycle.operations.forget(3600.0) == 1
    left = await later_gateway(world).list(slug)
    assert {one.requested_by for one in left} == {"bob", unfinished.requested_by}


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


async def written_by_another(
    world: World, kind: Kind, slug: str, created: datetime = NOW
) -> Operation:
    """Have a row of a gateway that is gone."""
    another = Operations(world.database, "another", lambda: created)
    left = another.plan(kind, slug, "another person")
    await another.flush()
    return left


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
    signal.setitimer(signal.ITIMER_REAL, 10.0)
    try:
        stored.set_result(None)
        assert await waiting
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)


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


async def test_stop_that_the_engine_ends_halfway_is_not_told_for_ever(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    slug = await world.notebook()
    await world.activator.ensure(slug)

    async def stop(server: Server, grace: float, *, keep: bool = False) -> None:
        await world.spawner.die(server.slug)
        raise EngineError("the engine is restarting")

    monkeypatch.setattr(world.spawner, "stop", stop)
    with pytest.raises(EngineError):
        await world.lifecycle.stop_container(slug)
    await world.lifecycle.settle(slug)
    assert world.catalogue.notebook(slug).state is State.COLD
    assert world.catalogue.notebook(slug).container_id is None
