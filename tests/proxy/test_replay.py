"""Requests that met a connection which the upstream had just closed: sent again, or not."""

from __future__ import annotations

import pytest

from tests.proxy.harness import Rig
from tests.proxy.upstreams import Upstream
from tests.proxy.wire import GET, OK, served_first


async def test_safe_request_on_a_stale_connection_is_sent_again(
    proxy: Rig, upstream: Upstream
) -> None:
    async with await proxy.connect() as client:
        await client.send(GET)
        server = await upstream.take()
        await served_first(client, server)
        await client.send(b"GET /again HTTP/1.1\r\nHost: h\r\n\r\n")
        await server.request()
        server.reset()  # closed while the request was on its way
        fresh = await upstream.take()
        assert (await fresh.request()).target == b"/again"
        await fresh.send(OK)
        assert (await client.response()).body == b"ok"


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi",
        b"DELETE / HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi",
    ],
)
async def test_unsafe_request_is_never_sent_twice(
    proxy: Rig, upstream: Upstream, request_bytes: bytes
) -> None:
    async with await proxy.connect() as client:
        await client.send(GET)
        server = await upstream.take()
        await served_first(client, server)
        await client.send(request_bytes)
        await server.request()
        server.reset()
        assert (await client.response()).status == 502
    assert upstream.accepted == 1


async def test_request_is_replayed_only_once(proxy: Rig, upstream: Upstream) -> None:
    async with await proxy.connect() as client:
        await client.send(GET)
        server = await upstream.take()
        await served_first(client, server)
        await client.send(GET)
        await server.request()
        server.reset()
        second = await upstream.take()
        await second.request()
        second.reset()
        assert (await client.response()).status == 502
    assert upstream.accepted == 2


async def test_half_an_answer_is_not_replayed(proxy: Rig, upstream: Upstream) -> None:
    async with await proxy.connect() as client:
        await client.send(GET)
        server = await upstream.take()
        await served_first(client, server)
        await client.send(GET)
        await server.request()
        await server.send(b"HTTP/1.1 200")
        await server.close()
        assert (await client.response()).status == 502
    assert upstream.accepted == 1


async def test_closed_idle_connection_is_not_tried(proxy: Rig, upstream: Upstream) -> None:
    async with await proxy.connect() as client:
        await client.send(GET)
        server = await upstream.take()
        await served_first(client, server)
        await server.close()
        await client.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi")
        fresh = await upstream.take()
        await served_first(client, fresh)
