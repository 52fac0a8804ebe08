"""What happens around a start: spaces, generations, stop, lock, delete, sync, adoption."""

from __future__ import annotations

import asyncio
import errno
from dataclasses import replace

import pytest

from gateway.activation import adoption
from gateway.errors import EngineError, NotebookLocked, NotFound, StartFailed
from gateway.notebooks.model import Health, Lifetimes, State
from routes.apachedb import read as read_file
from routes.keys import Target
from routes.publisher import Publisher
from tests.activation.conftest import World
from tests.support.waiting import PATIENCE, until


async def test_each_start_has_a_generation_and_secret_of_its_own(world: World) -> None:
    slug = await world.notebook()
    await world.activator.ensure(slug)
    await world.lifecycle.stop_container(slug)
    await world.activator.ensure(slug)
    first, second = world.spawner.starts
    assert (first.generation, second.generation) == (1, 2)
    assert first.token != second.token


async def test_projects_own_interval_of_autosave_is_the_servers(world: World) -> None:
    slug = await world.notebook()
    for own, told in ((15.0, 15.0), (0.0, 0.0), (None, None)):
        await world.catalogue.update_project("demo", lifetimes=Lifetimes(autosave=own))
        await world.activator.ensure(slug)
        assert world.spawner.starts[-1].autosave == told
        await world.lifecycle.stop_container(slug)


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
    slug, other = await world.notebook(), await world.notebook("bob")
    await world.activator.ensure(other)
    world.lifecycle.mark_waking(other, waking=False)  # as after a start of the gateway
    world.spawner.gate.clear()
    start = world.activator.begin(slug)
    await until(lambda: len(world.spawner.starts) == 2)
    async with asyncio.timeout(PATIENCE):  # it waits for no start, which may take long
        assert await world.lifecycle.adopt() == 1
    assert world.routes.get(f"/nb/{other}").hot
    world.spawner.gate.set()
    entry = await start
    assert world.routes.get(f"/nb/{slug}").target == str(entry.target)
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


async def test_sync_does_not_wait_for_the_end_of_a_start_that_takes_long(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adoption, "_TURN_SECONDS", 0.01)
    slug = await world.notebook()
    world.spawner.gate.clear()
    start = world.activator.begin(slug)
    await until(lambda: bool(world.spawner.starts))
    assert "just being started" in await world.lifecycle.sync_container(slug)
    world.spawner.gate.set()
    await start
    assert "runs as" in await world.lifecycle.sync_container(slug)


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


