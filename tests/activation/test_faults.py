"""What a fault on one side leaves as it was on the other: routes, records, the right to come in."""

from __future__ import annotations

import asyncio
import errno
from dataclasses import replace

import pytest

from gateway.activation.progress import Phase
from gateway.activation.strays import Strays
from gateway.errors import EngineError, EngineUnavailable, StartFailed
from gateway.notebooks.model import State
from gateway.spawners.base import Server, ServerState
from gateway.spawners.engine import EngineRefused
from routes.apachedb import read
from routes.keys import Target
from routes.publisher import Publisher
from tests.activation.conftest import World
from tests.support.waiting import until

AWAY = EngineUnavailable("unix:///nowhere")
BROKEN = EngineRefused(500, "RWLayer of container is unexpectedly nil")


async def hot(world: World, slug: str) -> bool:
    entry = world.routes.entry(f"/nb/{slug}")
    return entry is not None and entry.target is not None


async def test_withdrawn_start_leaves_a_server_hot_that_was_adopted_meanwhile(world: World) -> None:
    slugs = [await world.notebook(f"p{number}") for number in range(3)]
    await world.activator.ensure(slugs[2])
    world.lifecycle.mark_waking(slugs[2], waking=False)  # a connection was refused
    world.spawner.gate.clear()
    tasks = [asyncio.ensure_future(world.activator.ensure(slug)) for slug in slugs]
    await until(lambda: len(world.spawner.starts) == 3)
    await world.lifecycle.settle(slugs[2])
    assert await hot(world, slugs[2])
    assert world.activator.withdraw(slugs[2])
    with pytest.raises(StartFailed):
        await tasks[2]
    assert await hot(world, slugs[2])
    world.spawner.gate.set()
    await asyncio.gather(*tasks[:2])


async def test_stop_that_the_engine_is_not_there_for_leaves_the_route_hot(world: World) -> None:
    slug = await world.notebook()
    await world.activator.ensure(slug)
    world.spawner.down = AWAY

    async def still() -> bool:
        return True

    for work in (
        world.lifecycle.stop_container(slug),
        world.lifecycle.stop_container(slug, still=still),
        world.lifecycle.delete(slug),
    ):
        with pytest.raises(EngineUnavailable):
            await work
        assert await hot(world, slug)
        assert world.catalogue.notebook(slug).state is State.RUNNING


@pytest.mark.parametrize("late", [False, True])
async def test_who_may_not_come_in_any_more_is_out_though_a_stop_was_called_off(
    world: World, *, late: bool
) -> None:
    slug = await world.notebook()
    entry = await world.activator.ensure(slug)
    await world.catalogue.share(slug, ["bob"])

    async def still() -> bool:
        if not late:
            await world.catalogue.unshare(slug, ["bob"])
        return True

    class LateWorker:
        async def settled(self) -> None:
            pass

        async def drained(self, entry: object) -> None:
            assert activity is not None
            activity.last += 1
            await world.catalogue.unshare(slug, ["bob"])

        async def end_sessions(self, session_ids: object) -> None:
            pass

        def end_use(self, key: str, people: object) -> None:
            pass

    activity = entry.activity
    world.routes.attach(LateWorker())
    assert not await world.lifecycle.stop_container(slug, still=still)
    now = world.routes.entry(f"/nb/{slug}")
    assert now is not None
    assert now.others is None
    assert now == replace(entry, others=None)


async def test_server_that_another_gateway_has_made_is_not_ended_by_a_start_that_joined_it(
    impatient_world: World,
) -> None:
    world = impatient_world
    slug = await world.notebook()
    theirs = Server("theirs", slug, 7, ServerState.RUNNING, target=Target("127.0.0.1", 9))
    world.spawner.put(theirs)
    with pytest.raises(StartFailed, match="not ready"):
        await world.activator.ensure(slug)
    assert world.spawner.stopped == []
    assert world.catalogue.notebook(slug).state is State.FAILED


@pytest.mark.parametrize("kept", [False, True])
async def test_server_that_another_gateway_stops_while_a_start_joins_it_is_made_anew(
    world: World, *, kept: bool
) -> None:
    slug = await world.notebook()
    theirs = Server("theirs", slug, 7, ServerState.RUNNING, target=Target("127.0.0.1", 9))
    world.spawner.put(theirs)
    start = world.activator.begin(slug)
    await until(lambda: world.activator.status(slug).phase is Phase.STARTING)
    if kept:
        await world.spawner.die(slug, exit_code=0)
    else:
        await world.spawner.remove(slug)
    assert (await start).generation > 7 * kept
    assert [spec.slug for spec in world.spawner.starts] == [slug]


async def test_suspected_target_that_has_ended_is_not_left_to_httpd(direct_world: World) -> None:
    world = direct_world
    slug = await world.notebook()
    entry = await world.activator.ensure(slug)
    world.activator.suspect(entry)  # for a request that wakes nothing
    await world.spawner.die(slug)
    await world.lifecycle.settle(slug)
    await world.lifecycle.settle_records()
    assert f"/nb/{slug}".encode() not in read(world.route_file)


async def test_start_that_fails_on_a_full_disk_is_in_the_record(
    direct_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = direct_world
    slug = await world.notebook()
    await world.activator.ensure(slug)
    world.lifecycle.mark_waking(slug, waking=False)  # a connection was refused

    async def full(self: Publisher, *args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        for name in ("put", "delete", "update"):
            patched.setattr(Publisher, name, full)
        with pytest.raises(StartFailed):
            await world.activator.ensure(slug)
    assert world.catalogue.notebook(slug).state is State.FAILED


async def test_one_server_that_the_engine_cannot_tell_of_keeps_no_other_from_being_adopted(
    world: World,
) -> None:
    slugs = [await world.notebook(name) for name in ("alice", "bob")]
    for slug in slugs:
        await world.activator.ensure(slug)
        world.lifecycle.mark_waking(slug, waking=False)  # as after a start of the gateway
    inspect = world.spawner.inspect

    async def broken(slug: str) -> Server | None:
        if slug == slugs[0]:
            raise BROKEN
        return await inspect(slug)

    world.spawner.inspect = broken  # type: ignore[method-assign]
    assert await world.lifecycle.adopt() == 1
    assert await hot(world, slugs[1])


@pytest.mark.parametrize("error", [BROKEN, AWAY])
async def test_stray_that_cannot_be_removed_keeps_none_behind_it(
    world: World, error: EngineError
) -> None:
    strays = Strays(world.spawner, world.catalogue, world.lifecycle, 0.0, world.clock)
    servers = {name: Server(name, name, 1, ServerState.EXITED) for name in ("one", "two")}
    for server in servers.values():
        world.spawner.put(server)
    stop = world.spawner.stop

    async def broken(server: Server, grace: float, *, keep: bool = False) -> None:
        if server.slug == "one":
            raise error
        await stop(server, grace, keep=keep)

    world.spawner.stop = broken  # type: ignore[method-assign]
    if error is AWAY:
        with pytest.raises(EngineUnavailable):
            await strays.sweep(servers)
    else:
        assert await strays.sweep(servers) == ["two two, ended"]
