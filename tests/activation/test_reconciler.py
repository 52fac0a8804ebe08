"""The engine is the truth: what happens behind the gateway's back is followed, and does no harm."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from gateway.activation.adoption import Found
from gateway.activation.figures import EngineFigures
from gateway.activation.reconciler import Reconciler, Times, is_news
from gateway.activation.strays import Strays
from gateway.errors import EngineUnavailable, StartFailed
from gateway.notebooks.model import Health, State
from gateway.proxy.interface import RouteEntry
from gateway.spawners.base import Change, Server, ServerEvent, ServerState
from routes.apachedb import read as read_file
from routes.keys import Target
from tests.activation.conftest import World
from tests.support.waiting import until

AWAY = EngineUnavailable("unix:///nowhere.sock")
GRACE = 100.0


class Pauses:
    """Pauses that end when the test says so."""

    def __init__(self) -> None:
        self._waiting: list[tuple[float, asyncio.Future[None]]] = []
        self._begun: list[float] = []

    async def __call__(self, seconds: float) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((seconds, future))
        self._begun.append(seconds)
        await future

    def begun(self, seconds: float) -> int:
        """Return how many pauses of so many seconds there were."""
        return self._begun.count(seconds)

    async def over(self, seconds: float) -> None:
        """End the pauses of so many seconds, of which there is one at least, or will be."""
        await until(lambda: any(one == seconds and not it.done() for one, it in self._waiting))
        for one, future in list(self._waiting):
            if one == seconds and not future.done():
                future.set_result(None)
        self._waiting = [pair for pair in self._waiting if not pair[1].done()]


class Followed:
    """A reconciler that runs."""

    def __init__(self, world: World, adopt: Callable[[], object] | None = None) -> None:
        self.world, self.pauses, self.recovered = world, Pauses(), 0
        self.times = Times(relist=30.0, retry=3.0, again=1.0, looks=3, grace=GRACE)
        self.adoptions = 0
        strays = Strays(world.spawner, world.catalogue, world.lifecycle, GRACE, world.clock)
        self._reconciler = Reconciler(
            world.spawner,
            world.lifecycle,
            lambda slug: (world.catalogue.find(slug), world.routes.entry(f"/nb/{slug}")),
            strays,
            EngineFigures(world.metrics.registry, world.clock),
            self.times,
            self._adopt if adopt else None,
            self._back,
            pause=self.pauses,
        )
        self.adopt = adopt

    async def _adopt(self) -> None:
        self.adoptions += 1
        assert self.adopt is not None
        self.adopt()

    def _back(self) -> None:
        self.recovered += 1

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self._reconciler.run())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def up(self) -> None:
        await until(lambda: self.sample("nbgate_engine_watcher_up") == 1)

    def sample(self, name: str, **labels: str) -> float | None:
        return self.world.metrics.registry.get_sample_value(name, labels)

    def looked(self, found: Found) -> float | None:
        return self.sample("nbgate_reconciled_total", result=str(found))


@pytest.fixture
async def followed(direct_world: World) -> AsyncIterator[Followed]:
    made = Followed(direct_world)
    async with made.running():
        await made.up()
        yield made


async def hot_one(world: World, person: str = "alice") -> tuple[str, RouteEntry]:
    slug = await world.notebook(person)
    entry = await world.activator.ensure(slug)
    assert f"/nb/{slug}".encode() in read_file(world.route_file)
    return slug, entry


def is_cold(world: World, slug: str) -> bool:
    """Whether table, file and record say so."""
    published = f"/nb/{slug}".encode() in read_file(world.route_file)
    record = world.catalogue.notebook(slug)
    return not (world.routes.get(f"/nb/{slug}").hot or published) and record.state is State.COLD


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


@pytest.mark.parametrize("change", Change)
async def test_news_of_somebody_elses_server_is_ignored(world: World, change: Change) -> None:
    assert not is_news(ServerEvent("x", "unknown", change, 1.0), None, None)
