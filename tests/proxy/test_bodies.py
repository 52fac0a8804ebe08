"""Bodies: how they end, how they break, and who speaks first."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from gateway.proxy.interface import Local
from routes.keys import Target
from tests.proxy.harness import Rig, rig
from tests.proxy.upstreams import UnixUpstream, Upstream, parsed
from tests.proxy.wire import until

POST = b"POST / HTTP/1.1\r\nHost: h\r\n"
GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"


async def test_chunked_request_passes_as_it_came(proxy: Rig, upstream: Upstream) -> None:
    raw = b"5;a=b\r\nhello\r\n00A\r\n0123456789\r\n0\r\n\r\n"
    async with await proxy.connect() as client:
        await client.send(POST + b"Transfer-Encoding: Chunked\r\n\r\n" + raw)
        message = await (await upstream.take()).request()
    assert message.raw == raw
    assert message.all(b"transfer-encoding") == [b"chunked"]
    assert message.one(b"content-length") is None


async def test_chunked_request_in_single_bytes_is_read(echoing: Rig) -> None:
    async with await echoing.connect() as client:
        raw = b"5\r\nhello\r\n1;x\r\n!\r\n0\r\nX-T: 1\r\n\r\n"
        for byte in POST + b"Transfer-Encoding: chunked\r\n\r\n" + raw:
            await client.send(bytes([byte]))
        assert parsed((await client.response()).body).body == b"hello!"


async def test_trailers_pass_without_what_could_speak_for_us(
    proxy: Rig, upstream: Upstream
) -> None:
    async with await proxy.connect() as client:
        await client.send(
            POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-Sum: 1\r\n"
            b"X-Nbgate-User: root\r\nAuthorization: token x\r\nContent-Length: 4\r\n"
            b"X-Forwarded-For: 6.6.6.6\r\nCookie: a=b\r\n\r\n" + GET
        )
        server = await upstream.take()
        assert (await server.request()).trailers == [(b"X-Sum", b"1")]
        await server.send(NO_CONTENT)
        following = await server.request()
        assert following.start == b"GET / HTTP/1.1"
        assert b"x-sum" not in following.names()


async def test_no_trailer_reaches_the_pages(proxy: Rig, tmp_path: Path) -> None:
    proxy.gate.rule = lambda head, client: Local()
    async with (
        UnixUpstream(tmp_path / "pages.sock", echoing=False) as pages,
        await proxy.connect() as client,
    ):
        chunks = b"2;a=b\r\nhi\r\n0\r\n"
        await client.send(
            POST + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"X-Sum: 1\r\n\r\n" + GET
        )
        server = await pages.take()
        assert (await server.request()).raw == chunks + b"\r\n"
        await server.send(NO_CONTENT)
        assert (await server.request()).start == b"GET / HTTP/1.1"


async def test_body_flows_before_it_is_complete(proxy: Rig, upstream: Upstream) -> None:
    async with await proxy.connect() as client:
        await client.send(POST + b"Content-Length: 10\r\n\r\nhello")
        server = await upstream.take()
        await server.head()
        assert await server.read(5) == b"hello"
        await client.send(b"world")
        assert await server.read(5) == b"world"


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: 100\r\n\r\nhalf of it",
        b"Transfer-Encoding: chunked\r\n\r\n64\r\nhalf of it",
    ],
)
async def test_truncated_answer_is_never_a_clean_end(
    proxy: Rig, upstream: Upstream, head: bytes
) -> None:
    async with await proxy.connect() as client:
        await client.send(GET)
        server = await upstream.take()
        await server.request()
        await server.send(b"HTTP/1.1 200 OK\r\n" + head)
        assert (await client.head()).status == 200
        await client.read(len(head.partition(b"\r\n\r\n")[2]))
        await server.close()
        assert await client.gone()
    await until(lambda: proxy.observer.outcomes == ["aborted"])


async def test_reset_of_an_answer_without_length_is_seen(proxy: Rig, upstream: Upstream) -> None:
    async with await proxy.connect() as client:
        await client.send(GET)
        server = await upstream.take()
        await server.request()
        await server.send(b"HTTP/1.1 200 OK\r\n\r\nhalf of it")
        assert (await client.head()).one(b"transfer-encoding") == b"chunked"
        assert await client.read(15) == b"a\r\nhalf of it\r\n"
        server.reset()
        assert await client.gone()


async def test_http_10_client_sees_a_reset_for_a_broken_answer(
    proxy: Rig, upstream: Upstream
) -> None:
    async with await proxy.connect() as client:
        await client.send(b"GET / HTTP/1.0\r\nHost: h\r\n\r\n")
        server = await upstream.take()
        await server.request()
        await server.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello")
        await client.head()
        assert await client.read(5) == b"hello"
        server.reset()
        with pytest.raises(ConnectionResetError):
            await client.rest()


async def test_upstream_that_closes_without_an_answer_is_502(
    proxy: Rig, upstream: Upstream
) -> None:
    async with await proxy.connect() as client:
        await client.send(POST + b"Content-Length: 2\r\n\r\nhi")
        server = await upstream.take()
        await server.request()
        await server.close()
        answer = await client.response()
        assert answer.status == 502
        assert answer.one(b"content-length") == b"%d" % len(answer.body)
        # The request was read to its end, so that the connection is good for another.
        await client.send(GET)
        second = await upstream.take()
        await second.request()
        await second.send(NO_CONTENT)
        assert (await client.response()).status == 204


async def test_continue_comes_from_the_upstream(proxy: Rig, upstream: Upstream) -> None:
    async with await proxy.connect() as client:
        await client.send(POST + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        server = await upstream.take()
        assert (await server.head()).one(b"expect") == b"100-continue"
        await server.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert (await client.response()).status == 100
        await client.send(b"hi")
        assert await server.read(2) == b"hi"
        await server.send(NO_CONTENT)
        answer = await client.response()
        assert (answer.status, answer.one(b"connection")) == (204, None)


async def test_refused_expectation_ends_the_connection(proxy: Rig, upstream: Upstream) -> None:
    async with await proxy.connect() as client:
        await client.send(POST + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        server = await upstream.take()
        await server.head()
        await server.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
        answer = await client.response()
        assert (answer.status, answer.one(b"connection")) == (413, b"close")
        # Whether it sends the body or not, what comes is no request.
        await client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        assert await client.gone()
        assert await server.gone()
    assert len(proxy.gate.seen) == 1


async def test_early_answer_reaches_a_client_that_still_uploads(
    proxy: Rig, upstream: Upstream
) -> None:
    async with await proxy.connect() as client:
        await client.send(POST + b"Content-Length: 1000000\r\n\r\n" + b"x" * 1000)
        server = await upstream.take()
        await server.head()
        await server.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig")
        answer = await client.response()
        assert (answer.status, answer.body) == (413, b"big")
        assert answer.one(b"connection") == b"close"
        await client.send(b"x" * 500_000)
        assert await client.gone()
    assert len(proxy.gate.seen) == 1


async def test_early_answer_survives_the_write_that_breaks_the_connection(tmp_path: Path) -> None:
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        target = Target(*listener.getsockname())
        async with rig(tmp_path, target) as proxy, await proxy.connect() as client:
            await client.send(POST + b"Content-Length: 9999999\r\n\r\n" + b"x" * 1000)
            server, _ = await loop.sock_accept(listener)
            with server:
                assert b"Content-Length" in await loop.sock_recv(server, 100)
                # In one turn of the loop: more of the upload comes, the upstream has answered,
                # and has closed with bytes unread, so that passing the upload on must fail.
                client.writer.write(b"x" * 100_000)
                server.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig")
            answer = await client.response()
    assert (answer.status, answer.body) == (413, b"big")


async def test_answer_can_stream_while_the_request_streams(proxy: Rig, upstream: Upstream) -> None:
    async with await proxy.connect() as client:
        await client.send(POST + b"Transfer-Encoding: chunked\r\n\r\n")
        server = await upstream.take()
        await server.head()
        await server.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        await client.head()
        for chunk in (b"3\r\none\r\n", b"3\r\ntwo\r\n", b"0\r\n\r\n"):
            await client.send(chunk)
            assert await server.read(len(chunk)) == chunk
            await server.send(chunk)
            assert await client.read(len(chunk)) == chunk


async def test_slow_upstream_stops_the_client(proxy: Rig, upstream: Upstream) -> None:
    async with await proxy.connect() as client:
        await client.send(POST + b"Content-Length: 1000000000\r\n\r\n")
        server = await upstream.take()
        await server.head()
        server.pause()
        await client.stall()


async def test_slow_client_stops_the_upstream(proxy: Rig, upstream: Upstream) -> None:
    async with await proxy.connect() as client:
        await client.send(GET)
        server = await upstream.take()
        await server.request()
        client.pause()
        await server.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        await server.stall()
