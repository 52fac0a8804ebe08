"""Limits and deadlines of heads. What is refused, and why, is test_smuggling.py's."""

from __future__ import annotations

from pathlib import Path

from gateway.proxy.interface import ProxyLimits
from tests.proxy.harness import Rig, rig
from tests.proxy.upstreams import Upstream
from tests.proxy.wire import until

H = b"Host: h\r\n"
POST = b"POST / HTTP/1.1\r\n" + H
GET = b"GET / HTTP/1.1\r\n" + H


async def test_what_looks_like_a_request_in_a_body_stays_body(
    proxy: Rig, upstream: Upstream
) -> None:
    inner = b"GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n"
    async with await proxy.connect() as client:
        await client.send(POST + b"Content-Length: %d\r\n\r\n%b" % (len(inner), inner))
        server = await upstream.take()
        assert (await server.request()).body == inner
        await server.send(b"HTTP/1.1 204 No Content\r\n\r\n")
        assert (await client.response()).status == 204
    assert len(proxy.gate.seen) == 1


async def test_unknown_upgrade_is_dropped(proxy: Rig, upstream: Upstream) -> None:
    async with await proxy.connect() as client:
        await client.send(
            POST + b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\nhi"
        )
        message = await (await upstream.take()).request()
    assert message.body == b"hi"
    assert message.names() & {b"upgrade", b"connection"} == set()


async def test_head_limit_is_a_setting(tmp_path: Path, upstream: Upstream) -> None:
    async with rig(tmp_path, upstream.target, ProxyLimits(head_bytes=1024)) as proxy:
        assert (await proxy.ask(GET + b"X: " + b"a" * 1100 + b"\r\n\r\n")).status == 431


async def test_head_that_is_not_complete_in_time_is_408(tmp_path: Path, upstream: Upstream) -> None:
    # A second: the half must have come before it is over, also on a machine that is busy.
    async with rig(tmp_path, upstream.target, ProxyLimits(head_timeout=1.0)) as proxy:
        async with await proxy.connect() as client:
            await client.send(b"GET / HTTP/1.1\r\nHost:")
            answer = await client.response()
            assert answer.status == 408
            assert await client.gone()
        async with await proxy.connect() as silent:
            assert await silent.gone()


async def test_second_head_has_a_deadline_of_its_own(tmp_path: Path, upstream: Upstream) -> None:
    async with (
        rig(tmp_path, upstream.target, ProxyLimits(head_timeout=1.0)) as proxy,
        await proxy.connect() as client,
    ):
        await client.send(GET + b"\r\n")
        server = await upstream.take()
        await server.request()
        await server.send(b"HTTP/1.1 204 No Content\r\n\r\n")
        assert (await client.response()).status == 204
        await client.send(b"GET /2")
        assert (await client.response()).status == 408


async def test_idle_connection_is_closed(tmp_path: Path, upstream: Upstream) -> None:
    limits = ProxyLimits(keepalive_timeout=0.2)
    async with rig(tmp_path, upstream.target, limits) as proxy, await proxy.connect() as client:
        await client.send(GET + b"\r\n")
        server = await upstream.take()
        await server.request()
        await server.send(b"HTTP/1.1 204 No Content\r\n\r\n")
        assert (await client.response()).status == 204
        assert await client.gone()


async def test_refused_heads_are_not_counted_as_requests(proxy: Rig) -> None:
    assert (await proxy.ask(b"BREW / HTTP/1.1\r\nHost: h\r\n\r\n")).status == 501
    await until(lambda: proxy.observer.started == 0)
    assert proxy.observer.outcomes == []


async def test_more_header_lines_than_anybody_needs_are_refused(proxy: Rig) -> None:
    lines = b"".join(b"a%d: 1\r\n" % number for number in range(300))
    answer = await proxy.ask(b"GET / HTTP/1.1\r\nHost: h\r\n%b\r\n" % lines)
    assert answer.status == 431
