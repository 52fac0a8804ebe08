"""What the waiting page tells of a real engine: the pull of an image, and each way to fail."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.end_to_end.conftest import remove_network
from tests.support.engine import EngineHandle
from tests.support.gateway import GatewayProcess, running, signed_in
from tests.support.places import free_subnet
from tests.support.registry import registry
from tests.support.students import image_that_runs
from tests.support.waiting import PATIENCE

LAYER = 6 << 20


@pytest.fixture
def gateway(
    request: pytest.FixtureRequest, engine: EngineHandle, tmp_path: Path
) -> Iterator[GatewayProcess]:
    """A gateway whose notebooks have little memory, and little time if the test says so."""
    state = tmp_path / "state"
    settings = {
        "spawner": "docker",
        "docker_host": engine.url,
        "network_subnet": free_subnet(),
        "memory": "64M",
        **getattr(request, "param", {}),
    }
    try:
        with running(state, **settings) as process:
            process.nbgate("project", "add", "demo")
            yield process
    finally:
        if (state / "identity.json").exists():
            remove_network(engine.url, state)


@contextlib.asynccontextmanager
async def owner_of(gateway: GatewayProcess, image: str) -> AsyncIterator[aiohttp.ClientSession]:
    """Make a notebook with an image, and sign its owner in."""
    words = ("--project", "demo", "--owner", "kim", "--image", image)
    gateway.nbgate("notebook", "create", "book", *words)
    async with signed_in(gateway.nbgate("notebook", "url", "book")) as client:
        yield client


async def events(gateway: GatewayProcess, client: aiohttp.ClientSession) -> AsyncIterator[Any]:
    """Open the notebook's page; yield what it is told until the start has ended."""
    page = {"Accept": "text/html"}
    async with client.get(f"{gateway.url}/nb/book/lab", headers=page) as answer:
        assert answer.status == 503
    async with asyncio.timeout(PATIENCE):
        async with client.get(f"{gateway.url}/gateway/events/book") as answer:
            async for line in answer.content:
                if line.startswith(b"data: "):
                    yield json.loads(line.removeprefix(b"data: "))


@pytest.mark.parametrize("gateway", [{"start_timeout": "4"}], indirect=True, ids=["hasty"])
async def test_pull_is_told_while_it_goes_on_and_a_server_that_is_never_ready(
    gateway: GatewayProcess, engine: EngineHandle, tmp_path: Path
) -> None:
    folder = tmp_path / "registry"
    folder.mkdir()
    async with registry(folder) as shop:
        image = await asyncio.to_thread(shop.has, engine, "tiny", LAYER, tmp_path)
        shop.stalls = True
        seen = []
        try:
            async with owner_of(gateway, image) as client:
                async for event in events(gateway, client):
                    seen.append(event)
                    if event["progress"]:
                        shop.goes_on.set()
        finally:
            with contextlib.closing(engine.client()) as docker:
                docker.images.remove(image, force=True)
    pulls = [event for event in seen if event["pulling"]]
    assert pulls[0]["step"] == "Fetching the software of this notebook"
    assert any(0 < (event["progress"] or 0) < 1 for event in pulls)
    assert [event["phase"] for event in seen if event["phase"] == "starting"]
    assert seen[-1]["failed"]
    assert "not ready in time" in seen[-1]["detail"]


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("python3", "-c", "print('a word in the log'); raise SystemExit(3)"), "ended while"),
        (("python3", "-c", "bytearray(10**9)"), "more memory than it may"),
        (("sh", "-c", "jupyterlab-of-the-course"), "Jupyter is not in the image"),
        (("/no/such/program",), "Jupyter is not in the image"),
        (("python3", "-c", "import os; os.kill(os.getpid(), 9)"), "It was killed"),
    ],
    ids=["exits", "memory", "not-found", "no-program", "killed"],
)
async def test_end_of_a_server_is_told_in_words(
    gateway: GatewayProcess, engine: EngineHandle, command: tuple[str, ...], words: str
) -> None:
    image = await asyncio.to_thread(image_that_runs, engine, command)
    async with owner_of(gateway, image) as client:
        seen = [event async for event in events(gateway, client)]
    assert seen[-1]["failed"], seen
    assert words in seen[-1]["detail"], seen[-1]
    if "SystemExit" in command[-1]:
        assert "a word in the log" in seen[-1]["log"]


async def test_image_that_cannot_be_had_is_named(gateway: GatewayProcess) -> None:
    async with owner_of(gateway, "127.0.0.1:9/course:1") as client:
        seen = [event async for event in events(gateway, client)]
    assert "not installed on the server" in seen[-1]["detail"]
    assert "127.0.0.1:9/course:1" in seen[-1]["reason"]
