"""Warnings, the last moment, locks, faults and tiers: the culler over a real life cycle."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from gateway.activation.culler import Culler
from gateway.errors import EngineError
from gateway.notebooks.database import DatabaseError
from gateway.notebooks.model import State
from gateway.spawners.base import ServerState
from tests.activation.watch import Watch, lifetimes, watch
from tests.support.waiting import PATIENCE, until

__all__ = ["watch"]


# -- warnings


async def test_who_is_still_there_keeps_it(watch: Watch) -> None:
    slug = await watch.started()
    await watch.after(3500)
    assert watch.culler.notice(slug) is not None
    assert watch.culler.keep(slug) is None
    assert watch.culler.notice(slug) is None
    await watch.after(3240)
    assert watch.culler.notice(slug) is None
    await watch.after(600)
    assert watch.state(slug) is State.COLD


async def test_who_goes_on_working_sees_the_warning_no_more_at_once(watch: Watch) -> None:
    slug = await watch.started()
    await watch.after(3500)
    watch.world.clock.now += 1
    watch.use(slug)
    assert watch.culler.notice(slug) is None


async def test_the_seconds_of_a_warning_go_down_between_two_looks(watch: Watch) -> None:
    slug = await watch.started()
    await watch.after(3300)
    watch.world.clock.now += 42.0
    notice = watch.culler.notice(slug)
    assert notice is not None
    assert notice.seconds == 258.0


async def test_keep_of_a_notebook_that_nobody_watches_is_nothing(watch: Watch) -> None:
    assert watch.culler.keep("demo-x-nobody") is None
    assert watch.culler.notice("demo-x-nobody") is None


async def test_one_that_is_long_due_is_warned_of_first(watch: Watch) -> None:
    slug = await watch.started()
    watch.world.clock.now += 1e6
    await watch.culler.look()
    assert watch.culler.notice(slug) is not None
    await watch.after(240)
    assert watch.state(slug) is State.RUNNING
    await watch.after(60)
    assert watch.state(slug) is State.COLD


# -- clocks


@pytest.mark.parametrize("hours", [48, -48])
async def test_a_jump_of_the_wall_clock_ends_nothing(watch: Watch, hours: int) -> None:
    slug = await watch.started()
    watch.told(kernels=watch.kernel("idle"))
    await watch.after(3300)
    watch.jumped = timedelta(hours=hours)
    watch.culler.keep(slug)
    await watch.after(3240)
    assert (watch.state(slug), watch.culler.notice(slug)) == (State.RUNNING, None)
    await watch.after(400)
    assert watch.state(slug) is State.COLD


async def test_last_use_is_recorded_now_and_then(watch: Watch) -> None:
    slug = await watch.started()
    changes: list[str] = []
    watch.world.catalogue.subscribe(lambda slug, _: changes.append(slug))
    for _ in range(60):
        watch.use(slug)
        await watch.after(10, every=10)
    last = watch.world.catalogue.notebook(slug).last_active
    assert last is not None
    assert watch.wall() - timedelta(seconds=130) < last <= watch.wall()
    assert len(changes) <= 6


async def test_after_a_restart_the_record_tells_when_it_was_used(watch: Watch) -> None:
    slug = await watch.started()
    await watch.after(3000)
    watch.use(slug)
    await watch.after(180)
    again = Culler(
        watch.world.catalogue,
        watch.world.lifecycle,
        watch.world.spawner,
        watch.culler._weigher,
        lambda: True,
        watch.did.append,
        60.0,
    )
    watch.activity(slug).last = 0.0
    watch.culler = again
    await watch.after(3000)
    assert (watch.state(slug), again.notice(slug)) == (State.RUNNING, None)
    await watch.after(900)
    assert watch.state(slug) is State.COLD


async def test_it_goes_on_looking_and_is_there_when_something_is_due(watch: Watch) -> None:
    slug = await watch.started()
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        watch.world.clock.now += seconds
        watch.blind = len(waits) % 2 == 0
        if watch.state(slug) is State.COLD:
            raise asyncio.CancelledError

    watch.culler._sleep = sleep
    watch.culler._interval = 47.0
    with pytest.raises(asyncio.CancelledError):
        await watch.culler.run()
    assert set(waits) >= {47.0}
    assert all(1.0 <= wait <= 47.0 for wait in waits)
    assert watch.world.clock.now - 4600.0 <= 4 * 47.0, "every second look is blind"


# -- the last moment


async def test_a_request_at_the_last_moment_is_served(watch: Watch) -> None:
    slug = await watch.started()
    await watch.after(3540)
    lock = watch.world.lifecycle.lock(slug)
    await lock.acquire()
    watch.world.clock.now += 60
    look = asyncio.create_task(watch.culler.look())
    await until(lambda: bool(lock._waiters))
    watch.use(slug)
    lock.release()
    await look
    assert (watch.state(slug), watch.did) == (State.RUNNING, ["spared"])
    assert watch.world.spawner.stopped == []
    assert watch.culler.notice(slug) is None


async def test_a_kernel_that_begins_to_compute_at_the_last_moment_keeps_it(watch: Watch) -> None:
    slug = await watch.started()
    await watch.after(3540)
    lock = watch.world.lifecycle.lock(slug)
    await lock.acquire()
    watch.world.clock.now += 60
    look = asyncio.create_task(watch.culler.look())
    await until(lambda: bool(lock._waiters))
    watch.told(kernels=watch.kernel("busy"))
    lock.release()
    await look
    assert (watch.state(slug), watch.did) == (State.RUNNING, ["spared"])


class LateWorker:
    """A data path whose worker tells what came to it when it has the change that makes it cold."""

    def __init__(self, watch: Watch, slug: str, *, in_flight: int) -> None:
        self.watch = watch
        self.slug = slug
        self.in_flight = in_flight

    async def settled(self) -> None:
        """Nothing waits here."""

    async def drained(self, entry: object) -> None:
        if self.in_flight:
            self.watch.activity(self.slug).requests = self.in_flight
        else:
            self.watch.use(self.slug)

    async def end_sessions(self, session_ids: object) -> None:
        """Nobody's session ends here."""

    def end_use(self, key: str, people: object) -> None:
        """Nobody is shut out here."""


