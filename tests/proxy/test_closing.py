"""How connections are closed behind an answer: it arrives whole, and the end comes soon."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gateway.proxy.interface import ProxyLimits, Refuse
from gateway.proxy.sockets import unsent
from tests.proxy.harness import Rig, rig
from tests.proxy.upstreams import Upstream
from tests.proxy.wire import GET, Wire, until
from tests.support.waiting import PATIENCE

EVERY_LOOP = True

OLD = b"GET / HTTP/1.0\r\n\r\n"
LAST = b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
LARGE = b"x" * 1_000_000
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"


async def answered(server: Wire, body: bytes) -> None:
    """Answer the request under way."""
    await server.request()
    await server.send(ANSWER % len(body) + body)


@pytest.mark.parametrize("request_bytes", [OLD, LAST])
async def test_last_answer_is_whole_though_the_client_says_more(
    proxy: Rig, upstream: Upstream, request_bytes: bytes
) -> None:
    async with await proxy.connect() as client:
        client.pause()
        await client.send(request_bytes)
        await answered(await upstream.take(), LARGE)
        await until(lambda: proxy.observer.outcomes == ["2xx"])
        for _ in range(10):
            await client.send(b"GET /more HTTP/1.1\r\n\r\n")
        client.resume()
        assert (await client.response()).body == LARGE
        assert await client.rest() == b""
    assert len(proxy.gate.seen) == 1


async def test_refusal_is_whole_though_the_client_says_more(proxy: Rig) -> None:
    proxy.gate.rule = lambda head, client: Refuse(424, "cold", "x" * 500_000)
    async with await proxy.connect() as client:
        client.pause()
        await client.send(LAST)
        await until(lambda: proxy.observer.outcomes == ["4xx"])
        await client.send(LAST)
        client.resume()
        assert len((await client.response()).body) > 500_000
        assert await client.rest() == b""


async def test_slow_client_has_time_for_its_last_answer(tmp_path: Path) -> None:
    limits = ProxyLimits(linger_timeout=0.0)
    async with rig(tmp_path, limits=limits) as proxy, await proxy.connect() as client:
        proxy.gate.rule = lambda head, client: Refuse(424, "cold", "x" * 20_000_000)
        client.pause()
        await client.send(LAST)
        await until(lambda: proxy.observer.outcomes == ["4xx"])
        proxy.gate.rule = lambda head, client: Refuse(424, "cold", "")
        assert (await proxy.ask(LAST)).status == 424
        client.resume()
        assert len((await client.response()).body) > 20_000_000


async def timed_out(proxy: Rig) -> None:
    """Wait until a connection that has nothing to say was closed for that: it is the clock."""
    async with await proxy.connect() as client:
        await client.send(GET)
        assert (await client.response()).status == 424
        assert await client.gone()


async def test_what_the_kernel_holds_is_not_taken_yet(tmp_path: Path) -> None:
    async with rig(tmp_path) as proxy, await proxy.connect() as client:
        cold(proxy, 1_000_000)
        client.pause()
        await client.send(GET)
        await until(lambda: proxy.observer.outcomes == ["4xx"])
        [connection] = proxy.proxy._context.connections
        await until(lambda: not connection.transport.get_write_buffer_size())
        assert unsent(connection.transport) > 0
        client.resume()
        await client.response()
        await until(lambda: not unsent(connection.transport))


def cold(proxy: Rig, size: int) -> None:
    """Answer everything with a page of `size` bytes and some more."""
    proxy.gate.rule = lambda head, client: Refuse(424, "cold", "x" * size)


@pytest.mark.parametrize("request_bytes", [GET, LAST], ids=["idle", "the last"])
async def test_end_of_an_answer_may_be_read_later(tmp_path: Path, request_bytes: bytes) -> None:
    limits = ProxyLimits(keepalive_timeout=0.2, linger_timeout=0.0, flush_interval=0.05)
    async with rig(tmp_path, limits=limits) as proxy, await proxy.connect() as client:
        cold(proxy, 20_000_000)
        client.pause()
        await client.send(request_bytes)
        await until(lambda: proxy.observer.outcomes == ["4xx"])
        cold(proxy, 0)
        await timed_out(proxy)
        await timed_out(proxy)
        client.resume()
        assert len((await client.response()).body) > 20_000_000
        assert await client.rest() == b""


@pytest.mark.parametrize("request_bytes", [GET, LAST], ids=["idle", "the last"])
async def test_client_that_takes_nothing_of_its_answer_is_cut_off(
    tmp_path: Path, request_bytes: bytes
) -> None:
    limits = ProxyLimits(
        keepalive_timeout=0.2, linger_timeout=0.0, flush_interval=0.05, stall_timeout=0.2
    )
    async with rig(tmp_path, limits=limits) as proxy, await proxy.connect() as client:
        cold(proxy, 20_000_000)
        client.pause()
        await client.send(request_bytes)
        await until(lambda: proxy.observer.outcomes == ["4xx"])
        await until(lambda: not proxy.proxy.connections)


async def test_answer_in_a_drain_is_whole_though_the_client_says_more(
    proxy: Rig, upstream: Upstream
) -> None:
    async with await proxy.connect() as client, await proxy.connect() as idle:
        client.pause()
        await client.send(GET)
        server = await upstream.take()
        await server.head()
        stopping = asyncio.create_task(proxy.proxy.stop(grace=PATIENCE), name="stop")
        assert await idle.gone()
        await server.send(ANSWER % len(LARGE) + LARGE)
        await until(lambda: proxy.observer.outcomes == ["2xx"])
        await client.send(GET)
        client.resume()
        answer = await client.response()
        assert (answer.body, answer.one(b"connection")) == (LARGE, b"close")
        assert await client.rest() == b""
    await stopping
    assert len(proxy.gate.seen) == 1


def descriptors() -> int:
    """Return how many descriptors this process has."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


async def test_connection_is_gone_as_soon_as_the_client_closes(
    tmp_path: Path, upstream: Upstream
) -> None:
    limits = ProxyLimits(linger_timeout=3600.0)
    async with (
        rig(tmp_path, upstream.target, limits) as proxy,
        await proxy.connect() as client,
    ):
        await client.send(GET)
        server = await upstream.take()
        await answered(server, b"ok")
        await client.response()
        before = descriptors()
        for request in (OLD, LAST):
            async with await proxy.connect() as other:
                await other.send(request)
                await answered(server, b"ok")
                assert (await other.response()).body == b"ok"
                assert await other.rest() == b""
            await until(lambda: descriptors() == before)
