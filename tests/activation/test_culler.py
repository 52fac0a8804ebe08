"""The culler over a real life cycle, with an engine in memory and clocks that a test moves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gateway.access import Namespace
from gateway.activation.culler import Culler, Traffic
from gateway.activation.signals import Signals
from gateway.activation.usage import UsageProbe
from gateway.activation.weighing import Weigher
from gateway.errors import EngineError
from gateway.notebooks.database import DatabaseError
from gateway.notebooks.model import Lifetimes, State
from gateway.proxy.interface import Activity
from gateway.spawners.base import Server, ServerState
from tests.activation.conftest import World
from tests.support.waiting import PATIENCE, until

DEFAULTS = Lifetimes(
    idle_timeout=3600.0,
    max_age=0.0,
    warning=300.0,
    busy_cap=86400.0,
    pause_after=0.0,
    remove_after=0.0,
)


@dataclass
class Watch:
    """A culler, and what it sees.

    Attributes:
        jumped: how far the wall clock has been moved.
        leads: whether its gateway does.
        blind: the traffic cannot be told.
        elsewhere: the traffic of other gateways.
        did: what was counted.
    """

    world: World
    began: datetime
    jumped: timedelta = timedelta()
    leads: bool = True
    blind: bool = False
    elsewhere: dict[str, Traffic] = field(default_factory=dict)
    did: list[str] = field(default_factory=list)
    culler: Culler = field(init=False)

    def wall(self) -> datetime:
        return self.began + timedelta(seconds=self.world.clock() - 1000.0) + self.jumped

    async def traffic(self) -> Mapping[str, Traffic]:
        if self.blind:
            raise DatabaseError("the database is away")
        books = self.world.catalogue.notebooks()
        return {book.slug: self.own_traffic(book.slug) for book in books} | self.elsewhere

    def own_traffic(self, slug: str) -> Traffic:
        activity, now = self.activity(slug), self.world.clock()
        ago = timedelta(seconds=now - activity.last)
        last = self.wall() - ago if activity.last else None
        return Traffic(last, activity.requests, activity.websockets)

    def activity(self, slug: str) -> Activity:
        entry = self.world.routes.entry(f"/nb/{slug}")
        assert entry is not None
        assert entry.activity is not None
        return entry.activity

    def use(self, slug: str) -> None:
        """Be a person."""
        self.activity(slug).last = self.world.clock()

    async def started(self, person: str = "alice") -> str:
        """Start a notebook, by a person's request; return its slug."""
        slug = await self.world.notebook(person)
        self.use(slug)
        await self.world.activator.ensure(slug)
        # Its start is told by the real clock; here no time has passed.
        began = self.world.catalogue.notebook(slug).started
        assert began is not None
        self.began = began - timedelta(seconds=self.world.clock() - 1000.0)
        return slug

    async def after(self, seconds: float, every: float = 60.0) -> None:
        """Let time pass, with a look now and then and one at the end."""
        end = self.world.clock.now + seconds
        while self.world.clock.now < end:
            self.world.clock.now = min(end, self.world.clock.now + every)
            await self.culler.look()

    def state(self, slug: str) -> State:
        return self.world.catalogue.notebook(slug).state

    def told(self, **doing: list[dict[str, Any]]) -> None:
        """Have servers tell this of themselves."""
        self.world.spawner.doing = {"kernels": [], "terminals": []} | doing

    def kernel(self, state: str = "idle", ago: float = 0.0) -> list[dict[str, Any]]:
        last = self.wall() - timedelta(seconds=ago)
        return [{"execution_state": state, "last_activity": last.isoformat()}]


@pytest.fixture
async def watch(world: World) -> AsyncIterator[Watch]:
    made = Watch(world, datetime.now(UTC))
    probe = UsageProbe()
    signals = Signals(
        probe,
        world.spawner,
        world.spaces,
        Namespace().base_url,
        world.clock,
        made.wall,
        direct=False,
        vetoed=lambda: made.did.append("vetoed"),
    )
    weigher = Weigher(
        world.catalogue,
        signals,
        lambda slug: world.routes.entry(f"/nb/{slug}"),
        DEFAULTS,
        made.traffic,
        world.clock,
        made.wall,
    )
    made.culler = Culler(
        world.catalogue,
        world.lifecycle,
        world.spawner,
        weigher,
        lambda: made.leads,
        made.did.append,
        60.0,
    )
    yield made
    await probe.close()


