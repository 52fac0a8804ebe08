"""WebSockets through the data path: with a real server and client, and byte by byte."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import WSMsgType, web

from gateway.proxy.interface import Local, ProxyLimits
from routes.keys import Target
from tests.proxy.harness import Rig, activity_of, rig
from tests.proxy.upstreams import Upstream
from tests.proxy.wire import Wire, until
from tests.support.waiting import PATIENCE

UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"Sec-WebSocket-Protocol: v1.kernel\r\n\r\n"
)
SWITCH = (
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)
LARGE = 16 * 2**20
SOCKETS = web.AppKey("sockets", list[web.WebSocketResponse])


async def _echo(request: web.Request) -> web.StreamResponse:
    """Echo messages; `close CODE TEXT` closes with that code."""
    socket = web.WebSocketResponse(
        protocols=("v1.kernel", "other"), max_msg_size=2 * LARGE, autoping=False, timeout=5.0
    )
    await socket.prepare(request)
    request.app[SOCKETS].append(socket)
    async for message in socket:
        if message.type is WSMsgType.TEXT and message.data.startswith("close "):
            _, code, text = message.data.split(" ", 2)
            await socket.close(code=int(code), message=text.encode())
        elif message.type is WSMsgType.TEXT:
            await socket.send_str(message.data)
        elif message.type is WSMsgType.BINARY:
            await socket.send_bytes(message.data)
        elif message.type is WSMsgType.PING:
            await socket.pong(message.data)
    return socket


@contextlib.asynccontextmanager
async def websocket_server() -> AsyncIterator[tuple[Target, list[web.WebSocketResponse]]]:
    """Serve WebSocket echo; yield where and the sockets that were opened."""
    application = web.Application()
    sockets: list[web.WebSocketResponse] = []
    application[SOCKETS] = sockets
    application.router.add_get("/ws", _echo)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield Target("127.0.0.1", runner.addresses[0][1]), sockets
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def connected(
    folder: Path, limits: ProxyLimits | None = None
) -> AsyncIterator[tuple[Rig, aiohttp.ClientWebSocketResponse[bool], list[web.WebSocketResponse]]]:
    """Yield a data path, a client's WebSocket through it, and the server's sockets."""
    async with (
        websocket_server() as (target, sockets),
        rig(folder, target, limits) as proxy,
        aiohttp.ClientSession() as session,
        session.ws_connect(
            f"http://127.0.0.1:{proxy.port}/ws",
            protocols=("unknown", "v1.kernel"),
            max_msg_size=2 * LARGE,
            autoping=False,
        ) as client,
    ):
        yield proxy, client, sockets


async def test_subprotocol_text_and_binary_pass(tmp_path: Path) -> None:
    async with connected(tmp_path) as (proxy, client, _):
        assert client.protocol == "v1.kernel"
        await client.send_str("héllo")
        assert await client.receive_str() == "héllo"
        await client.send_bytes(b"\0\xff")
        assert await client.receive_bytes() == b"\0\xff"
        await client.ping(b"p")
        pong = await client.receive()
        assert (pong.type, pong.data) == (WSMsgType.PONG, b"p")
        assert proxy.observer.websockets == 1
        assert proxy.observer.outcomes == ["1xx"]


async def test_large_frames_pass_both_ways(tmp_path: Path) -> None:
    async with connected(tmp_path) as (_, client, _):
        data = os.urandom(LARGE)
        await client.send_bytes(data)
        received = await client.receive_bytes(timeout=PATIENCE)
        assert hashlib.sha256(received).digest() == hashlib.sha256(data).digest()


@pytest.mark.parametrize(("code", "text"), [(1000, "bye"), (1011, "kernel died"), (4321, "own")])
async def test_close_code_of_the_server_reaches_the_client(
    tmp_path: Path, code: int, text: str
) -> None:
    async with connected(tmp_path) as (proxy, client, _):
        await client.send_str(f"close {code} {text}")
        message = await client.receive()
        assert (message.type, message.data, message.extra) == (WSMsgType.CLOSE, code, text)
        await until(lambda: proxy.observer.websockets == 0)


@pytest.mark.parametrize("code", [1000, 1001, 4000])
async def test_close_code_of_the_client_reaches_the_server(tmp_path: Path, code: int) -> None:
    async with connected(tmp_path) as (proxy, client, sockets):
        await client.close(code=code, message=b"done")
        await until(lambda: sockets[0].closed)
        assert sockets[0].close_code == code
        await until(lambda: proxy.observer.websockets == 0)


async def test_tunnel_has_no_idle_cut(tmp_path: Path) -> None:
    limits = ProxyLimits(
        head_timeout=1.0, keepalive_timeout=1.0, response_timeout=1.0, upstream_idle=1.0
    )
    async with connected(tmp_path, limits) as (proxy, client, _):
        for _ in range(2):
            async with await proxy.connect() as silent:
                assert await silent.gone()  # after as long as each of them
        await client.send_str("still here")
        assert await client.receive_str() == "still here"


async def test_stop_tells_websockets_to_go_away(tmp_path: Path) -> None:
    async with connected(tmp_path) as (proxy, client, sockets):
        stopping = asyncio.create_task(proxy.proxy.stop(grace=PATIENCE), name="stop")
        message = await client.receive()
        assert (message.type, message.data) == (WSMsgType.CLOSE, 1001)
        await stopping
        await until(lambda: sockets[0].close_code == 1001)


async def upgraded(proxy: Rig, upstream: Upstream) -> tuple[Wire, Wire]:
    """Return both ends of a fresh tunnel."""
    client = await proxy.connect()
    await client.send(UPGRADE)
    server = await upstream.take()
    await server.request()
    await server.send(SWITCH)
    assert (await client.response()).status == 101
    return client, server


async def test_handshake_headers_are_put_back(proxy: Rig, upstream: Upstream) -> None:
    async with await proxy.connect() as client:
        await client.send(UPGRADE)
        server = await upstream.take()
        request = await server.request()
        assert request.one(b"connection") == b"Upgrade"
        assert request.one(b"upgrade") == b"websocket"
        assert request.one(b"sec-websocket-key") == b"dGhlIHNhbXBsZSBub25jZQ=="
        assert request.one(b"sec-websocket-protocol") == b"v1.kernel"
        await server.send(SWITCH)
        answer = await client.response()
    assert answer.one(b"connection") == b"Upgrade"
    assert answer.one(b"upgrade") == b"websocket"
    assert answer.one(b"sec-websocket-accept") == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


async def test_bytes_behind_the_handshake_follow_the_101(proxy: Rig, upstream: Upstream) -> None:
    async with await proxy.connect() as client:
        await client.send(UPGRADE + b"early\r\n\r\nbytes")
        server = await upstream.take()
        await server.request()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await server.reader.read(1)
        await server.send(SWITCH + b"greeting")
        assert (await client.response()).status == 101
        assert await client.read(8) == b"greeting"
        assert await server.read(14) == b"early\r\n\r\nbytes"


async def test_bytes_behind_a_refused_handshake_are_the_next_request(
    proxy: Rig, upstream: Upstream
) -> None:
    async with await proxy.connect() as client:
        await client.send(UPGRADE + b"GET /next HTTP/1.1\r\nHost: h\r\n\r\n")
        server = await upstream.take()
        await server.request()
        await server.send(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
        assert (await client.response()).status == 403
        assert (await server.request()).target == b"/next"


@pytest.mark.parametrize(
    "request_bytes",
    [
        UPGRADE.replace(b"GET", b"POST"),
        UPGRADE.replace(b"HTTP/1.1", b"HTTP/1.0"),
        UPGRADE.replace(b"keep-alive, Upgrade", b"keep-alive"),
        UPGRADE.replace(b"WebSocket\r\n", b"h2c\r\n"),
    ],
)
async def test_what_is_no_websocket_handshake_is_a_plain_request(
    proxy: Rig, upstream: Upstream, request_bytes: bytes
) -> None:
    async with await proxy.connect() as client:
        await client.send(request_bytes)
        server = await upstream.take()
        assert (await server.request()).names() & {b"upgrade", b"connection"} == set()
        await server.send(SWITCH)
        assert (await client.response()).status == 502


async def test_half_close_passes_both_ways(proxy: Rig, upstream: Upstream) -> None:
    client, server = await upgraded(proxy, upstream)
    client.writer.write_eof()
    assert await server.rest() == b""
    await server.send(b"last words")
    await server.close()
    assert await client.rest() == b"last words"
    await until(lambda: proxy.observer.websockets == 0)


async def test_lost_client_closes_the_upstream_side(proxy: Rig, upstream: Upstream) -> None:
    client, server = await upgraded(proxy, upstream)
    client.reset()
    assert await server.gone()
    await until(lambda: proxy.observer.websockets == 0)


async def test_lost_upstream_closes_the_client_side(proxy: Rig, upstream: Upstream) -> None:
    client, server = await upgraded(proxy, upstream)
    server.reset()
    assert await client.gone()
    await until(lambda: proxy.observer.websockets == 0)


async def test_tunnel_is_not_pooled(proxy: Rig, upstream: Upstream) -> None:
    client, _ = await upgraded(proxy, upstream)
    await client.close()
    async with await proxy.connect() as other:
        await other.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        await (await upstream.take()).request()
    assert upstream.accepted == 2


@pytest.mark.parametrize("slow", ["client", "server"])
async def test_slow_end_of_a_tunnel_stops_the_other(
    proxy: Rig, upstream: Upstream, slow: str
) -> None:
    client, server = await upgraded(proxy, upstream)
    reader, sender = (client, server) if slow == "client" else (server, client)
    reader.pause()
    sent = await sender.stall()
    received = 0
    reader.resume()
    while received < sent:
        received += len(await reader.reader.read(2**20))
    assert received == sent


def masked(opcode: int, payload: bytes = b"") -> bytes:
    """Return a client's frame with an all-zero mask."""
    return bytes([0x80 | opcode, 0x80 | len(payload)]) + bytes(4) + payload


