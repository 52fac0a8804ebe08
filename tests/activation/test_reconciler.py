"""The engine is the truth: what happens behind the gateway's back is followed, and does no harm."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from gateway.activation.adoption import Found
from gateway.activation.reconciler import is_news
from gateway.notebooks.model import Health, State
from gateway.spawners.base import Change, Server, ServerEvent, ServerState
from routes.keys import Target
from tests.activation.conftest import World
from tests.activation.followed import GRACE, Followed, followed, hot_one, is_cold
from tests.support.waiting import until

__all__ = ["followed"]


async def test_killed_container_loses_its_route_and_is_made_anew_by_the_next_request(
    followed: Followed,
) -> None:
    world = followed.world
    slug, entry = await hot_one(world)
    await world.spawner.die(slug, exit_code=137, reason="out of memory")
    await until(lambda: is_cold(world, slug))
    record = world.catalogue.notebook(slug)
    assert (record.container_id, record.port, record.health) == (None, None, None)
    assert record.health_reason == "out of memory"
    again = await world.activator.ensure(slug)
    assert (again.generation, again.secret != entry.secret) == (2, True)
    assert world.catalogue.notebook(slug).health_reason is None


@pytest.mark.parametrize(
    ("exit_code", "said"),
    [
        (0, "was told to end, not by this gateway"),
        (143, "was told to end, not by this gateway"),
        (1, "ended by itself"),
    ],
)
async def test_server_that_another_gateway_stops_is_not_said_to_have_ended_by_itself(
    followed: Followed, caplog: pytest.LogCaptureFixture, exit_code: int, said: str
) -> None:
    caplog.set_level("INFO")
    slug, _ = await hot_one(followed.world)
    await followed.world.spawner.die(slug, exit_code=exit_code)
    await until(lambda: said in caplog.text)
    assert ("ended by itself" in caplog.text) == (exit_code == 1)


async def test_container_removed_by_hand_loses_its_route(followed: Followed) -> None:
    world = followed.world
    slug, _ = await hot_one(world)
    await world.spawner.remove(slug)
    await until(lambda: is_cold(world, slug))
    assert world.catalogue.notebook(slug).health_reason == "its container was removed"
    assert (await world.activator.ensure(slug)).generation == 2


async def test_container_paused_by_hand_is_cold_and_goes_on_at_the_next_request(
    followed: Followed,
) -> None:
    world = followed.world
    slug, entry = await hot_one(world)
    world.spawner.freeze(slug)
    await until(lambda: is_cold(world, slug))
    assert world.catalogue.notebook(slug).engine_status == "paused"
    again = await world.activator.ensure(slug)
    assert (again.target, again.generation) == (entry.target, entry.generation)


async def test_container_that_is_let_go_on_by_hand_is_hot_again(followed: Followed) -> None:
    world = followed.world
    slug, _ = await hot_one(world)
    world.spawner.freeze(slug)
    await until(lambda: is_cold(world, slug))
    world.spawner.thaw(slug)
    await until(lambda: world.routes.get(f"/nb/{slug}").hot)
    assert world.catalogue.notebook(slug).state is State.RUNNING


async def test_old_news_does_not_harm_a_newer_server(followed: Followed) -> None:
    world = followed.world
    slug, _ = await hot_one(world)
    old = await world.spawner.inspect(slug)
    assert old is not None
    await world.lifecycle.stop_container(slug)
    newer = await world.activator.ensure(slug)
    for change in (Change.ENDED, Change.REMOVED, Change.PAUSED, Change.STARTED):
        world.spawner.tell(old, change)
    await until(lambda: (followed.looked(Found.SAME) or 0) > 0)
    assert world.routes.entry(newer.key) is newer
    assert world.catalogue.notebook(slug).state is State.RUNNING


async def test_news_of_the_current_server_that_is_not_true_any_more_changes_nothing(
    followed: Followed,
) -> None:
    world = followed.world
    slug, entry = await hot_one(world)
    server = await world.spawner.inspect(slug)
    assert server is not None
    same = followed.looked(Found.SAME) or 0
    world.spawner.tell(server, Change.ENDED)
    await until(lambda: (followed.looked(Found.SAME) or 0) > same)
    assert world.routes.entry(entry.key) is entry


async def test_event_in_the_middle_of_a_start_waits_for_its_end(followed: Followed) -> None:
    world = followed.world
    slug = await world.notebook()
    world.spawner.gate.clear()
    start = world.activator.begin(slug)
    await until(lambda: bool(world.spawner.starts))
    world.spawner.tell(Server("other", slug, 1, ServerState.RUNNING), Change.STARTED)
    world.spawner.gate.set()
    entry = await start
    await until(lambda: (followed.looked(Found.SAME) or 0) > 0)
    assert world.routes.entry(entry.key) is entry


async def test_what_no_event_told_is_found_by_the_next_list(followed: Followed) -> None:
    world = followed.world
    slug, _ = await hot_one(world)
    server = await world.spawner.inspect(slug)
    assert server is not None
    world.spawner.put(replace(server, state=ServerState.EXITED, target=None, exit_code=1))
    await followed.pauses.over(30.0)
    await until(lambda: is_cold(world, slug))
    assert world.catalogue.notebook(slug).health_reason == "it ended with exit code 1"


async def test_server_that_runs_and_is_not_ready_yet_is_looked_at_again(
    followed: Followed,
) -> None:
    world = followed.world
    slug, entry = await hot_one(world)
    server = await world.spawner.inspect(slug)
    assert server is not None
    moved = replace(server, target=Target("127.0.0.1", 9), started=datetime.now(UTC))
    world.spawner.put(moved)
    world.spawner.tell(moved, Change.STARTED)
    await until(lambda: not world.routes.get(f"/nb/{slug}").hot)
    world.spawner.put(server)
    await followed.pauses.over(1.0)
    await until(lambda: world.routes.get(f"/nb/{slug}").hot)
    assert world.routes.get(f"/nb/{slug}").target == str(entry.target)
    assert world.catalogue.notebook(slug).health is Health.HEALTHY


async def test_server_that_never_answers_is_said_to_be_unhealthy_once_and_left_alone(
    followed: Followed,
) -> None:
    world = followed.world
    slug, _ = await hot_one(world)
    server = await world.spawner.inspect(slug)
    assert server is not None
    deaf = replace(server, target=Target("127.0.0.1", 9))
    world.spawner.put(deaf)
    world.spawner.tell(deaf, Change.STARTED)
    await until(lambda: is_cold(world, slug))
    record = world.catalogue.notebook(slug)
    assert (record.health, record.engine_status) == (Health.UNHEALTHY, "running")
    await until(lambda: followed.looked(Found.UNANSWERING) == 1)
    await followed.pauses.over(30.0)
    await until(lambda: followed.looked(Found.UNANSWERING) == 2)
    assert world.catalogue.notebook(slug) is record, "nothing was written"
    assert (world.spawner.stopped, followed.pauses.begun(1.0)) == ([], 0)


async def test_what_ended_by_itself_is_removed_after_a_grace_period_and_what_was_kept_is_not(
    followed: Followed,
) -> None:
    world = followed.world
    crashed, _ = await hot_one(world, "alice")
    kept, _ = await hot_one(world, "bob")
    await world.spawner.die(crashed)
    await until(lambda: is_cold(world, crashed))
    await world.lifecycle.stop_container(kept, keep=True)
    world.spawner.put(Server("stray", "nobody", 1, ServerState.EXITED))
    world.spawner.put(Server("runs", "nobody-else", 1, ServerState.RUNNING))
    world.spawner.stopped.clear()
    await followed.pauses.over(30.0)
    await until(lambda: followed.sample("nbgate_servers_without_notebook") == 2)
    assert world.spawner.stopped == []
    world.clock.now += GRACE
    await followed.pauses.over(30.0)
    await until(lambda: len(world.spawner.stopped) == 2)
    assert set(world.spawner.stopped) == {f"{crashed}-1", "stray"}
    assert world.spawner.swept[-1] == GRACE
    assert (await world.activator.ensure(kept)).generation == 1


async def test_leftover_of_a_notebook_that_is_being_started_does_not_hold_the_lists_up(
    followed: Followed,
) -> None:
    world = followed.world
    slug, _ = await hot_one(world, "alice")
    await world.spawner.die(slug)
    await until(lambda: is_cold(world, slug))

    async def listed() -> None:
        before = len(world.spawner.swept)
        await followed.pauses.over(30.0)
        await until(lambda: len(world.spawner.swept) > before)

    await listed()
    world.clock.now += GRACE
    async with world.lifecycle.lock(slug):
        await listed()
        assert world.spawner.stopped == []
    await listed()
    assert world.spawner.stopped == [f"{slug}-1"]


@pytest.mark.parametrize("change", Change)
async def test_news_of_somebody_elses_server_is_ignored(world: World, change: Change) -> None:
    assert not is_news(ServerEvent("x", "unknown", change, 1.0), None, None)
