"""Containers that are killed while they are used, and ones that misbehave from the start."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Iterable, Iterator
from pathlib import Path

import aiohttp
import pytest

from tests.spawners.helpers import eventually
from tests.support.engine import EngineHandle
from tests.support.faults import PROJECT, StubGateway, stub_gateway
from tests.support.waiting import PATIENCE

BEHAVIOURS = ("slow", "exits", "floods", "deaf", "dies")
NEVER_READY = ("silent", "errors")


@pytest.fixture(scope="module")
def gateway(
    tmp_path_factory: pytest.TempPathFactory, engine: EngineHandle, misbehaving_image: str
) -> Iterator[StubGateway]:
    """With a project of each behaviour."""
    state = tmp_path_factory.mktemp("containers") / "state"
    with stub_gateway(state, engine, misbehaving_image, starts_at_once="4") as running:
        add_projects(running, BEHAVIOURS)
        yield running


@pytest.fixture(scope="module")
def hasty(
    tmp_path_factory: pytest.TempPathFactory, engine: EngineHandle, misbehaving_image: str
) -> Iterator[StubGateway]:
    """It gives up what is not ready after seconds; well's notebook is, and runs already."""
    state = tmp_path_factory.mktemp("hasty") / "state"
    with stub_gateway(state, engine, misbehaving_image, starts_at_once="4") as running:
        add_projects(running, NEVER_READY)
        running.nbgate("notebook", "url", "--project", PROJECT, "--person", "hot")
        running.nbgate("notebook", "start", f"{PROJECT}-x-hot")
        running.stop()
        running.environment["NBGATE_START_TIMEOUT"] = "10"
        yield running.start()


def add_projects(gateway: StubGateway, behaviours: Iterable[str]) -> None:
    for behaviour in behaviours:
        gateway.nbgate("project", "add", project_of(behaviour), "--env", f"STUB={behaviour}")


def project_of(behaviour: str) -> str:
    return f"{PROJECT}-{behaviour}"


def container_of(gateway: StubGateway, slug: str) -> list[str]:
    return [item.id for item in gateway.containers() if item.labels["org.nbgate.slug"] == slug]


def kill(gateway: StubGateway, container: str) -> None:
    with gateway.client() as client:
        client.api.kill(container)


async def works(client: aiohttp.ClientSession, url: str) -> None:
    async with client.get(url) as answer:
        assert (answer.status, await answer.text()) == (200, "{}")


def wait_for_end(gateway: StubGateway, container: str) -> int:
    """Return the exit status."""
    with gateway.client() as client:
        return int(client.api.wait(container, timeout=int(PATIENCE))["StatusCode"])


async def test_killed_in_mid_request(gateway: StubGateway) -> None:
    slug = f"{PROJECT}-x-half"
    async with gateway.person("half") as client:
        async with client.get(gateway.page("half", "half")) as answer:
            assert answer.status == 200
            assert await answer.content.readexactly(500) == b"x" * 500
            (before,) = await asyncio.to_thread(container_of, gateway, slug)
            await asyncio.to_thread(kill, gateway, before)
            with pytest.raises(aiohttp.ClientPayloadError):  # it sees that this is not all
                await answer.read()
        await works(client, gateway.page("hello", "half"))
        (after,) = await asyncio.to_thread(container_of, gateway, slug)
        assert after != before


async def test_deaf_to_sigterm_is_killed_when_its_time_is_over(gateway: StubGateway) -> None:
    project = project_of("deaf")
    slug = f"{project}-x-dora"
    async with gateway.person("dora", project) as client:
        await works(client, gateway.page("hello", "dora", project))
        (container,) = await asyncio.to_thread(container_of, gateway, slug)
        end = asyncio.create_task(asyncio.to_thread(wait_for_end, gateway, container))
        await gateway.stop_notebook(slug)
        assert await end == 128 + signal.SIGKILL
        assert await asyncio.to_thread(container_of, gateway, slug) == []


async def test_killed_in_mid_websocket(gateway: StubGateway) -> None:
    slug = f"{PROJECT}-x-socket"
    async with gateway.person("socket") as client:
        async with client.ws_connect(gateway.page("socket", "socket")) as socket:
            assert await socket.receive_str() == "hello"
            (before,) = await asyncio.to_thread(container_of, gateway, slug)
            await asyncio.to_thread(kill, gateway, before)
            ended = await socket.receive()
            assert ended.type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.CLOSE)
        await works(client, gateway.page("hello", "socket"))
        (after,) = await asyncio.to_thread(container_of, gateway, slug)
        assert after != before