async def lifetimes(watch: Watch, **changes: Any) -> None:
    await watch.world.catalogue.update_project("demo", lifetimes=Lifetimes(**changes))


# -- idle or not


async def test_unused_notebook_is_warned_of_and_stopped(watch: Watch) -> None:
    slug = await watch.started()
    await watch.after(3240)
    assert watch.culler.notice(slug) is None
    await watch.after(60)
    notice = watch.culler.notice(slug)
    assert notice is not None
    assert (notice.kind, notice.seconds) == ("warning", 300.0)
    assert notice.reason == "nobody has used it for 55 minutes"
    assert watch.state(slug) is State.RUNNING
    await watch.after(300)
    assert (watch.state(slug), watch.did) == (State.COLD, ["stopped-idle"])
    assert watch.culler.notice(slug) is None


async def test_open_websockets_and_polling_do_not_keep_it(watch: Watch) -> None:
    slug = await watch.started()
    watch.activity(slug).websockets = 3
    watch.told(kernels=watch.kernel())
    await watch.after(7500, every=300)
    assert watch.state(slug) is State.COLD


async def test_a_person_keeps_it_and_the_server_is_asked_nothing(watch: Watch) -> None:
    slug = await watch.started()
    watch.world.spawner.doing = None
    asked = watch.world.spawner.asked
    for _ in range(20):
        watch.use(slug)
        await watch.after(3000, every=3000)
    assert watch.state(slug) is State.RUNNING
    assert watch.world.spawner.asked - asked == 20  # what is paused or kept, once for each look


async def test_a_busy_kernel_keeps_it_up_to_the_cap(watch: Watch) -> None:
    slug = await watch.started()
    watch.told(kernels=watch.kernel("busy"))
    await watch.after(86000, every=300)
    assert watch.state(slug) is State.RUNNING
    await watch.after(600)
    assert watch.state(slug) is State.COLD


async def test_a_kernel_that_has_ended_its_work_is_idle_from_then_on(watch: Watch) -> None:
    slug = await watch.started()
    watch.told(kernels=watch.kernel("busy"))
    await watch.after(7200, every=300)
    watch.told(kernels=watch.kernel("idle"))
    await watch.after(3540)
    assert watch.state(slug) is State.RUNNING
    await watch.after(60)
    assert watch.state(slug) is State.COLD


async def test_output_and_programs_of_terminals_keep_it(watch: Watch) -> None:
    slug = await watch.started()
    prompt = {"name": "1", "last_activity": watch.wall().isoformat()}
    watch.told(terminals=[prompt])
    watch.world.spawner.exit_code = 0
    await watch.after(7200, every=300)
    assert watch.state(slug) is State.RUNNING
    watch.world.spawner.exit_code = 1
    await watch.after(7200, every=300)
    assert watch.state(slug) is State.COLD


@pytest.mark.parametrize("code", [None, 126, 137, EngineError("it is busy")])
async def test_terminal_that_cannot_be_looked_at_keeps_it_up_to_the_cap(
    watch: Watch, monkeypatch: pytest.MonkeyPatch, code: int | EngineError | None
) -> None:
    slug = await watch.started()
    watch.told(terminals=[{"name": "1", "last_activity": watch.wall().isoformat()}])

    async def execute(server: Server, command: Sequence[str], deadline: float) -> int | None:
        if isinstance(code, EngineError):
            raise code
        return code

    monkeypatch.setattr(watch.world.spawner, "execute", execute)
    await watch.after(86000, every=300)
    assert watch.state(slug) is State.RUNNING
    await watch.after(600)
    assert watch.state(slug) is State.COLD


