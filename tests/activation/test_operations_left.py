"""What a gateway that ended left unfinished is another's: carried on, told of, or forgotten."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from gateway.activation.operations import Kind, Operations, Progress
from gateway.errors import NotebookLocked
from gateway.notebooks.model import State
from tests.activation.conftest import World
from tests.activation.rows import NOW, later_gateway, written_by_another


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
