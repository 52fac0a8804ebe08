"""Many requests and WebSockets, opened and closed: nothing of them stays."""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
from pathlib import Path

import pytest

from tests.chp.harness import SWITCH, UPGRADE, Rig, get, rig, url
from tests.proxy.upstreams import Upstream
from tests.proxy.wire import Wire, until

ROUNDS, AT_ONCE = 20, 25


async def server(wire: Wire) -> None:
    """Echo, and upgrade whoever asks; then send back what comes."""
    while True:
        message = await wire.request()
        if message.one(b"upgrade") is None:
            await wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            continue
        await wire.send(SWITCH)
        while data := await wire.reader.read(65536):
            await wire.send(data)
        return


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def request(proxy: Rig, path: str, status: int) -> None:
    assert (await proxy.ask(get(path))).status == status


async def websocket(proxy: Rig) -> None:
    async with await proxy.connect() as client:
        await client.send(UPGRADE % b"/ws")
        assert (await client.head()).status == 101
        await client.send(b"frame")
        assert await client.read(5) == b"frame"


async def leaving(proxy: Rig) -> None:
    """Ask, and go before the answer has come."""
    async with await proxy.connect() as client:
        await client.send(get("/x"))


async def traffic(proxy: Rig, rounds: int) -> None:
    for _ in range(rounds):
        work = [websocket(proxy) for _ in range(AT_ONCE)]
        work += [request(proxy, "/x", 200) for _ in range(AT_ONCE)]
        work += [request(proxy, "/nobody", 503), request(proxy, "/%zz", 500), leaving(proxy)]
        await asyncio.gather(*work)
    facts = proxy.proxy.traffic
    await until(lambda: not facts.websockets and not facts.in_flight)
    await until(lambda: not proxy.proxy.server._context.connections)
    proxy._wires.clear()


async def quiet(proxy: Rig, behind: Upstream) -> None:
    """Let go of what the test itself holds, and wait until no connection to a target is left."""
    behind._wires.clear()
    proxy.proxy.server.pool.forget(behind.target)
    await until(lambda: not behind._tasks)
    gc.collect()


async def test_memory_descriptors_and_tasks_return_to_where_they_were(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.CRITICAL)  # what pytest keeps of the log is no leak of ours
    async with Upstream(server) as behind, rig("--default-target", url(behind.port)) as proxy:
        await proxy.add("/nobody", "http://127.0.0.1:1")
        await traffic(proxy, 2)
        await quiet(proxy, behind)
        files, tasks = open_files(), len(asyncio.all_tasks())
        objects, blocks = len(gc.get_objects()), sys.getallocatedblocks()
        await traffic(proxy, ROUNDS)
        await quiet(proxy, behind)
        assert open_files() <= files
        assert len(asyncio.all_tasks()) <= tasks
        # One kept per request or connection would be a thousand; blocks are strings and bytes too.
        assert len(gc.get_objects()) - objects < ROUNDS * AT_ONCE // 2
        assert sys.getallocatedblocks() - blocks < ROUNDS * AT_ONCE // 2
