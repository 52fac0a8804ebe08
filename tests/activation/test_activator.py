"""Cold → hot: once, in order, with back-off; the start outlives who asked for it."""

from __future__ import annotations

import asyncio

import pytest

from gateway.activation.activator import Phase
from gateway.errors import EngineUnavailable, NotFound, StartFailed
from gateway.notebooks.model import State
from routes.apachedb import read as read_file
from tests.activation.conftest import World
from tests.support.waiting import until


async def test_simultaneous_requests_join_one_start(world: World) -> None:
    slug = await world.notebook()
    entries = await asyncio.gather(*(world.activator.ensure(slug) for _ in range(25)))
    assert len(world.spawner.starts) == 1
    assert len({entry.target for entry in entries}) == 1
    assert world.catalogue.notebook(slug).state is State.RUNNING


async def test_hot_notebook_is_not_started_again(world: World) -> None:
    slug = await world.notebook()
    first = await world.activator.ensure(slug)
    assert await world.activator.ensure(slug) is first
    assert len(world.spawner.starts) == 1


async def test_client_that_goes_away_does_not_cancel_the_start(world: World) -> None:
    slug = await world.notebook()
    world.spawner.gate.clear()
    waiting = asyncio.create_task(world.activator.ensure(slug))
    await until(lambda: bool(world.spawner.starts))
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    world.spawner.gate.set()
    await world.activator.ensure(slug)
    assert len(world.spawner.starts) == 1


async def test_starts_queue_in_order_and_tell_their_position(world: World) -> None:
    world.spawner.gate.clear()
    slugs = [await world.notebook(f"p{number}") for number in range(4)]
    tasks = [asyncio.ensure_future(world.activator.ensure(slug)) for slug in slugs]
    await until(lambda: len(world.spawner.starts) == 2)
    assert [world.activator.status(slug).position for slug in slugs] == [0, 0, 1, 2]
    assert world.activator.status(slugs[3]).phase is Phase.QUEUED
    world.spawner.gate.set()
    await asyncio.gather(*tasks)
    assert [spec.slug for spec in world.spawner.starts] == slugs


async def test_failed_start_is_cleaned_up_reported_and_backed_off(world: World) -> None:
    slug = await world.notebook()
    world.spawner.dies = True
    with pytest.raises(StartFailed) as first:
        await world.activator.ensure(slug)
    assert "exit code 3" in first.value.reason
    assert first.value.log_tail == "the last line of its log"
    assert world.spawner.stopped == [f"{slug}-1"]
    assert world.catalogue.notebook(slug).state is State.FAILED
    assert world.activator.status(slug).phase is Phase.FAILED
    with pytest.raises(StartFailed):
        await world.activator.ensure(slug)
    assert len(world.spawner.starts) == 1


async def test_back_off_grows_and_ends_with_success(world: World) -> None:
    slug = await world.notebook()
    world.spawner.failure = EngineUnavailable("unix:///nowhere")
    waits = []
    for _ in range(3):
        with pytest.raises(StartFailed, match="does not answer"):
            await world.activator.ensure(slug)
        waits.append(world.activator.status(slug).retry_after)
        world.clock.now += waits[-1]
    assert waits == [2.0, 4.0, 8.0]
    world.spawner.failure = None
    assert (await world.activator.ensure(slug)).target is not None
    assert world.activator.failure(slug) is None


async def test_forgiven_failure_is_tried_again_at_once(world: World) -> None:
    slug = await world.notebook()
    world.spawner.failure = EngineUnavailable("unix:///nowhere")
    with pytest.raises(StartFailed):
        await world.activator.ensure(slug)
    world.spawner.failure = None
    world.activator.forgive(slug)
    assert (await world.activator.ensure(slug)).target is not None


async def test_unknown_notebook_asks_no_engine(world: World) -> None:
    with pytest.raises(NotFound):
        await world.activator.ensure("nothing")
    assert not world.spawner.starts


async def test_suspected_target_is_inspected_and_joined_when_it_runs(world: World) -> None:
    slug = await world.notebook()
    entry = await world.activator.ensure(slug)
    suspected = world.activator.suspect(entry)
    assert suspected is not None
    assert suspected.target is None
    again = await world.activator.ensure(slug)
    assert again.target == entry.target
    assert len(world.spawner.starts) == 1


async def test_suspicion_about_an_older_generation_changes_nothing(world: World) -> None:
    slug = await world.notebook()
    old = await world.activator.ensure(slug)
    await world.lifecycle.stop_container(slug)
    new = await world.activator.ensure(slug)
    assert world.activator.suspect(old) is new


async def test_running_server_that_cannot_be_probed_is_not_ended(world: World) -> None:
    slug = await world.notebook()
    entry = await world.activator.ensure(slug)
    await world.spawner.crash(slug)
    assert world.activator.suspect(entry) is not None
    with pytest.raises(StartFailed):
        await world.activator.ensure(slug)
    assert world.spawner.stopped == []
    assert world.catalogue.notebook(slug).state is State.FAILED


async def test_failed_start_leaves_nothing_published(direct_world: World) -> None:
    world = direct_world
    slug = await world.notebook()
    entry = await world.activator.ensure(slug)
    server = await world.spawner.inspect(slug)
    assert server is not None
    await world.spawner.stop(server, 0)
    world.spawner.failure = EngineUnavailable("unix:///nowhere")
    world.activator.suspect(entry)
    with pytest.raises(StartFailed):
        await world.activator.ensure(slug)
    assert f"/nb/{slug}".encode() not in read_file(world.route_file)
