"""What goes wrong at an engine and in containers, as the spawner meets it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.errors import EngineUnavailable
from gateway.spawners.base import Change, ServerEvent, ServerState
from gateway.spawners.engine import Engine
from gateway.spawners.engine_stream import keep_alive
from tests.spawners.helpers import Workshop, eventually
from tests.spawners.restartable import RestartableEngine, restartable_engine
from tests.spawners.test_docker import image_that_runs
from tests.support.engine import EngineHandle
from tests.support.waiting import PATIENCE, until

LINES = 3_000_000
LINE = "0123456789"


@pytest.fixture
async def own(engine: EngineHandle) -> AsyncIterator[RestartableEngine]:
    """An engine of the test's own; where the shared one can be had, this can."""
    manager = restartable_engine()
    made = await asyncio.to_thread(manager.__enter__)
    yield made
    await asyncio.to_thread(manager.__exit__, None, None, None)


async def test_engine_that_restarts_is_used_again_by_itself(
    own: RestartableEngine, tmp_path: Path
) -> None:
    image = await asyncio.to_thread(own.has, "nbgate-test/stay")
    workshop = Workshop(own.handle, tmp_path, image)
    spawner = workshop.spawner()
    spec = workshop.spec()
    before = await spawner.start(spec)
    told: list[ServerEvent] = []

    async with spawner.watch(None) as events:
        stopping = asyncio.create_task(asyncio.to_thread(own.stop), name="stop")
        with pytest.raises(EngineUnavailable):
            await asyncio.wait_for(follow(events, told), PATIENCE)
    await stopping

    assert [event.change for event in told] in ([], [Change.ENDED])
    assert [one.name for one in threading.enumerate() if "events" in one.name] == []
    with pytest.raises(EngineUnavailable):
        await spawner.inspect(spec.slug)
    with pytest.raises(EngineUnavailable):
        async with spawner.watch(None):
            pass
    await asyncio.to_thread(own.start)
    found = await spawner.inspect(spec.slug)
    assert found is not None
    assert (found.id, found.state) == (before.id, ServerState.EXITED)
    async with spawner.watch(told[-1].moment if told else None) as events:
        again = await spawner.start(spec)
        async with asyncio.timeout(PATIENCE):
            while (event := await anext(events)).change is not Change.STARTED:
                pass
    assert (again.state, event.id) == (ServerState.RUNNING, again.id)
    await workshop.clean()


async def test_watch_may_be_silent_for_longer_than_any_deadline(engine: EngineHandle) -> None:
    docker = Engine(engine.url)
    nothing = {"filters": '{"label": ["org.nbgate.installation=nobody"]}'}
    try:
        async with docker.stream("GET", "/events", nothing, deadline=6.0) as lines:
            with pytest.raises(TimeoutError):  # the test's own, not an end of the stream
                await asyncio.wait_for(anext(lines), 7.0)
    finally:
        await docker.close()


async def test_watch_tells_of_its_own_installation_alone(workshop: Workshop) -> None:
    other = Workshop(workshop.engine, workshop.root, workshop.image)
    try:
        async with workshop.spawner().watch(None) as events:
            theirs = await other.spawner().start(other.spec())
            mine = await workshop.spawner().start(workshop.spec())
            async with asyncio.timeout(PATIENCE):
                first = await anext(events)
        assert (first.id, first.change) == (mine.id, Change.STARTED)
        assert theirs.id != mine.id
    finally:
        await other.clean()


async def test_kernel_out_of_memory_is_logged_while_its_server_goes_on(
    workshop: Workshop, caplog: pytest.LogCaptureFixture
) -> None:
    greedy = "python3 -c 'x = bytearray(2**28)'; sleep 1000"
    image = await image_that_runs(workshop, greedy)
    spawner, spec = workshop.spawner(), workshop.spec(image=image, memory=32 << 20)
    told: list[ServerEvent] = []

    async with spawner.watch(None) as events:
        following = asyncio.create_task(follow(events, told), name="follow")
        await spawner.start(spec)
        await until(lambda: "a process was killed: out of memory" in caplog.text)
        following.cancel()
        await asyncio.wait([following])

    assert [event.change for event in told] == [Change.STARTED]
    found = await spawner.inspect(spec.slug)
    assert found is not None
    assert found.state is ServerState.RUNNING


async def test_log_that_is_flooded_is_bounded_and_its_end_can_be_had(workshop: Workshop) -> None:
    flood = f"yes {LINE} | head -n {LINES}; echo; echo dry; exec sleep 1000"
    image = await image_that_runs(workshop, flood)
    spawner = workshop.spawner()
    server = await spawner.start(workshop.spec(image=image))

    during = await spawner.logs(server, 20)

    assert len(during.splitlines()) <= 20

    async def dry() -> bool:
        return (await spawner.logs(server, 1)).strip() == "dry"

    await eventually(dry, "the flood ends")
    assert (await spawner.logs(server, 3)).splitlines() == [LINE, "", "dry"]
    data = await spawner.engine.call(lambda api: api.inspect_container(server.id))
    files = list(Path(data["LogPath"]).parent.glob("*.log*"))
    assert 1 <= len(files) <= 2
    assert sum(file.stat().st_size for file in files) < 12 << 20


async def test_server_that_exits_at_once_is_told_with_its_reason(workshop: Workshop) -> None:
    image = await image_that_runs(workshop, "echo no such notebook >&2; exit 7")
    spawner, spec = workshop.spawner(), workshop.spec(image=image)

    async with spawner.watch(None) as events:
        await spawner.start(spec)
        async with asyncio.timeout(PATIENCE):
            while (await anext(events)).change is not Change.ENDED:
                pass

    found = await spawner.inspect(spec.slug)
    assert found is not None
    assert (found.state, found.exit_code, found.reason, found.status) == (
        ServerState.EXITED,
        7,
        "ended with status 7",
        "exited",
    )
    assert await spawner.logs(found, 5) == "no such notebook\n"


def test_connections_to_engines_elsewhere_are_kept_alive() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        contextlib.closing(socket.create_connection(server.getsockname())) as connection,
    ):
        keep_alive(connection)

        assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        idle = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)
        assert 0 < idle <= 60


async def follow(events: AsyncIterator[ServerEvent], told: list[ServerEvent]) -> None:
    async for event in events:
        told.append(event)  # noqa: PERF401  kept where the iterator raises
