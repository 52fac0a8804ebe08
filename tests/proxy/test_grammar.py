"""Requests that are refused because the next server could read them in another way."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.proxy.interface import ProxyLimits
from tests.proxy.harness import Rig, Upstream, rig, until

H = b"Host: h\r\n"
POST = b"POST / HTTP/1.1\r\n" + H
GET = b"GET / HTTP/1.1\r\n" + H

REFUSED = {
    "length and chunked": (400, POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"),
    "chunked and length": (400, POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n"),
    "two lengths": (400, POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n"),
    "the same length twice": (400, POST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\n"),
    "length list": (400, POST + b"Content-Length: 5, 5\r\n\r\n"),
    "length with sign": (400, POST + b"Content-Length: +5\r\n\r\n"),
    "negative length": (400, POST + b"Content-Length: -5\r\n\r\n"),
    "hexadecimal length": (400, POST + b"Content-Length: 0x5\r\n\r\n"),
    "length with underscore": (400, POST + b"Content-Length: 1_0\r\n\r\n"),
    "empty length": (400, POST + b"Content-Length:\r\n\r\n"),
    "huge length": (400, POST + b"Content-Length: 9999999999999999999999\r\n\r\n"),
    "length in other digits": (400, POST + b"Content-Length: \xd9\xa5\r\n\r\n"),
    "unknown coding": (501, POST + b"Transfer-Encoding: gzip\r\n\r\n"),
    "gzip, chunked": (501, POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n"),
    "chunked, gzip": (400, POST + b"Transfer-Encoding: chunked, gzip\r\n\r\n"),
    "chunked twice": (400, POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n"),
    "chunked on two lines": (
        400,
        POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
    ),
    "identity": (501, POST + b"Transfer-Encoding: identity\r\n\r\n"),
    "xchunked": (501, POST + b"Transfer-Encoding: xchunked\r\n\r\n"),
    "chunked in quotes": (501, POST + b'Transfer-Encoding: "chunked"\r\n\r\n'),
    "chunked with parameter": (501, POST + b"Transfer-Encoding: chunked;a=b\r\n\r\n"),
    "empty coding": (400, POST + b"Transfer-Encoding:\r\n\r\n"),
    "vertical tab in coding": (400, POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n"),
    "chunked in HTTP/1.0": (
        400,
        b"POST / HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n",
    ),
    "obs-fold": (400, GET + b"X-A: 1\r\n 2\r\n\r\n"),
    "obs-fold with tab": (400, GET + b"X-A: 1\r\n\t2\r\n\r\n"),
    "fold before the first header": (400, b"GET / HTTP/1.1\r\n X: 1\r\nHost: h\r\n\r\n"),
    "space before colon": (400, POST + b"Content-Length : 5\r\n\r\n"),
    "tab before colon": (400, POST + b"Transfer-Encoding\t: chunked\r\n\r\n"),
    "no colon": (400, GET + b"Nonsense\r\n\r\n"),
    "empty name": (400, GET + b": 1\r\n\r\n"),
    "name with space": (400, GET + b"X A: 1\r\n\r\n"),
    "name outside ASCII": (400, GET + b"X-\xc3\xa9: 1\r\n\r\n"),
    "NUL in value": (400, GET + b"X: a\0b\r\n\r\n"),
    "NUL in name": (400, GET + b"X\0: a\r\n\r\n"),
    "bare CR in value": (400, GET + b"X: a\rb\r\n\r\n"),
    "bare LF in value": (400, GET + b"X: a\nY: b\r\n\r\n"),
    "control in value": (400, GET + b"X: a\x01b\r\n\r\n"),
    "DEL in value": (400, GET + b"X: a\x7fb\r\n\r\n"),
    "bare LF line ends": (400, b"GET / HTTP/1.1\nHost: h\n\n"),
    "bare LF at the end": (400, b"GET / HTTP/1.1\r\nHost: h\r\n\n"),
    "CR CR LF": (400, GET + b"X: a\r\r\n\r\n"),
    "no Host": (400, b"GET / HTTP/1.1\r\n\r\n"),
    "two Hosts": (400, GET + b"Host: i\r\n\r\n"),
    "the same Host twice": (400, GET + b"Host: h\r\n\r\n"),
    "empty Host": (400, b"GET / HTTP/1.1\r\nHost:\r\n\r\n"),
    "Host with path": (400, b"GET / HTTP/1.1\r\nHost: h/x\r\n\r\n"),
    "Host with user": (400, b"GET / HTTP/1.1\r\nHost: u@h\r\n\r\n"),
    "Host with space": (400, b"GET / HTTP/1.1\r\nHost: h i\r\n\r\n"),
    "Host with odd port": (400, b"GET / HTTP/1.1\r\nHost: h:8x\r\n\r\n"),
    "other authority": (400, b"GET http://i/ HTTP/1.1\r\nHost: h\r\n\r\n"),
    "authority form": (400, b"GET h:80 HTTP/1.1\r\nHost: h:80\r\n\r\n"),
    "asterisk form": (400, b"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n"),
    "other scheme": (400, b"GET ftp://h/ HTTP/1.1\r\nHost: h\r\n\r\n"),
    "relative path": (400, b"GET a HTTP/1.1\r\nHost: h\r\n\r\n"),
    "fragment": (400, b"GET /a#b HTTP/1.1\r\nHost: h\r\n\r\n"),
    "control in target": (400, b"GET /a\x01 HTTP/1.1\r\nHost: h\r\n\r\n"),
    "NUL in target": (400, b"GET /a\0 HTTP/1.1\r\nHost: h\r\n\r\n"),
    "space in target": (400, b"GET /a b HTTP/1.1\r\nHost: h\r\n\r\n"),
    "two spaces": (400, b"GET  / HTTP/1.1\r\nHost: h\r\n\r\n"),
    "tab for space": (400, b"GET\t/ HTTP/1.1\r\nHost: h\r\n\r\n"),
    "space after version": (400, b"GET / HTTP/1.1 \r\nHost: h\r\n\r\n"),
    "no version": (400, b"GET /\r\nHost: h\r\n\r\n"),
    "lower-case version": (400, b"GET / http/1.1\r\nHost: h\r\n\r\n"),
    "long version": (400, b"GET / HTTP/1.10\r\nHost: h\r\n\r\n"),
    "TLS": (400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n\0"),
    "HTTP/2": (505, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "HTTP/3": (505, b"GET / HTTP/3.0\r\nHost: h\r\n\r\n"),
    "HTTP/0.9": (505, b"GET / HTTP/0.9\r\nHost: h\r\n\r\n"),
    "CONNECT": (501, b"CONNECT h:80 HTTP/1.1\r\nHost: h:80\r\n\r\n"),
    "TRACE": (501, b"TRACE / HTTP/1.1\r\nHost: h\r\n\r\n"),
    "unknown method": (501, b"BREW / HTTP/1.1\r\nHost: h\r\n\r\n"),
    "lower-case method": (501, b"get / HTTP/1.1\r\nHost: h\r\n\r\n"),
    "WebSocket with a body": (
        400,
        GET + b"Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 5\r\n\r\nhello",
    ),
    "WebSocket with chunks": (
        400,
        GET + b"Connection: Upgrade\r\nUpgrade: websocket\r\nTransfer-Encoding: chunked\r\n\r\n",
    ),
    "unknown expectation": (417, POST + b"Expect: cake\r\nContent-Length: 5\r\n\r\n"),
    "head too large": (431, GET + b"X: " + b"a" * 66000 + b"\r\n\r\n"),
    "endless head": (431, GET + b"X: " + b"a" * 66000),
    "too many headers": (431, GET + b"X: a\r\n" * 12000 + b"\r\n"),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_ambiguous_or_malformed_head_is_refused(
    proxy: Rig, upstream: Upstream, name: str
) -> None:
    status, request = REFUSED[name]
    async with await proxy.connect() as client:
        # What follows would be a smuggled request if the head were believed.
        await client.send(request + b"GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n")
        answer = await client.response()
        assert answer.status == status
        assert answer.one(b"connection") == b"close"
        assert answer.one(b"content-type") == b"application/problem+json"
        assert await client.gone()
    assert upstream.accepted == 0
    assert proxy.gate.seen == []


BAD_CHUNKS = {
    "not hexadecimal": b"xyz\r\n",
    "empty size": b"\r\nhello\r\n",
    "negative size": b"-5\r\nhello\r\n",
    "prefixed size": b"0x5\r\nhello\r\n",
    "plus sign": b"+5\r\nhello\r\n",
    "space before size": b" 5\r\nhello\r\n",
    "space after size": b"5 \r\nhello\r\n0\r\n\r\n",
    "size too large": b"11111111111111111\r\nhello\r\n",
    "bare LF after size": b"5\nhello\r\n0\r\n\r\n",
    "bare CR after size": b"5\rhello\r\n0\r\n\r\n",
    "bare LF in extension": b"5;a\nb\r\nhello\r\n0\r\n\r\n",
    "NUL in extension": b"5;a\0b\r\nhello\r\n0\r\n\r\n",
    "endless extension": b"5;" + b"a" * 20000,
    "chunk longer than its size": b"5\r\nhello!\r\n0\r\n\r\n",
    "chunk shorter than its size": b"5\r\nhell\r\n0\r\n\r\n",
    "bare LF after chunk": b"5\r\nhello\n0\r\n\r\n",
    "fold in trailer": b"0\r\nX: a\r\n b\r\n\r\n",
    "space in trailer name": b"0\r\nX : a\r\n\r\n",
    "endless trailers": b"0\r\n" + b"X: a\r\n" * 5000,
}


@pytest.mark.parametrize("name", BAD_CHUNKS)
async def test_bad_chunk_is_400_and_never_complete_upstream(
    proxy: Rig, upstream: Upstream, name: str
) -> None:
    async with await proxy.connect() as client:
        await client.send(POST + b"Transfer-Encoding: chunked\r\n\r\n" + BAD_CHUNKS[name])
        answer = await client.response()
        assert (answer.status, answer.one(b"connection")) == (400, b"close")
    if upstream.accepted:
        server = await upstream.take()
        try:
            received = await server.rest()
        except ConnectionResetError:
            received = b""
        assert not received.endswith(b"0\r\n\r\n")


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
    async with rig(tmp_path, upstream.target, ProxyLimits(head_timeout=0.2)) as proxy:
        async with await proxy.connect() as client:
            await client.send(b"GET / HTTP/1.1\r\nHost:")
            answer = await client.response()
            assert answer.status == 408
            assert await client.gone()
        async with await proxy.connect() as silent:
            assert await silent.gone()


async def test_second_head_has_a_deadline_of_its_own(tmp_path: Path, upstream: Upstream) -> None:
    async with (
        rig(tmp_path, upstream.target, ProxyLimits(head_timeout=0.2)) as proxy,
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