@pytest.mark.parametrize("in_flight", [0, 1])
@pytest.mark.parametrize("tier", [{}, {"pause_after": 3600.0, "idle_timeout": 9000.0}])
async def test_what_came_to_a_worker_just_before_is_not_cut(
    watch: Watch, in_flight: int, tier: dict[str, float]
) -> None:
    slug = await watch.started()
    await lifetimes(watch, **tier)
    await watch.after(3540)
    before = watch.world.routes.entry(f"/nb/{slug}")
    watch.world.routes.attach(LateWorker(watch, slug, in_flight=in_flight))
    await watch.after(60)
    assert watch.did == ["spared"]
    assert (watch.state(slug), watch.world.spawner.stopped) == (State.RUNNING, [])
    assert watch.world.routes.entry(f"/nb/{slug}") == before


async def test_the_route_is_cold_in_the_turn_in_which_it_is_decided(watch: Watch) -> None:
    slug = await watch.started()
    hot_when_stopping: list[bool] = []
    stop = watch.world.spawner.stop

    async def stopping(*args: Any, **options: Any) -> None:
        entry = watch.world.routes.entry(f"/nb/{slug}")
        hot_when_stopping.append(entry is not None and entry.target is not None)
        await stop(*args, **options)

    watch.world.spawner.stop = stopping  # type: ignore[method-assign]
    await watch.after(3700)
    assert hot_when_stopping == [False]


# -- locks, faults, several gateways


