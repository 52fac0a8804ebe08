"""A stop: requests in flight finish, within a deadline."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest

from tests.proxy.harness import Rig, forwarded, rig
from tests.proxy.upstreams import Upstream
from tests.proxy.wire import GET, OK, get, until
from tests.support.waiting import PATIENCE

UPGRADE = get(b"Connection: Upgrade\r\nUpgrade: websocket\r\n")


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


async def test_stop_waits_for_no_connection_whose_answer_is_whole(
    tmp_path: Path, upstream: Upstream
) -> None:
    async with rig(tmp_path, upstream.target) as proxy:
        client, server = await forwarded(proxy, upstream)
        await server.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nha")
        assert (await client.head()).one(b"connection") is None, "it was told that it may stay"
        stopping = asyncio.create_task(proxy.proxy.stop(grace=3600.0), name="stop")
        await until(lambda: not proxy.proxy.addresses)
        await server.send(b"lf")
        assert await client.rest() == b"half"
        await client.close()
        async with asyncio.timeout(PATIENCE):
            await stopping


async def test_stop_ends_at_its_deadline(proxy: Rig, upstream: Upstream) -> None:
    client = await proxy.connect()
    await client.send(GET)
    server = await upstream.take()
    await server.request()
    await proxy.proxy.stop(grace=0.1)
    assert await client.gone()
    assert await server.gone()


async def test_stop_ends_a_tunnel_of_which_one_side_is_gone(
    tmp_path: Path, upstream: Upstream
) -> None:
    """The client takes what it is owed, the upstream takes nothing."""
    async with rig(tmp_path, upstream.target) as proxy:
        client, server = await forwarded(proxy, upstream, UPGRADE)
        await server.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n")
        assert (await client.head()).status == 101
        client.pause()
        server.pause()
        await server.stall()
        await client.stall()
        stopping = asyncio.create_task(proxy.proxy.stop(grace=0.0), name="stop")
        await until(lambda: not proxy.proxy.addresses)
        client.resume()
        with contextlib.suppress(ConnectionError):
            await client.rest()
        await stopping
        await until(lambda: proxy.proxy.connections == 0)
