"""How tunnels end where somebody is slow: what moves is not cut off, and nothing stays for ever."""

from __future__ import annotations

import asyncio
import select
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from gateway.proxy.interface import ProxyLimits
from tests.proxy.harness import Rig, rig
from tests.proxy.test_websockets import upgraded
from tests.proxy.upstreams import Upstream
from tests.proxy.wire import Wire, until

PIECE = b"x" * 16384


@pytest.fixture
async def hasty(tmp_path: Path, upstream: Upstream) -> AsyncIterator[Rig]:
    """A data path that does not wait long for what does not move, but for a client."""
    async with rig(tmp_path, upstream.target, ProxyLimits(half_open_timeout=0.3)) as proxy:
        yield proxy


async def silent(proxy: Rig, upstream: Upstream) -> None:
    """Wait until a half-closed tunnel without a word was closed for that: it is the clock."""
    client, server = await upgraded(proxy, upstream)
    client.writer.write_eof()
    assert await server.rest() == b""
    assert await client.gone()


async def sent_until(condition: Callable[[], bool], sender: Wire) -> int:
    """Send until `condition` holds, piece by piece; return how many bytes went out."""
    sender.buffer_nothing()
    sent = 0
    while not condition():
        await sender.send(PIECE)
        sent += len(PIECE)
        await asyncio.sleep(0)
    return sent


async def test_half_closed_tunnel_lives_while_bytes_come(hasty: Rig, upstream: Upstream) -> None:
    client, server = await upgraded(hasty, upstream)
    client.writer.write_eof()
    assert await server.rest() == b""
    clock = asyncio.create_task(silent(hasty, upstream), name="clock")
    while not clock.done():
        await server.send(b"x")
        assert await client.read(1) == b"x"
    await clock


async def test_last_words_of_a_server_wait_for_the_client(hasty: Rig, upstream: Upstream) -> None:
    client, server = await upgraded(hasty, upstream)
    [tunnel] = hasty.proxy._context.tunnels
    client.pause()
    # The kernel takes the first megabytes.
    sent = await sent_until(lambda: tunnel._client.transport.get_write_buffer_size() > 0, server)
    await server.close()
    await until(lambda: tunnel._upstream.at_eof)
    await silent(hasty, upstream)
    await silent(hasty, upstream)
    client.resume()
    assert len(await client.rest()) == sent


async def test_last_words_of_a_client_wait_for_the_server_though_both_have_ended(
    proxy: Rig, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks, poll = [], select.poll

    def counted() -> select.poll:
        looks.append(1)
        return poll()

    client, server = await upgraded(proxy, upstream)
    [tunnel] = proxy.proxy._context.tunnels
    server.pause()
    sent = await sent_until(tunnel._upstream.congested, client)
    server.writer.write_eof()
    assert await client.rest() == b""
    await client.send(b"bye")  # is not read yet, and neither is the end
    client.writer.write_eof()
    monkeypatch.setattr(select, "poll", counted)
    await until(lambda: len(looks) >= 2)  # whether the client is still there
    server.resume()
    assert len(await server.rest()) == sent + 3


async def test_server_that_takes_nothing_is_left_when_the_client_is_gone(
    hasty: Rig, upstream: Upstream
) -> None:
    client, server = await upgraded(hasty, upstream)
    server.pause()
    await client.stall()
    client.reset()
    await until(lambda: not hasty.proxy.connections)
    server.resume()
    assert not await server.gone()


async def test_server_that_is_gone_is_noticed_though_its_client_takes_nothing(
    tmp_path: Path, upstream: Upstream
) -> None:
    limits = ProxyLimits(half_open_timeout=0.1, stall_timeout=0.3)
    async with rig(tmp_path, upstream.target, limits) as proxy:
        client, server = await upgraded(proxy, upstream)
        client.pause()
        await server.stall()
        server.reset()
        await until(lambda: proxy.observer.websockets == 0)


async def test_busy_tunnel_is_told_to_go_away_behind_what_waits(
    proxy: Rig, upstream: Upstream
) -> None:
    client, server = await upgraded(proxy, upstream)
    client.pause()
    await server.stall()
    stopping = asyncio.create_task(proxy.proxy.stop(grace=0.0), name="stop")
    await until(lambda: not proxy.proxy.addresses)
    client.resume()
    assert (await client.rest()).endswith(b"\x88\x02\x03\xe9")
    await stopping


async def test_tunnel_that_is_told_to_go_away_ends_though_nobody_takes_it(
    hasty: Rig, upstream: Upstream
) -> None:
    client, server = await upgraded(hasty, upstream)
    client.pause()
    server.pause()
    await client.stall()
    await server.stall()
    [tunnel] = hasty.proxy._context.tunnels
    tunnel.go_away()
    await until(lambda: not hasty.proxy.connections)
