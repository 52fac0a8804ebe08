"""Requests that met a connection which the upstream had just closed: sent again, or not."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.proxy.harness import Rig, served
from tests.proxy.upstreams import Upstream
from tests.proxy.wire import GET, OK, Wire, served_first

EVERY_LOOP = True


def reset(server: Wire) -> None:
    server.reset()


def end_direction(server: Wire) -> None:
    server.writer.write_eof()


WAYS = pytest.mark.parametrize("close", [reset, end_direction])
Way = Callable[[Wire], None]


@WAYS
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
async def test_safe_request_on_a_stale_connection_is_sent_again(
    proxy: Rig, upstream: Upstream, method: str, close: Way
) -> None:
    client, server = await served(proxy, upstream)
    await client.send(f"{method} /again HTTP/1.1\r\nHost: h\r\n\r\n".encode())
    await server.request()
    close(server)  # while the request was on its way
    fresh = await upstream.take()
    assert (await fresh.request()).target == b"/again"
    await fresh.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    assert (await client.response(method)).status == 200


@WAYS
@pytest.mark.parametrize(
    "start",
    [
        *(b"%b / HTTP/1.1\r\n" % name for name in (b"POST", b"PUT", b"DELETE", b"PATCH")),
        b"PROPFIND / HTTP/1.1\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 2\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: 2\r\n",
    ],
)
async def test_unsafe_request_is_never_sent_twice(
    proxy: Rig, upstream: Upstream, start: bytes, close: Way
) -> None:
    client, server = await served(proxy, upstream)
    body = b"hi" if b"Length" in start else b""
    await client.send(start + b"Host: h\r\n\r\n" + body)
    await server.request()
    close(server)
    assert (await client.response()).status == 502
    assert upstream.accepted == 1


async def test_request_is_replayed_only_once(proxy: Rig, upstream: Upstream) -> None:
    client, server = await served(proxy, upstream)
    await client.send(GET)
    await server.request()
    server.reset()
    second = await upstream.take()
    await second.request()
    second.reset()
    assert (await client.response()).status == 502
    assert upstream.accepted == 2


async def test_half_an_answer_is_not_replayed(proxy: Rig, upstream: Upstream) -> None:
    client, server = await served(proxy, upstream)
    await client.send(GET)
    await server.request()
    await server.send(OK[:12])
    await server.close()
    assert (await client.response()).status == 502
    assert upstream.accepted == 1


async def test_closed_idle_connection_is_not_tried(proxy: Rig, upstream: Upstream) -> None:
    client, server = await served(proxy, upstream)
    await server.close()
    await client.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi")
    await served_first(client, await upstream.take())