async def test_a_locked_notebook_is_left_alone_and_said_to_be(
    watch: Watch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    slug = await watch.started()
    await watch.world.catalogue.lock(slug, "tina", "exam data")
    await watch.after(8000, every=400)
    assert (watch.state(slug), watch.culler.notice(slug)) == (State.RUNNING, None)
    said = [record.getMessage() for record in caplog.records if "left alone" in record.getMessage()]
    assert len(said) == 1
    assert "tina: exam data" in said[0]


async def test_one_that_cannot_be_stopped_does_not_hold_up_the_others(watch: Watch) -> None:
    slugs = [await watch.started(person) for person in ("ann", "bob", "cleo")]
    await watch.after(3540)
    stop = watch.world.spawner.stop

    async def refuse(server: Any, grace: float, *, keep: bool = False) -> None:
        if server.slug == slugs[1]:
            raise EngineError("the device is busy")
        await stop(server, grace, keep=keep)

    watch.world.spawner.stop = refuse  # type: ignore[method-assign]
    await watch.after(60)
    assert sorted(watch.did) == ["failed", "stopped-idle", "stopped-idle"]
    assert {watch.state(slugs[0]), watch.state(slugs[2])} == {State.COLD}


async def test_blind_it_does_nothing(watch: Watch) -> None:
    slug = await watch.started()
    watch.blind = True
    with pytest.raises(DatabaseError):
        await watch.after(7200, every=7200)
    assert watch.state(slug) is State.RUNNING


async def test_who_does_not_lead_tells_its_pages_and_does_not_act(watch: Watch) -> None:
    slug = await watch.started()
    watch.leads = False
    await watch.after(3500)
    assert watch.culler.notice(slug) is not None
    await watch.after(7200, every=300)
    assert (watch.state(slug), watch.did) == (State.RUNNING, [])
    watch.leads = True
    await watch.after(60)
    assert watch.state(slug) is State.COLD


# -- the project's own check


async def test_a_command_may_veto_up_to_the_cap(watch: Watch) -> None:
    slug = await watch.started()
    await lifetimes(watch, still_busy="check --quick 'two words'")
    await watch.after(10000, every=500)
    assert watch.state(slug) is State.RUNNING
    assert list(watch.world.spawner.commands[0]) == ["check", "--quick", "two words"]
    assert set(watch.did) == {"vetoed"}
    watch.world.spawner.exit_code = 1
    await watch.after(4000)
    assert watch.state(slug) is State.COLD


async def test_a_check_that_cannot_be_asked_is_taken_for_busy(watch: Watch) -> None:
    slug = await watch.started()
    await lifetimes(watch, still_busy="check")
    watch.world.spawner.exit_code = None
    await watch.after(10000, every=500)
    assert watch.state(slug) is State.RUNNING


# -- tiers


async def test_it_is_paused_then_stopped_and_kept_then_removed(watch: Watch) -> None:
    slug = await watch.started()
    await lifetimes(watch, pause_after=600.0, remove_after=7200.0)
    await watch.after(600)
    server = await watch.world.spawner.inspect(slug)
    assert server is not None
    assert (server.state, watch.did) == (ServerState.PAUSED, ["paused"])
    await watch.after(3000)
    server = await watch.world.spawner.inspect(slug)
    assert server is not None
    assert (server.state, watch.did[1:]) == (ServerState.EXITED, ["stopped-idle"])
    await watch.after(7140)
    assert await watch.world.spawner.inspect(slug) is not None
    await watch.after(60)
    assert await watch.world.spawner.inspect(slug) is None
    assert watch.did[2:] == ["removed"]


async def test_a_paused_one_comes_back_by_a_request_and_stays(watch: Watch) -> None:
    slug = await watch.started()
    await lifetimes(watch, pause_after=600.0)
    await watch.after(700)
    watch.world.clock.now += 60
    await watch.world.activator.ensure(slug)
    await watch.after(540)
    assert (watch.state(slug), len(watch.world.spawner.stopped)) == (State.RUNNING, 0)
    assert len({spec.generation for spec in watch.world.spawner.starts}) == 1
    await watch.after(120)
    assert watch.did == ["paused", "paused"]


async def test_a_paused_one_that_is_being_woken_is_not_stopped(watch: Watch) -> None:
    slug = await watch.started()
    await lifetimes(watch, pause_after=600.0)
    await watch.after(3540)
    watch.world.spawner.gate.clear()
    start = watch.world.activator.begin(slug)
    watch.world.clock.now += 100
    look = asyncio.create_task(watch.culler.look())
    watch.world.spawner.gate.set()
    await start
    await look
    assert (watch.state(slug), watch.world.spawner.stopped) == (State.RUNNING, [])


async def test_a_kept_one_that_comes_back_is_not_removed(watch: Watch) -> None:
    slug = await watch.started()
    await lifetimes(watch, remove_after=7200.0)
    await watch.after(3700)
    assert watch.state(slug) is State.COLD
    await watch.world.activator.ensure(slug)
    await watch.after(3000)
    assert watch.state(slug) is State.RUNNING
    assert "removed" not in watch.did


async def test_one_whose_start_takes_long_does_not_hold_up_the_others(watch: Watch) -> None:
    crashed, idle = await watch.started("alice"), await watch.started("bob")
    await watch.world.spawner.die(crashed)
    await watch.world.lifecycle.settle(crashed)
    async with watch.world.lifecycle.lock(crashed), asyncio.timeout(PATIENCE):
        await watch.after(7200)
    assert watch.state(idle) is State.COLD
    assert f"{crashed}-1" not in watch.world.spawner.stopped
    await watch.after(60)
    assert f"{crashed}-1" in watch.world.spawner.stopped
