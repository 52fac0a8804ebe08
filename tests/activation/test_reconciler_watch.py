"""The watch over the engine: it is lost and taken up again, misses nothing, and is told of."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from gateway.errors import StartFailed
from gateway.notebooks.model import State
from tests.activation.conftest import World
from tests.activation.followed import AWAY, Followed, followed, hot_one, is_cold
from tests.support.waiting import until

__all__ = ["followed"]


async def test_engine_that_goes_away_keeps_hot_routes_and_all_recovers_by_itself(
    followed: Followed,
) -> None:
    world = followed.world
    hot, entry = await hot_one(world, "alice")
    dies, _ = await hot_one(world, "bob")
    cold = await world.notebook("carol")
    world.spawner.go_away(AWAY)
    await until(lambda: followed.sample("nbgate_engine_watcher_up") == 0)
    assert world.routes.entry(entry.key) is entry
    with pytest.raises(StartFailed, match="does not answer"):
        await world.activator.ensure(cold)
    assert world.catalogue.notebook(cold).state is State.FAILED
    await world.spawner.die(dies)
    await followed.pauses.over(3.0)
    await until(lambda: followed.pauses.begun(3.0) == 2)
    assert followed.recovered == 0
    world.spawner.down = None
    await followed.pauses.over(3.0)
    await until(lambda: is_cold(world, dies))
    await followed.up()
    assert world.routes.entry(f"/nb/{hot}") is entry
    assert followed.recovered == 1
    assert (followed.sample("nbgate_engine_watcher_reconnects_total") or 0) >= 2


async def test_it_resumes_at_the_last_events_own_moment(followed: Followed) -> None:
    world = followed.world
    await hot_one(world)
    assert world.spawner.watched == [None]
    last = world.spawner.moment
    world.spawner.go_away(AWAY)
    world.spawner.down = None
    await followed.pauses.over(3.0)
    await until(lambda: len(world.spawner.watched) == 2)
    assert world.spawner.watched == [None, last]


async def test_it_subscribes_before_it_lists(world: World) -> None:
    order = []
    followed = Followed(world)
    spawner = world.spawner
    inner = spawner.list

    async def listed() -> object:
        order.append(len(spawner.watched))
        return await inner()

    spawner.list = listed  # type: ignore[method-assign,assignment]
    async with followed.running():
        await followed.up()
    assert order == [1]


async def test_leftovers_that_take_long_hold_no_news_up(direct_world: World) -> None:
    world, goes_on, sweeping = direct_world, asyncio.Event(), asyncio.Event()

    async def sweep(grace: float) -> Sequence[str]:
        sweeping.set()
        await goes_on.wait()
        return []

    world.spawner.sweep = sweep  # type: ignore[method-assign]
    followed = Followed(world)
    async with followed.running():
        await sweeping.wait()
        slug, _ = await hot_one(world)
        await world.spawner.die(slug)
        await until(lambda: is_cold(world, slug))
        goes_on.set()


async def test_engine_that_is_down_at_the_start_is_adopted_from_once_it_is_up(
    world: World,
) -> None:
    followed = Followed(world, lambda: None)
    world.spawner.down = AWAY
    async with followed.running():
        await followed.pauses.over(3.0)
        await until(lambda: followed.pauses.begun(3.0) == 2)
        assert followed.adoptions == 0
        world.spawner.down = None
        await followed.pauses.over(3.0)
        await followed.up()
        await followed.pauses.over(30.0)
        assert followed.adoptions == 1


async def test_metrics_tell_when_the_engine_was_heard_of_last(followed: Followed) -> None:
    world = followed.world
    await hot_one(world)
    await until(lambda: followed.sample("nbgate_engine_seconds_since", what="event") == 0)
    world.clock.now += 7
    assert followed.sample("nbgate_engine_seconds_since", what="event") == 7
    assert followed.sample("nbgate_engine_seconds_since", what="list") == 7


async def test_a_fault_of_our_own_does_not_end_the_watch(
    followed: Followed, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = followed.world
    monkeypatch.setattr(world.lifecycle, "out_of_line", lambda servers: 1 / 0)
    await followed.pauses.over(30.0)
    await until(lambda: followed.sample("nbgate_engine_watcher_up") == 0)
    monkeypatch.undo()
    await followed.pauses.over(3.0)
    await followed.up()
