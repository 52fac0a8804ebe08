"""Connections: re-used, refused, and left by their client. Deadlines are test_bounds.py's."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from gateway.proxy.interface import ProxyLimits, RouteEntry
from routes.keys import Target
from tests.proxy.harness import Rig, forwarded, rig, served
from tests.proxy.upstreams import Upstream, echo, parsed
from tests.proxy.wire import GET, OK, Wire, served_first, until


async def test_upstream_connections_are_used_again(proxy: Rig, upstream: Upstream) -> None:
    server: Wire | None = None
    for _ in range(10):
        async with await proxy.connect() as client:
            await client.send(GET)
            server = server or await upstream.take()
            await served_first(client, server)
    assert upstream.accepted == 1


async def test_one_client_connection_carries_many_requests(echoing: Rig) -> None:
    async with await echoing.connect() as client:
        for number in range(50):
            await client.send(b"GET /%d HTTP/1.1\r\nHost: h\r\n\r\n" % number)
            answer = await client.response()
            assert parsed(answer.body).target == b"/%d" % number
    assert len(echoing.gate.seen) == 50


async def test_gate_is_asked_for_each_request(tmp_path: Path) -> None:
    async with (
        Upstream(echo) as server,
        rig(tmp_path, server.target) as proxy,
        await proxy.connect() as client,
    ):
        await client.send(GET)
        assert (await client.response()).status == 200
        proxy.entry = RouteEntry("/", None)
        await client.send(GET)
        assert (await client.response()).status == 502


@pytest.mark.parametrize(
    "response",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok and more",
    ],
)
async def test_connection_in_doubt_is_not_used_again(
    proxy: Rig, upstream: Upstream, response: bytes
) -> None:
    client, first = await forwarded(proxy, upstream)
    await first.send(response)
    answer = await client.response()
    assert (answer.body, answer.one(b"connection")) == (b"ok", None)
    await client.send(GET)
    await served_first(client, await upstream.take())


async def test_bytes_that_nobody_asked_for_close_the_connection(
    proxy: Rig, upstream: Upstream
) -> None:
    client, server = await served(proxy, upstream)
    await server.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
    assert await server.gone()
    await client.send(GET)
    await served_first(client, await upstream.take())


async def test_idle_upstream_connections_are_closed(tmp_path: Path, upstream: Upstream) -> None:
    limits = ProxyLimits(upstream_idle=0.1)
    async with rig(tmp_path, upstream.target, limits) as proxy:
        _, server = await served(proxy, upstream)
        assert await server.gone()


async def test_forgotten_target_is_connected_anew(proxy: Rig, upstream: Upstream) -> None:
    client, idle = await served(proxy, upstream)
    async with await proxy.connect() as other:
        await other.send(GET)
        await idle.request()  # lent while the target is forgotten
        proxy.proxy.pool.forget(upstream.target)
        await idle.send(OK)
        assert (await other.response()).body == b"ok"
    assert await idle.gone()
    await client.send(GET)
    await served_first(client, await upstream.take())


async def test_connection_close_of_the_client_is_honoured(echoing: Rig) -> None:
    async with await echoing.connect() as client:
        await client.send(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n" + GET)
        assert (await client.response()).one(b"connection") == b"close"
        assert await client.gone()
    assert len(echoing.gate.seen) == 1


async def test_client_that_goes_away_cancels_the_upstream_request(
    proxy: Rig, upstream: Upstream
) -> None:
    client, server = await forwarded(proxy, upstream)
    await client.close()
    assert await server.gone()
    assert proxy.observer.outcomes == ["aborted"]


async def test_client_that_resets_in_an_upload_cancels_it(proxy: Rig, upstream: Upstream) -> None:
    post = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nhalf"
    client, server = await forwarded(proxy, upstream, post)
    client.reset()
    assert await server.read(4) == b"half"
    assert await server.gone()
    await until(lambda: proxy.observer.outcomes == ["aborted"])


async def test_client_that_goes_away_in_a_download_stops_it(proxy: Rig, upstream: Upstream) -> None:
    client, server = await forwarded(proxy, upstream)
    await server.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n" + b"x" * 1000)
    await client.head()
    await client.close()
    assert await server.gone()


async def test_refused_connection_is_502(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port = reserved.getsockname()[1]
    async with rig(tmp_path, Target("127.0.0.1", port)) as proxy:
        answer = await proxy.ask(GET)
    assert answer.status == 502
    assert answer.one(b"content-type") == b"application/problem+json"
    assert answer.one(b"x-request-id")
    assert len(proxy.gate.suspects) == 1


async def test_connection_that_does_not_come_is_504(tmp_path: Path) -> None:
    # A listener whose queue is full answers no SYN.
    with socket.create_server(("127.0.0.1", 0), backlog=0) as deaf:
        address = deaf.getsockname()
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(address)
        limits = ProxyLimits(connect_timeout=0.2)
        async with rig(tmp_path, Target(*address), limits) as proxy:
            answer = await proxy.ask(GET)
        for one in waiting:
            one.close()
    assert answer.status == 504


async def test_ipv6_target_is_reached(tmp_path: Path) -> None:
    async with rig(tmp_path) as proxy:
        made: list[bytes] = []

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            made.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(OK)
            writer.close()

        server = await asyncio.start_server(serve, "::1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            proxy.entry = RouteEntry("/", Target("::1", port))
            assert (await proxy.ask(GET)).body == b"ok"
    assert made


async def test_server_listens_on_a_socket_it_is_given(tmp_path: Path) -> None:
    async with Upstream(echo) as server, rig(tmp_path, server.target) as proxy:
        await proxy.proxy.stop(grace=0)
        other = Rig(tmp_path, server.target, ProxyLimits(), [])
        with socket.create_server(("127.0.0.1", 0)) as sock:
            await other.proxy.start(sock=sock)
            assert (await other.ask(GET)).status == 200
            await other.proxy.stop(grace=0)
        for client in other.clients:
            await client.close()