async def test_only_frames_of_a_person_mark_activity(proxy: Rig, upstream: Upstream) -> None:
    entry = proxy.notebook()
    client, server = await upgraded(proxy, upstream)
    assert (activity_of(entry).websockets, activity_of(entry).requests) == (1, 0)
    for frame, marks in [
        (masked(0x9, b"ping"), False),
        (masked(0xA), False),
        (masked(0xA) + masked(0x9), False),
        (masked(0x1, b"hi"), True),
        (masked(0x9) + masked(0x2, b"hi"), True),
        (masked(0x8, b"\x03\xe8"), False),
    ]:
        activity_of(entry).last = 0.0
        await client.send(frame)
        assert await server.read(len(frame)) == frame
        assert (activity_of(entry).last > 0) is marks
    activity_of(entry).last = 0.0
    await server.send(b"\x81\x02hi")
    assert await client.read(4) == b"\x81\x02hi"
    assert activity_of(entry).last == 0.0
    client.reset()
    await until(lambda: activity_of(entry).websockets == 0)


async def test_pages_may_have_websockets(tmp_path: Path) -> None:
    async def switch(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(SWITCH)
        writer.write(await reader.readexactly(4))
        writer.close()

    server = await asyncio.start_unix_server(switch, tmp_path / "pages.sock")
    async with server, rig(tmp_path) as proxy, await proxy.connect() as client:
        proxy.gate.rule = lambda head, peer: Local()
        await client.send(UPGRADE)
        assert (await client.response()).status == 101
        await client.send(b"ping")
        assert await client.read(4) == b"ping"
