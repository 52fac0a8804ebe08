"""What a client sees of a response."""

from __future__ import annotations

import pytest

from tests.proxy.harness import Rig, forwarded
from tests.proxy.upstreams import Upstream
from tests.proxy.wire import GET, Message, Wire, until


async def answered(
    proxy: Rig, upstream: Upstream, response: bytes, request: bytes = GET
) -> tuple[Message, Wire, Wire]:
    """Let the upstream answer `request` with `response`; return what the client got."""
    client, server = await forwarded(proxy, upstream, request)
    await server.send(response)
    return await client.response(request.split(b" ")[0].decode()), client, server


async def test_status_reason_and_headers_pass(proxy: Rig, upstream: Upstream) -> None:
    answer, _, _ = await answered(
        proxy,
        upstream,
        b"HTTP/1.1 418 I'm a teapot\r\nX-A: 1\r\nSet-Cookie: a=1\r\nx-a: 2\r\nSet-Cookie: b=2\r\n"
        b"Server: s\r\nContent-Length: 2\r\n\r\nhi",
    )
    assert answer.start == b"HTTP/1.1 418 I'm a teapot"
    request_id = answer.headers.pop()
    assert request_id[0] == b"X-Request-ID"
    assert answer.headers == [
        (b"X-A", b"1"),
        (b"Set-Cookie", b"a=1"),
        (b"x-a", b"2"),
        (b"Set-Cookie", b"b=2"),
        (b"Server", b"s"),
        (b"Content-Length", b"2"),
    ]
    assert answer.body == b"hi"


async def test_hop_by_hop_headers_of_upstream_end_here(proxy: Rig, upstream: Upstream) -> None:
    answer, _, _ = await answered(
        proxy,
        upstream,
        b"HTTP/1.1 200 OK\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=1\r\n"
        b"Proxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n",
    )
    assert answer.names() == {b"content-length", b"x-request-id"}


@pytest.mark.parametrize(
    ("method", "head"),
    [
        (b"HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"),
        (b"HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        (b"HEAD", b"HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\n"),
        (b"GET", b"HTTP/1.1 204 No Content\r\n\r\n"),
        (b"GET", b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n"),
        (b"GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 1000\r\nETag: x\r\n\r\n"),
    ],
)
async def test_bodyless_answer_leaves_both_connections_usable(
    proxy: Rig, upstream: Upstream, method: bytes, head: bytes
) -> None:
    request = b"%b / HTTP/1.1\r\nHost: h\r\n\r\n" % method
    answer, client, server = await answered(proxy, upstream, head, request)
    assert answer.start == head.split(b"\r\n")[0]
    if b"1000" in head:
        assert answer.one(b"content-length") == b"1000"
    await client.send(GET)
    await server.request()
    await server.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnext")
    assert (await client.response()).body == b"next"
    assert upstream.accepted == 1


async def test_chunks_pass_as_they_came(proxy: Rig, upstream: Upstream) -> None:
    raw = b"5\r\nhello\r\n1;name=value\r\n!\r\n00A;x\r\n0123456789\r\n0\r\n\r\n"
    answer, _, _ = await answered(
        proxy, upstream, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + raw
    )
    assert answer.raw == raw
    assert answer.one(b"transfer-encoding") == b"chunked"


async def test_chunks_cut_anywhere_are_read(proxy: Rig, upstream: Upstream) -> None:
    client, server = await forwarded(proxy, upstream)
    raw = b"5\r\nhello\r\n1;name=value\r\n!\r\n0\r\nX-T: 1\r\n\r\n"
    for byte in b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + raw:
        await server.send(bytes([byte]))
    answer = await client.response()
    assert answer.body == b"hello!"
    assert answer.trailers == [(b"X-T", b"1")]


async def test_each_chunk_passes_before_the_next_comes(proxy: Rig, upstream: Upstream) -> None:
    client, server = await forwarded(proxy, upstream)
    await server.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    await client.head()
    for chunk in (b"3\r\none\r\n", b"3\r\ntwo\r\n"):
        await server.send(chunk)
        assert await client.read(len(chunk)) == chunk


async def test_answer_that_ends_with_the_connection_passes(proxy: Rig, upstream: Upstream) -> None:
    client, server = await forwarded(proxy, upstream)
    await server.send(b"HTTP/1.0 200 OK\r\nX-A: 1\r\n\r\nsome ")
    await server.send(b"text")
    await server.close()
    answer = await client.response()
    assert (answer.body, answer.one(b"x-a")) == (b"some text", b"1")
    await client.send(GET)  # the client's connection lives on
    second = await upstream.take()
    await second.request()
    await second.send(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert (await client.response()).status == 204


async def test_chunked_answer_reaches_http_10_client_as_plain_bytes(
    proxy: Rig, upstream: Upstream
) -> None:
    answer, _, _ = await answered(
        proxy,
        upstream,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"5\r\nhello\r\n1\r\n!\r\n0\r\nX: y\r\n\r\n",
        b"GET / HTTP/1.0\r\nHost: h\r\n\r\n",
    )
    assert answer.body == b"hello!"
    assert answer.one(b"transfer-encoding") is None
    assert answer.one(b"connection") == b"close"


async def test_interim_answers_pass(proxy: Rig, upstream: Upstream) -> None:
    client, server = await forwarded(proxy, upstream)
    await server.send(
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n"
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    )
    hints = await client.response()
    assert (hints.status, hints.one(b"link")) == (103, b"</a>")
    assert (await client.response()).status == 102
    assert (await client.response()).body == b"ok"


async def test_interim_answers_do_not_reach_http_10(proxy: Rig, upstream: Upstream) -> None:
    answer, _, _ = await answered(
        proxy,
        upstream,
        b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        b"GET / HTTP/1.0\r\nHost: h\r\n\r\n",
    )
    assert answer.body == b"ok"


@pytest.mark.parametrize(
    "response",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX : a\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
        b"HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 0\r\n\r\n",
    ],
)
async def test_answer_that_is_not_http_is_502(
    proxy: Rig, upstream: Upstream, response: bytes
) -> None:
    answer, _, server = await answered(proxy, upstream, response)
    assert answer.status == 502
    assert answer.one(b"content-type") == b"application/problem+json"
    assert await server.gone()


async def test_outcomes_are_told(proxy: Rig, upstream: Upstream) -> None:
    for status in (200, 302, 404, 500):
        response = b"HTTP/1.1 %d X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" % status
        await answered(proxy, upstream, response)
    await until(lambda: len(proxy.observer.outcomes) == 4)
    assert proxy.observer.outcomes == ["2xx", "3xx", "4xx", "5xx"]
    assert proxy.observer.started == 4


async def test_request_id_is_the_same_on_both_sides(proxy: Rig, upstream: Upstream) -> None:
    async with await proxy.connect() as client:
        await client.send(b"GET / HTTP/1.1\r\nHost: gate.test\r\nX-Request-ID: abc-123\r\n\r\n")
        server = await upstream.take()
        request = await server.request()
        assert request.one(b"x-request-id") == b"abc-123"
        await server.send(b"HTTP/1.1 200 OK\r\nX-Request-ID: other\r\nContent-Length: 0\r\n\r\n")
        answer = await client.response()
    assert answer.all(b"x-request-id") == [b"abc-123"]
