"""The engine goes away and comes back, with its containers alive or dead."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.engine import EngineHandle
from tests.support.faults import PROJECT, EngineDoor, StubGateway, stub_gateway
from tests.support.waiting import PATIENCE


@pytest.fixture
def door(tmp_path: Path, engine: EngineHandle) -> Iterator[EngineDoor]:
    made = EngineDoor(tmp_path / "engine.sock", engine).open()
    yield made
    made.shut()


@pytest.fixture
def gateway(
    tmp_path: Path, engine: EngineHandle, door: EngineDoor, misbehaving_image: str
) -> Iterator[StubGateway]:
    settings = {"docker_host": door.handle.url}
    with stub_gateway(tmp_path / "state", engine, misbehaving_image, **settings) as running:
        yield running


async def back(gateway: StubGateway, name: str) -> None:
    """Ask for a notebook until the engine is used again; nothing else is done to the gateway."""
    async with asyncio.timeout(PATIENCE), gateway.person(name) as client:
        while True:
            async with client.get(gateway.page("hello", name)) as answer:
                if answer.status == 200:
                    return
                assert answer.status == 503
            await asyncio.sleep(0.05)


async def test_hot_routes_go_on_while_the_engine_is_away(
    gateway: StubGateway, door: EngineDoor
) -> None:
    async with gateway.person("hot") as hot, gateway.person("cold") as cold:
        async with hot.get(gateway.page("hello", "hot")) as answer:
            assert answer.status == 200
        before = await gateway.record(f"{PROJECT}-x-hot")
        async with hot.ws_connect(gateway.page("socket", "hot")) as socket:
            assert await socket.receive_str() == "hello"
            door.shut()
            async with hot.get(gateway.page("hello", "hot")) as answer:
                assert answer.status == 200
            async with cold.get(gateway.page("hello", "cold")) as answer:
                problem = await answer.json(content_type=None)
                assert answer.status == 503
                assert "does not answer" in problem["detail"]
                assert "Retry-After" in answer.headers
            door.open()
            await back(gateway, "cold")
            assert not socket.closed
        after = await gateway.record(f"{PROJECT}-x-hot")
        assert after["container_id"] == before["container_id"]
        assert after["state"] == "running"
    assert len(gateway.containers()) == 2


async def test_engine_that_restarts_and_ends_its_containers(
    gateway: StubGateway, door: EngineDoor
) -> None:
    async with gateway.person() as client:
        async with client.get(gateway.page("hello")) as answer:
            assert answer.status == 200
        (before,) = await asyncio.to_thread(gateway.containers)
        door.shut()
        await asyncio.to_thread(before.kill)
        async with client.get(gateway.page("hello")) as answer:
            problem = await answer.json(content_type=None)
            assert answer.status == 503
            assert "does not answer" in problem["detail"]
        door.open()
        await back(gateway, "alice")
        (after,) = await asyncio.to_thread(gateway.containers)
        assert after.id != before.id
        assert (await gateway.record(f"{PROJECT}-x-alice"))["container_id"] == after.id