async def test_full_disk_while_adopting_is_settled_later(
    direct_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = direct_world
    slugs = [await world.notebook(name) for name in ("gone", "left", "new")]
    for slug in slugs[:2]:
        await world.activator.ensure(slug)
        server = await world.spawner.inspect(slug)
        assert server is not None
        await world.spawner.stop(server, 0)
    gone, left, new = slugs
    world.lifecycle.mark_waking(left, waking=False)  # as after a start of the gateway
    await world.activator.ensure(new)
    await world.lifecycle.disable_proxying(new)

    async def full(self: Publisher, *args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        for name in ("put", "delete", "update"):
            patched.setattr(Publisher, name, full)
        assert await world.lifecycle.adopt() == 1
        await world.routes.prune()
        await world.lifecycle.settle_records()
    assert world.routes.get(f"/nb/{new}").hot
    await world.lifecycle.settle(gone)
    await world.lifecycle.settle_records()
    published = read(world)
    assert [f"/nb/{slug}".encode() in published for slug in slugs] == [False, False, True]
    assert {world.catalogue.notebook(slug).state for slug in (gone, left)} == {State.COLD}


async def test_stop_asks_under_the_lock_whether_it_is_still_to_be_done(world: World) -> None:
    slug = await world.notebook()
    entry = await world.activator.ensure(slug)
    locked = []

    async def still() -> bool:
        locked.append(world.lifecycle.lock(slug).locked())
        return False

    assert not await world.lifecycle.stop_container(slug, still=still)
    assert not await world.lifecycle.pause_container(slug, still=still)
    assert locked == [True, True]
    assert world.routes.entry(entry.key) is entry


async def test_start_that_is_begun_during_a_stop_stays_announced(world: World) -> None:
    slug = await world.notebook()
    await world.activator.ensure(slug)
    await world.lifecycle.disable_proxying(slug)
    world.lifecycle.mark_waking(slug, waking=True)
    await world.lifecycle.stop_container(slug)
    entry = world.routes.entry(f"/nb/{slug}")
    assert entry is not None
    assert (entry.target, entry.waking) == (None, True)


async def test_kept_container_is_started_again_with_its_own_generation(world: World) -> None:
    slug = await world.notebook()
    await world.activator.ensure(slug)
    before = await world.spawner.inspect(slug)
    assert await world.lifecycle.stop_container(slug, keep=True)
    record = world.catalogue.notebook(slug)
    assert before is not None
    assert (record.state, record.container_id, record.port) == (State.COLD, before.id, None)
    entry = await world.activator.ensure(slug)
    after = await world.spawner.inspect(slug)
    assert after is not None
    assert (after.id, entry.generation) == (before.id, 1)
    assert entry.target == after.target != before.target, "ports change with each start"
    assert world.catalogue.notebook(slug).port == after.port


async def test_kept_container_of_another_configuration_makes_room_for_a_new_generation(
    world: World,
) -> None:
    slug = await world.notebook()
    first = await world.activator.ensure(slug)
    await world.lifecycle.stop_container(slug, keep=True)
    world.spawner.changed = True
    second = await world.activator.ensure(slug)
    assert (first.generation, second.generation) == (1, 2)
    assert first.secret != second.secret


async def test_container_that_ended_by_itself_is_not_started_again(world: World) -> None:
    slug = await world.notebook()
    entry = await world.activator.ensure(slug)
    await world.spawner.die(slug)
    world.activator.suspect(entry)
    assert (await world.activator.ensure(slug)).generation == 2


async def test_kept_container_that_does_not_come_up_is_removed(world: World) -> None:
    slug = await world.notebook()
    await world.activator.ensure(slug)
    await world.lifecycle.stop_container(slug, keep=True)
    world.spawner.dies = True
    with pytest.raises(StartFailed):
        await world.activator.ensure(slug)
    assert await world.spawner.inspect(slug) is None
    assert world.catalogue.notebook(slug).container_id is None


async def test_paused_server_is_cold_first_and_goes_on_at_the_next_start(world: World) -> None:
    slug = await world.notebook()
    hot = await world.activator.ensure(slug)
    assert await world.lifecycle.pause_container(slug)
    record = world.catalogue.notebook(slug)
    assert (record.state, record.engine_status) == (State.COLD, "paused")
    assert not world.routes.get(f"/nb/{slug}").hot
    again = await world.activator.ensure(slug)
    assert (again.target, again.generation) == (hot.target, hot.generation)
    assert world.catalogue.notebook(slug).engine_status == "running"


async def test_server_that_cannot_be_paused_stays_hot(world: World) -> None:
    slug = await world.notebook()
    hot = await world.activator.ensure(slug)
    world.spawner.refuses = EngineError("it has no freezer")
    with pytest.raises(EngineError, match="no freezer"):
        await world.lifecycle.pause_container(slug)
    assert world.routes.entry(hot.key) == hot
    assert world.catalogue.notebook(slug).state is State.RUNNING


async def test_paused_server_can_be_stopped(world: World) -> None:
    slug = await world.notebook()
    await world.activator.ensure(slug)
    await world.lifecycle.pause_container(slug)
    assert await world.lifecycle.stop_container(slug)
    assert await world.spawner.inspect(slug) is None
    assert world.catalogue.notebook(slug).container_id is None


async def test_only_a_stopped_container_is_removed_as_kept(world: World) -> None:
    slug = await world.notebook()
    await world.activator.ensure(slug)
    assert not await world.lifecycle.remove_container(slug)
    await world.lifecycle.stop_container(slug, keep=True)
    assert await world.lifecycle.remove_container(slug)
    assert not await world.lifecycle.remove_container(slug)
    assert await world.spawner.inspect(slug) is None
    assert world.catalogue.notebook(slug).engine_status is None


async def test_locked_notebook_is_neither_paused_nor_is_what_was_kept_removed(
    world: World,
) -> None:
    slug = await world.notebook()
    await world.activator.ensure(slug)
    await world.catalogue.lock(slug, "tina", "exam data")
    for refused in (world.lifecycle.pause_container, world.lifecycle.remove_container):
        with pytest.raises(NotebookLocked):
            await refused(slug)
    assert world.catalogue.notebook(slug).state is State.RUNNING


async def told(world: World, slug: str) -> str:
    """Return what sync says, without the slug."""
    return (await world.lifecycle.sync_container(slug)).removeprefix(f"{slug}: ")


async def test_sync_tells_generation_target_and_health(world: World) -> None:
    slug = await world.notebook()
    entry = await world.activator.ensure(slug)
    assert await told(world, slug) == f"runs as {slug}, generation 1 at {entry.target}, healthy"
    assert world.routes.entry(entry.key) is entry, "nothing was done"


async def test_sync_tells_how_a_server_ended(world: World) -> None:
    slug = await world.notebook()
    await world.activator.ensure(slug)
    await world.spawner.die(slug, exit_code=137, reason="out of memory")
    assert await told(world, slug) == (
        f"nothing runs: {slug}, generation 1 is exited, out of memory (the record said running)"
    )
    assert world.catalogue.notebook(slug).health_reason == "out of memory"
    await world.activator.ensure(slug)
    await world.spawner.die(slug, exit_code=3)
    assert "it ended with exit code 3" in await told(world, slug)


async def test_sync_tells_of_what_is_paused_or_kept(world: World) -> None:
    slug = await world.notebook()
    await world.activator.ensure(slug)
    world.spawner.freeze(slug)
    assert await told(world, slug) == (
        f"is paused as {slug}, generation 1; the next visit lets it go on (the record said running)"
    )
    await world.lifecycle.stop_container(slug, keep=True)
    assert await told(world, slug) == (
        f"is stopped, and {slug}, generation 1 is kept for its next start"
    )


async def test_sync_leaves_a_server_that_does_not_answer_once_to_the_health_probes(
    world: World,
) -> None:
    slug = await world.notebook()
    entry = await world.activator.ensure(slug)
    world.spawner.hang(slug, hangs=True)
    assert "does not answer; stop and start it if that lasts" in await told(world, slug)
    assert world.routes.entry(entry.key) is entry
    assert world.spawner.stopped == []


async def test_sync_makes_cold_what_runs_somewhere_else_and_does_not_answer(world: World) -> None:
    slug = await world.notebook()
    entry = await world.activator.ensure(slug)
    server = await world.spawner.inspect(slug)
    assert server is not None
    world.spawner.put(replace(server, target=Target("127.0.0.1", 9), port=9))
    assert "does not answer" in await told(world, slug)
    assert not world.routes.get(entry.key).hot
    assert world.catalogue.notebook(slug).health is Health.UNHEALTHY


async def test_sync_leaves_what_is_in_line_alone(world: World) -> None:
    slug = await world.notebook()
    assert await told(world, slug) == "nothing runs; it is cold"
    with pytest.raises(NotFound):
        await world.lifecycle.sync_container("nothing")
