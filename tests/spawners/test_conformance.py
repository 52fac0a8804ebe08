"""What every spawner does alike, on real processes and on a real engine."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gateway.errors import EngineError, EngineUnavailable
from gateway.spawners.base import Change, Server, ServerEvent, ServerSpec, ServerState, Spawner
from gateway.spawners.process import ProcessSpawner
from tests.spawners.helpers import SECRET, Workshop, cut_off, until_ready
from tests.spawners.processes import pid_of
from tests.support.waiting import PATIENCE


@dataclass(frozen=True, slots=True)
class Case:
    """One kind of spawner.

    Attributes:
        spawner: a new one; a gateway that was started again.
        spec: of a notebook with a space of its own.
        kill: ends a server behind the spawner's back.
        ready: the path that answers 200 once it is ready.
    """

    spawner: Callable[[], Spawner]
    spec: Callable[[], ServerSpec]
    kill: Callable[[Server], None]
    ready: Callable[[ServerSpec], str]


@pytest.fixture(params=["process", pytest.param("docker", marks=pytest.mark.engine)])
async def case(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Case]:
    if request.param == "process":
        async with processes(tmp_path) as made:
            yield made
        return
    engine = request.getfixturevalue("engine")
    workshop = Workshop(engine, tmp_path, request.getfixturevalue("stub_image"))

    def kill(server: Server) -> None:
        with contextlib.closing(engine.client()) as client:
            client.containers.get(server.id).kill()

    yield Case(workshop.spawner, workshop.spec, kill, lambda _: "/")
    await workshop.clean()


@contextlib.asynccontextmanager
async def processes(folder: Path) -> AsyncIterator[Case]:
    made: list[ProcessSpawner] = []

    def spawner() -> ProcessSpawner:
        made.append(ProcessSpawner(folder / "state"))
        return made[-1]

    def spec() -> ServerSpec:
        space = folder / "space"
        space.mkdir(exist_ok=True)
        return ServerSpec("demo", 1, "", "/nb/demo/", SECRET, "Alice", space)

    def kill(server: Server) -> None:
        os.kill(pid_of(server), signal.SIGKILL)

    yield Case(spawner, spec, kill, lambda spec: f"{spec.base_url}api/status")
    for one in [*made, spawner()]:
        for server in await one.list():
            await one.stop(server, grace=5)
        await one.close()


async def test_server_tells_its_times_and_the_engines_word(case: Case) -> None:
    before = datetime.now(UTC)

    server = await case.spawner().start(case.spec())

    margin = timedelta(seconds=5)  # clocks of processes have ticks, lists whole seconds
    assert server.status == "running"
    assert server.created is not None
    assert server.started is not None
    assert before - margin <= server.created <= server.started <= datetime.now(UTC) + margin


async def test_paused_server_goes_on_with_the_next_start(case: Case) -> None:
    spawner, spec = case.spawner(), case.spec()
    server = await spawner.start(spec)
    await until_ready(server, case.ready(spec))

    await spawner.pause(server)
    await spawner.pause(server)

    paused = await spawner.inspect(spec.slug)
    assert paused is not None
    assert (paused.state, paused.id, paused.target) == (
        ServerState.PAUSED,
        server.id,
        server.target,
    )
    assert [one.state for one in await spawner.list()] == [ServerState.PAUSED]
    again = await case.spawner().start(spec)
    assert (again.state, again.id) == (ServerState.RUNNING, server.id)
    await until_ready(again, case.ready(spec))


async def test_paused_server_ends_gently(case: Case) -> None:
    spawner, spec = case.spawner(), case.spec()
    server = await spawner.start(spec)
    await until_ready(server, case.ready(spec))
    await spawner.pause(server)

    await spawner.stop(server, grace=PATIENCE, keep=True)

    kept = await spawner.inspect(spec.slug)
    assert kept is not None
    assert kept.state is ServerState.EXITED
    assert "kill" not in kept.reason.lower()


async def test_server_that_does_not_run_cannot_be_paused(case: Case) -> None:
    spawner, spec = case.spawner(), case.spec()
    server = await spawner.start(spec)
    await spawner.stop(server, grace=5, keep=True)

    with pytest.raises(EngineError):
        await spawner.pause(server)


async def test_kept_server_starts_again(case: Case) -> None:
    spawner, spec = case.spawner(), case.spec()
    server = await spawner.start(spec)

    await spawner.stop(server, grace=5, keep=True)

    kept = await spawner.inspect(spec.slug)
    assert kept is not None
    assert (kept.id, kept.state, kept.target) == (server.id, ServerState.EXITED, None)
    again = await spawner.start(spec)
    assert again.state is ServerState.RUNNING
    await until_ready(again, case.ready(spec))
    await spawner.stop(again, grace=5)
    assert await spawner.inspect(spec.slug) is None


async def test_watch_tells_what_the_spawner_does(case: Case) -> None:
    spawner, spec = case.spawner(), case.spec()
    async with spawner.watch(None) as events:
        server = await spawner.start(spec)
        await spawner.pause(server)
        await spawner.start(spec)
        await spawner.stop(server, grace=5)

        told = await collect(events, Change.REMOVED)

    assert [event.change for event in told] == [
        Change.STARTED,
        Change.PAUSED,
        Change.RESUMED,
        Change.ENDED,
        Change.REMOVED,
    ]
    assert {(event.id, event.slug) for event in told} == {(server.id, spec.slug)}
    moments = [event.moment for event in told]
    assert moments == sorted(moments)


async def test_watch_tells_of_a_server_that_is_killed(case: Case) -> None:
    spec = case.spec()
    server = await case.spawner().start(spec)
    async with case.spawner().watch(None) as events:  # a later gateway, which did not start it
        await asyncio.to_thread(case.kill, server)

        told = await collect(events, Change.ENDED)

    assert [(event.id, event.change) for event in told] == [(server.id, Change.ENDED)]


async def test_watch_resumes_with_the_last_event_that_was_seen(case: Case) -> None:
    spawner, spec = case.spawner(), case.spec()
    async with spawner.watch(None) as events:
        server = await spawner.start(spec)
        started = (await collect(events, Change.STARTED))[-1]
    await spawner.stop(server, grace=5)  # nobody watches

    async with spawner.watch(started.moment) as events:
        told = await collect(events, Change.REMOVED)

    assert told[0] == started
    assert [event.change for event in told[1:]] == [Change.ENDED, Change.REMOVED]


async def test_watch_from_now_tells_nothing_of_before(case: Case) -> None:
    spawner, spec = case.spawner(), case.spec()
    server = await spawner.start(spec)
    async with spawner.watch(None) as events:
        await spawner.stop(server, grace=5)

        told = await collect(events, Change.REMOVED)

    assert [event.change for event in told] == [Change.ENDED, Change.REMOVED]


async def test_watch_that_is_left_or_cancelled_leaves_no_thread(case: Case) -> None:
    spawner = case.spawner()
    await spawner.open()

    async def wait_for_events() -> None:
        async with spawner.watch(None) as events:
            entered.set()
            async for _ in events:
                pass

    for _ in range(3):
        entered = asyncio.Event()
        watching = asyncio.create_task(wait_for_events(), name="watch")
        await entered.wait()
        watching.cancel()
        await asyncio.wait([watching])

    assert [one.name for one in threading.enumerate() if "events" in one.name] == []


async def test_watch_ends_when_the_spawner_closes(case: Case) -> None:
    spawner = case.spawner()
    async with spawner.watch(None) as events:
        await spawner.close()
        with pytest.raises(EngineUnavailable):
            await asyncio.wait_for(anext(events), PATIENCE)


async def test_command_runs_in_the_server_as_its_user(case: Case) -> None:
    spawner, spec = case.spawner(), case.spec()
    server = await spawner.start(spec)
    owner = spec.space.stat().st_uid
    script = f"touch here && test $(id -u) = {owner} && exit 3"

    assert await spawner.execute(server, ["sh", "-c", script], PATIENCE) == 3
    assert (spec.space / "here").is_file()
    assert await spawner.execute(server, ["true"], PATIENCE) == 0


async def test_command_that_does_not_end_is_killed_at_the_deadline(case: Case) -> None:
    spawner, spec = case.spawner(), case.spec()
    server = await spawner.start(spec)

    await cut_off(spawner, server, spec)


async def test_command_that_cannot_run_has_no_exit_code(case: Case) -> None:
    spawner, spec = case.spawner(), case.spec()
    server = await spawner.start(spec)

    assert await spawner.execute(server, ["no-such-command"], PATIENCE) is None
    await spawner.pause(server)
    assert await spawner.execute(server, ["true"], PATIENCE) is None
    await spawner.stop(server, grace=5, keep=True)
    assert await spawner.execute(server, ["true"], PATIENCE) is None
    await spawner.stop(server, grace=5)
    assert await spawner.execute(server, ["true"], PATIENCE) is None


async def test_command_has_no_secret_of_the_gateway(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NBGATE_DATABASE_URL", "postgresql://secret")
    spawner = case.spawner()
    server = await spawner.start(case.spec())

    script = 'test -z "$NBGATE_DATABASE_URL$NBGATE_CHILD_TOKEN$NBGATE_CHILD_ORDER"'

    assert await spawner.execute(server, ["sh", "-c", script], PATIENCE) == 0


async def test_sweep_leaves_what_runs_and_what_was_kept(case: Case) -> None:
    spawner, spec = case.spawner(), case.spec()
    server = await spawner.start(spec)

    assert list(await spawner.sweep(0)) == []
    assert (await spawner.inspect(spec.slug)) == server
    await spawner.stop(server, grace=5, keep=True)
    assert list(await spawner.sweep(0)) == []
    kept = await spawner.inspect(spec.slug)
    assert kept is not None
    assert kept.state is ServerState.EXITED


async def collect(events: AsyncIterator[ServerEvent], last: Change) -> list[ServerEvent]:
    """Return the events up to the first of `last`."""
    told: list[ServerEvent] = []
    async with asyncio.timeout(PATIENCE):
        async for event in events:
            told.append(event)
            if event.change is last:
                return told
    raise AssertionError(f"no event {last}")
