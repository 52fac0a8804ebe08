"""What is done to notebooks is written down, with who asked for it and what became of it."""

from __future__ import annotations

import pytest

from gateway.activation.operations import Kind, Operation, Progress
from gateway.errors import EngineError, NotebookLocked, NotFound, StartFailed
from gateway.notebooks.model import State
from gateway.spawners.base import Server
from tests.activation.conftest import World
from tests.activation.rows import later_gateway
from tests.support.waiting import until


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