async def test_one_that_is_killed_takes_nobody_with_it(gateway: StubGateway) -> None:
    async with gateway.person("first") as first, gateway.person("second") as second:
        await works(first, gateway.page("hello", "first"))
        async with second.ws_connect(gateway.page("socket", "second")) as socket:
            assert await socket.receive_str() == "hello"
            (victim,) = await asyncio.to_thread(container_of, gateway, f"{PROJECT}-x-first")
            await asyncio.to_thread(kill, gateway, victim)
            await works(first, gateway.page("hello", "first"))
            assert not socket.closed
            await works(second, gateway.page("hello", "second"))


async def test_one_that_ends_at_once_is_told_and_removed(gateway: StubGateway) -> None:
    await failure_is_told(gateway, "exits", "3", other="well")
    again = gateway.run("notebook", "start", f"{project_of('exits')}-x-alice")
    assert again.returncode == 1
    assert "the stub gives up" in again.stderr, "the operator sees the end of its log"


@pytest.mark.parametrize("behaviour", NEVER_READY)
async def test_one_that_never_comes_up_is_told_and_removed(
    hasty: StubGateway, behaviour: str
) -> None:
    await failure_is_told(hasty, behaviour, "not ready within 10 s", other="hot")


async def failure_is_told(gateway: StubGateway, behaviour: str, reason: str, other: str) -> None:
    """Start a notebook that fails while another person's works."""
    project = project_of(behaviour)
    slug = f"{project}-x-alice"
    async with gateway.person(project=project) as client, gateway.person(other) as somebody:
        url = gateway.page("hello", project=project)
        failing = asyncio.create_task(client.get(url).__aenter__())
        await works(somebody, gateway.page("hello", other))
        answer = await failing
        problem = await answer.json(content_type=None)
        answer.release()
        assert (answer.status, problem["type"]) == (503, "about:blank#start-failed")
        assert reason in problem["detail"]
        assert "Retry-After" in answer.headers
        assert await asyncio.to_thread(container_of, gateway, slug) == [], "nothing is left of it"
        record = await gateway.record(slug)
        assert record["state"] == "failed"


async def test_one_that_dies_behind_its_probe_is_made_anew(gateway: StubGateway) -> None:
    """The first request may find it dead, dying (the engine's own proxy of the port), or gone."""
    project = project_of("dies")
    slug = f"{project}-x-alice"
    async with gateway.person(project=project) as client:

        async def is_served() -> bool:
            async with client.get(gateway.page("hello", project=project)) as answer:
                assert answer.status in (200, 502, 503)
                return answer.status == 200

        await eventually(is_served, "it runs again")
    assert (await gateway.record(slug))["generation"] == 2
    assert len(await asyncio.to_thread(container_of, gateway, slug)) == 1


async def test_one_that_answers_slowly_is_waited_for(gateway: StubGateway) -> None:
    project = project_of("slow")
    async with gateway.person(project=project) as client:
        await works(client, gateway.page("hello", project=project))


async def test_one_that_floods_its_log_fills_no_disk(gateway: StubGateway) -> None:
    project = project_of("floods")
    slug = f"{project}-x-alice"
    async with gateway.person(project=project) as client:
        await works(client, gateway.page("hello", project=project))
        with gateway.client() as engine:
            (container,) = await asyncio.to_thread(container_of, gateway, slug)
            log = Path(engine.api.inspect_container(container)["LogPath"])

        sizes: list[int] = []

        async def rotated() -> bool:
            with contextlib.suppress(FileNotFoundError):  # it may be renamed meanwhile
                sizes[:] = [file.stat().st_size for file in log.parent.glob("*-json.log*")]
            return len(sizes) > 1

        await eventually(rotated, "the engine has begun a second file")
        assert len(sizes) == 2
        assert sum(sizes) < 16 * 2**20
        tail = await asyncio.to_thread(gateway.nbgate, "notebook", "logs", slug, "-n", "3")
        assert tail.splitlines() == ["x" * 200] * 3
        await works(client, gateway.page("hello", project=project))
        await gateway.stop_notebook(slug)
        assert await asyncio.to_thread(container_of, gateway, slug) == []