async def test_files_that_change_keep_it(watch: Watch) -> None:
    slug = await watch.started()
    note = watch.world.spaces.path(slug) / "result.csv"
    await watch.after(3240)
    # A file has the time of the real clock, so that one is moved to it.
    watch.began = datetime.now(UTC) - timedelta(seconds=3200)
    note.write_text("a script's")
    await watch.after(600)
    assert watch.state(slug) is State.RUNNING
    await watch.after(3600)
    assert watch.state(slug) is State.COLD


async def test_a_download_keeps_it(watch: Watch) -> None:
    slug = await watch.started()
    watch.activity(slug).requests = 1
    await watch.after(7200, every=300)
    assert watch.state(slug) is State.RUNNING
    watch.activity(slug).requests = 0
    await watch.after(4000)
    assert watch.state(slug) is State.COLD


async def test_a_poll_that_is_in_flight_at_a_look_does_not_keep_it(watch: Watch) -> None:
    slug = await watch.started()
    await watch.after(3540)
    watch.activity(slug).requests = 1
    await watch.after(60)
    assert (watch.state(slug), watch.did) == (State.RUNNING, ["spared"])
    watch.activity(slug).requests = 0
    await watch.after(1)
    assert (watch.state(slug), watch.did) == (State.COLD, ["spared", "stopped-idle"])


async def test_an_open_stream_keeps_it_up_to_the_cap_and_the_greatest_age(watch: Watch) -> None:
    slug = await watch.started()
    await lifetimes(watch, busy_cap=7200.0)
    watch.activity(slug).requests = 1
    await watch.after(7140)
    assert watch.state(slug) is State.RUNNING
    await watch.after(660)
    assert (watch.state(slug), watch.did) == (State.COLD, ["stopped-idle"])
    await lifetimes(watch, max_age=1800.0)
    await watch.world.activator.ensure(slug)
    watch.use(slug)
    await watch.after(2400)
    assert watch.did == ["stopped-idle", "stopped-age"]


async def test_people_at_another_gateway_keep_it(watch: Watch) -> None:
    slug = await watch.started()
    for _ in range(10):
        watch.elsewhere[slug] = Traffic(watch.wall())
        await watch.after(1800)
    assert watch.state(slug) is State.RUNNING


async def test_greatest_age_stops_it_though_it_is_used(watch: Watch) -> None:
    slug = await watch.started()
    await lifetimes(watch, max_age=7200.0)
    for _ in range(115):
        watch.use(slug)
        await watch.after(60)
    notice = watch.culler.notice(slug)
    assert notice is not None
    assert "as long as it may" in notice.reason
    assert watch.culler.keep(slug) == notice
    await watch.after(300)
    assert (watch.state(slug), watch.did) == (State.COLD, ["stopped-age"])


async def test_a_project_may_have_no_idle_timeout(watch: Watch) -> None:
    slug = await watch.started()
    await lifetimes(watch, idle_timeout=0.0)
    await watch.after(1e6, every=1e5)
    assert watch.state(slug) is State.RUNNING


async def test_where_httpd_serves_directly_work_is_a_sign_of_a_person(watch: Watch) -> None:
    watch.culler._weigher._signals._direct = True
    slug = await watch.started()
    for _ in range(40):
        watch.told(kernels=watch.kernel("idle"))
        await watch.after(3000, every=3000)
    assert watch.state(slug) is State.RUNNING


# -- a server that does not answer


async def test_a_server_that_never_told_anything_is_not_idle_for_its_silence(watch: Watch) -> None:
    slug = await watch.started()
    watch.world.spawner.doing = None
    await watch.after(80000, every=300)
    assert watch.state(slug) is State.RUNNING
    await watch.after(7000)
    assert watch.state(slug) is State.COLD


async def test_a_server_that_hung_while_it_was_busy_counts_as_busy(watch: Watch) -> None:
    slug = await watch.started()
    watch.told(kernels=watch.kernel("busy"))
    await watch.after(3600)
    watch.world.spawner.doing = None
    await watch.after(36000, every=300)
    assert watch.state(slug) is State.RUNNING


async def test_a_server_that_hung_while_it_was_idle_is_decided_by_the_rest(watch: Watch) -> None:
    slug = await watch.started()
    await watch.after(3400)
    watch.world.spawner.doing = None
    await watch.after(400)
    assert watch.state(slug) is State.COLD


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
