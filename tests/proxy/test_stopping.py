"""A stop: requests in flight finish, within a deadline."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.proxy.harness import Rig, rig
from tests.proxy.upstreams import Upstream
from tests.proxy.wire import GET, OK
from tests.support.waiting import PATIENCE


async def test_stop_lets_requests_in_flight_finish(tmp_path: Path, upstream: Upstream) -> None:
    async with rig(tmp_path, upstream.target) as proxy:
        busy, idle = await proxy.connect(), await proxy.connect()
        await busy.send(GET)
        server = await upstream.take()
        await server.request()
        port = proxy.port
        stopping = asyncio.create_task(proxy.proxy.stop(grace=PATIENCE), name="stop")
        assert await idle.gone()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)
        await server.send(OK)
        answer = await busy.response()
        assert (answer.body, answer.one(b"connection")) == (b"ok", b"close")
        assert await busy.gone()
        await stopping


async def test_stop_ends_at_its_deadline(proxy: Rig, upstream: Upstream) -> None:
    client = await proxy.connect()
    await client.send(GET)
    server = await upstream.take()
    await server.request()
    await proxy.proxy.stop(grace=0.1)
    assert await client.gone()
    assert await server.gone()
