"""What happens around a start: spaces, generations, stop, lock, delete, sync, adoption."""

from __future__ import annotations

import asyncio

import pytest

from gateway.errors import NotebookLocked
from gateway.notebooks.model import State
from routes.apachedb import read as read_file
from tests.activation.conftest import World
from tests.support.waiting import until


async def test_each_start_has_a_generation_and_secret_of_its_own(world: World) -> None:
    slug = await world.notebook()
    await world.activator.ensure(slug)
    await world.lifecycle.stop_container(slug)
    await world.activator.ensure(slug)
    first, second = world.spawner.starts
    assert (first.generation, second.generation) == (1, 2)
    assert first.token != second.token


async def test_stop_makes_it_cold_and_keeps_the_space(world: World) -> None:
    slug = await world.notebook()
    await world.activator.ensure(slug)
    (world.spaces.path(slug) / "work.txt").write_text("mine")
    await world.lifecycle.stop_container(slug)
    assert world.catalogue.notebook(slug).state is State.COLD
    assert world.routes.get(f"/nb/{slug}").target is None
    assert (world.spaces.path(slug) / "work.txt").read_text() == "mine"


async def test_locked_notebook_is_neither_stopped_nor_deleted(world: World) -> None:
    slug = await world.notebook()
    await world.activator.ensure(slug)
    await world.catalogue.lock(slug, "tina", "exam data")
    with pytest.raises(NotebookLocked, match="tina: exam data"):
        await world.lifecycle.stop_container(slug)
    with pytest.raises(NotebookLocked):
        await world.lifecycle.delete(slug)
    assert world.catalogue.notebook(slug).state is State.RUNNING


async def test_sync_of_a_locked_notebook_leaves_its_server_as_it_is(world: World) -> None:
    slug = await world.notebook()
    before = await world.activator.ensure(slug)
    await world.catalogue.lock(slug, "tina", "exam data")
    assert "runs as" in await world.lifecycle.sync_container(slug)
    assert (world.spawner.stopped, len(world.spawner.starts)) == ([], 1)
    assert await world.activator.ensure(slug) == before


async def test_adoption_leaves_a_start_that_is_under_way_to_itself(world: World) -> None:
    slug = await world.notebook()
    world.spawner.gate.clear()
    start = world.activator.begin(slug)
    await until(lambda: bool(world.spawner.starts))
    asked = world.spawner.asked
    adoption = asyncio.create_task(world.lifecycle.adopt())
    await until(lambda: world.spawner.asked > asked)
    world.spawner.gate.set()
    assert await adoption == 1
    assert world.routes.get(f"/nb/{slug}").target == str((await start).target)
    assert world.catalogue.notebook(slug).state is State.RUNNING


async def test_delete_keeps_the_space_unless_asked(world: World) -> None:
    kept, purged = await world.notebook("kept"), await world.notebook("purged")
    for slug in (kept, purged):
        await world.activator.ensure(slug)
    await world.lifecycle.delete(kept)
    await world.lifecycle.delete(purged, purge_space=True)
    assert await world.spaces.exists(kept)
    assert not await world.spaces.exists(purged)
    assert world.catalogue.find(kept) is None
    assert not world.routes.list()


async def test_sync_follows_the_engine_both_ways(world: World) -> None:
    slug = await world.notebook()
    await world.activator.ensure(slug)
    server = await world.spawner.inspect(slug)
    assert server is not None
    assert "runs as" in await world.lifecycle.sync_container(slug)
    await world.spawner.stop(server, 0)
    assert "nothing runs" in await world.lifecycle.sync_container(slug)
    assert world.catalogue.notebook(slug).state is State.COLD


async def test_adoption_takes_over_only_what_proves_itself(world: World) -> None:
    good, silent = await world.notebook("good"), await world.notebook("silent")
    for slug in (good, silent):
        await world.activator.ensure(slug)
        await world.lifecycle.disable_proxying(slug)
    await world.spawner.crash(silent)
    assert await world.lifecycle.adopt() == 1
    assert world.routes.get(f"/nb/{good}").hot
    assert not world.routes.get(f"/nb/{silent}").hot
    assert world.catalogue.notebook(silent).state is State.COLD


async def test_notebooks_are_not_in_the_file_unless_httpd_authenticates(world: World) -> None:
    slug = await world.notebook()
    await world.activator.ensure(slug)
    assert f"/nb/{slug}".encode() not in read(world)


async def test_published_notebook_leaves_the_file_before_it_stops(direct_world: World) -> None:
    world = direct_world
    slug = await world.notebook()
    entry = await world.activator.ensure(slug)
    assert read(world)[f"/nb/{slug}".encode()] == str(entry.target).encode()
    await world.lifecycle.stop_container(slug)
    assert f"/nb/{slug}".encode() not in read(world)


def read(world: World) -> dict[bytes, bytes]:
    return read_file(world.route_file)


async def test_published_notebook_stays_in_the_file_until_adoption_decides(
    direct_world: World,
) -> None:
    world = direct_world
    runs, gone = await world.notebook("runs"), await world.notebook("gone")
    for slug in (runs, gone):
        await world.activator.ensure(slug)
    await world.routes.load()
    assert {f"/nb/{runs}".encode(), f"/nb/{gone}".encode()} <= read(world).keys()
    server = await world.spawner.inspect(gone)
    assert server is not None
    await world.spawner.stop(server, 0)
    world.routes.put_cold(world.lifecycle.mark_waking(gone, waking=False))
    await world.lifecycle.adopt()
    await world.routes.prune()
    assert f"/nb/{runs}".encode() in read(world)
    assert f"/nb/{gone}".encode() not in read(world)
