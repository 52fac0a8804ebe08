"""The data path behind TLS: what clients see, on asyncio's own loop and on uvloop."""

from __future__ import annotations

import asyncio
import contextlib
import random
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from gateway.proxy.interface import Local, ProxyLimits
from tests.proxy.certificates import Pair, make_pair
from tests.proxy.harness import Rig
from tests.proxy.secure import ask, connect, loud, secure
from tests.proxy.test_websockets import LARGE, SWITCH, UPGRADE, websocket_server
from tests.proxy.upstreams import Upstream, echo, pages_app, parsed
from tests.proxy.wire import GET, Wire, until
from tests.support.waiting import PATIENCE

EVERY_LOOP = True
BULK = 50 * 2**20


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return make_pair(tmp_path_factory.mktemp("pair"), "nb")


@pytest.fixture
async def echoing(tmp_path: Path, pair: Pair) -> AsyncIterator[Rig]:
    async with Upstream(echo) as upstream, secure(tmp_path, pair, upstream) as made:
        yield made


@pytest.fixture
async def proxy(tmp_path: Path, pair: Pair, upstream: Upstream) -> AsyncIterator[Rig]:
    async with secure(tmp_path, pair, upstream) as made:
        yield made


async def test_requests_are_answered_and_upstreams_are_told_the_scheme(
    echoing: Rig, pair: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    client = await connect(echoing, pair)
    tls = client.writer.get_extra_info("ssl_object")
    assert (tls.selected_alpn_protocol(), tls.version()) == ("http/1.1", "TLSv1.3")
    for _ in range(3):
        await client.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello")
        echoed = parsed((await client.response()).body)
        assert echoed.body == b"hello"
        assert echoed.one(b"x-forwarded-proto") == b"https"
        assert echoed.one(b"x-forwarded-port") == b"443"
    ((_, seen), *_) = echoing.gate.seen
    assert seen.scheme == "https"
    await client.send(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
    assert (await client.response()).one(b"connection") == b"close"
    assert await client.gone()
    assert loud(caplog) == []


async def test_the_pages_are_told_the_scheme(echoing: Rig, pair: Pair, tmp_path: Path) -> None:
    echoing.gate.rule = lambda head, client: Local()
    async with pages_app(tmp_path / "pages.sock"):
        client = await connect(echoing, pair)
        await client.send(GET)
        assert b'"X-Nbgate-Scheme": "https"' in (await client.response()).body


async def test_old_protocols_are_refused(echoing: Rig, pair: Pair) -> None:
    old = pair.client()
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await asyncio.open_connection("127.0.0.1", echoing.port, ssl=old)
    assert (await ask(echoing, pair, GET)) == 200


async def test_a_large_download_arrives_whole_at_a_client_that_reads_slowly(
    proxy: Rig, upstream: Upstream, pair: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    block = random.Random(4).randbytes(2**20)
    client = await connect(proxy, pair)
    client.pause()
    await client.send(GET)
    server = await upstream.take()
    await server.request()
    await server.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % BULK)
    stalled = await server.stall(block, BULK // 2)
    assert stalled < BULK // 2
    client.resume()
    sending = asyncio.create_task(_fill(server, block, stalled))
    head = await client.head()
    assert head.one(b"content-length") == b"%d" % BULK
    await _arrives(client, block)
    await sending
    assert loud(caplog) == []


async def _fill(sender: Wire, block: bytes, sent: int) -> None:
    """Send `block` until it is BULK bytes; so many were sent before."""
    async with asyncio.timeout(PATIENCE):
        while sent < BULK:
            sender.writer.write(block)
            sent += len(block)
            await sender.writer.drain()


async def _arrives(receiver: Wire, block: bytes) -> None:
    """Read BULK bytes and assert that they are `block` again and again."""
    for number in range(BULK // len(block)):
        assert await receiver.read(len(block)) == block, f"block {number}"


async def test_a_large_upload_arrives_whole_at_an_upstream_that_reads_slowly(
    proxy: Rig, upstream: Upstream, pair: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    block = random.Random(5).randbytes(2**20)
    client = await connect(proxy, pair)
    await client.send(b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % BULK)
    server = await upstream.take()
    server.pause()
    stalled = await client.stall(block, BULK // 2)
    assert stalled < BULK // 2
    server.resume()
    sending = asyncio.create_task(_fill(client, block, stalled))
    await server.head()
    await _arrives(server, block)
    await sending
    await server.send(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert (await client.response()).status == 204
    assert loud(caplog) == []


async def test_websocket_messages_of_any_size_pass(
    tmp_path: Path, pair: Pair, upstream: Upstream, caplog: pytest.LogCaptureFixture
) -> None:
    async with websocket_server() as (target, _), secure(tmp_path, pair, upstream) as rig:
        rig.notebook(target)
        async with aiohttp.ClientSession() as session:
            socket = await session.ws_connect(
                f"https://127.0.0.1:{rig.port}/ws", ssl=pair.client(), max_msg_size=2 * LARGE
            )
            for size in (0, 1, 70_000, LARGE):
                message = random.Random(size).randbytes(size)
                await socket.send_bytes(message)
                assert await socket.receive_bytes() == message
            await socket.close()
        await until(lambda: rig.observer.websockets == 0)
    assert loud(caplog) == []


async def test_what_follows_the_upgrade_on_either_side_is_not_lost(
    proxy: Rig, upstream: Upstream, pair: Pair
) -> None:
    client = await connect(proxy, pair)
    await client.send(UPGRADE + b"\x82\x82\x00\x00\x00\x00yo")
    server = await upstream.take()
    await server.head()
    await server.send(SWITCH + b"\x82\x02hi")
    assert (await client.head()).status == 101
    assert await client.read(4) == b"\x82\x02hi"
    assert await server.read(8) == b"\x82\x82\x00\x00\x00\x00yo"


@pytest.mark.parametrize("side", ["client", "upstream"])
async def test_closing_one_end_of_a_tunnel_closes_the_other_after_what_was_sent(
    proxy: Rig, upstream: Upstream, pair: Pair, side: str, caplog: pytest.LogCaptureFixture
) -> None:
    client = await connect(proxy, pair)
    await client.send(UPGRADE)
    server = await upstream.take()
    await server.head()
    await server.send(SWITCH)
    await client.head()
    closing, other = (client, server) if side == "client" else (server, client)
    block = random.Random(6).randbytes(200_000)
    await closing.send(block)
    closing.writer.close()
    assert await other.rest() == block
    await until(lambda: proxy.observer.websockets == 0)
    assert loud(caplog) == []


async def test_a_slow_reader_of_a_tunnel_stops_the_upstream(
    proxy: Rig, upstream: Upstream, pair: Pair
) -> None:
    client = await connect(proxy, pair)
    await client.send(UPGRADE)
    server = await upstream.take()
    await server.head()
    await server.send(SWITCH)
    await client.head()
    client.pause()
    sent = await server.stall()
    client.resume()
    async with asyncio.timeout(PATIENCE):
        for _ in range(sent // 65536):
            assert await client.reader.readexactly(65536) == b"x" * 65536


async def test_tunnels_are_told_to_go_away(
    tmp_path: Path, upstream: Upstream, pair: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    async with secure(tmp_path, pair, upstream) as proxy:
        client = await connect(proxy, pair)
        await client.send(UPGRADE)
        server = await upstream.take()
        await server.head()
        await server.send(SWITCH)
        await client.head()
        stopping = asyncio.create_task(proxy.proxy.stop(grace=0.0))
        assert await client.rest() == b"\x88\x02\x03\xe9"
        await client.close()
        await stopping
    assert loud(caplog) == []


@pytest.mark.parametrize(
    "data",
    [GET, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", b"\x00" * 300, b""],
    ids=["http", "hello", "zeros", "nothing"],
)
async def test_what_is_no_tls_is_closed_without_a_trace(
    echoing: Rig, pair: Pair, data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with await echoing.connect() as plain:
        plain.writer.write(data)
        plain.writer.write_eof()
        with contextlib.suppress(ConnectionError):
            await plain.rest()
    assert await ask(echoing, pair, GET) == 200
    assert not echoing.gate.seen[1:]
    assert loud(caplog) == []


async def test_a_handshake_that_does_not_end_is_ended(
    tmp_path: Path, pair: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    limits = ProxyLimits(head_timeout=1.0)
    async with Upstream(echo) as upstream, secure(tmp_path, pair, upstream, limits) as rig:
        async with await rig.connect() as plain:
            await plain.send(b"\x16\x03\x01")
            assert await plain.gone()
        client = await connect(rig, pair)
        await client.send(b"GET / HT")
        assert (await client.response()).status == 408
    assert loud(caplog) == []
