"""What a client or an upstream can take up: time without progress, and memory."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from gateway.proxy.interface import ProxyLimits, Refuse
from tests.proxy.harness import Rig, forwarded, rig, served
from tests.proxy.upstreams import Upstream
from tests.proxy.wire import GET, OK, Wire, get, until
from tests.support.waiting import PATIENCE

EVERY_LOOP = True


async def trickle(wire: Wire, piece: bytes) -> bytes:
    """Send `piece` again and again until the peer closes; return what it said."""
    heard = b""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                await wire.send(piece)
                async with asyncio.timeout(0.02):
                    data = await wire.reader.read(65536)
            except TimeoutError:
                continue
            except ConnectionError:
                return heard
            if not data:
                return heard
            heard += data


@pytest.mark.parametrize(
    ("begin", "piece", "status"),
    [
        (b"", b"G", b"408"),
        (b"GET / HTTP/1.1\r\n", b"X: a\r\n", b"408"),
        (b"GET / HTTP/1.1\r\nX: ", b"a", b"408"),
        (b"", b"\r\n", b""),
    ],
)
async def test_bytes_that_trickle_do_not_move_the_deadline_of_a_head(
    tmp_path: Path, upstream: Upstream, begin: bytes, piece: bytes, status: bytes
) -> None:
    limits = ProxyLimits(head_timeout=1.0)
    async with rig(tmp_path, upstream.target, limits) as proxy, await proxy.connect() as client:
        await client.send(begin)
        heard = await trickle(client, piece)
    assert heard[9:12] == status
    assert proxy.gate.seen == []


async def test_empty_lines_do_not_keep_an_idle_connection(
    tmp_path: Path, upstream: Upstream
) -> None:
    limits = ProxyLimits(keepalive_timeout=0.3)
    async with rig(tmp_path, upstream.target, limits) as proxy:
        client, _ = await served(proxy, upstream)
        assert await trickle(client, b"\r\n") == b""


@pytest.mark.parametrize(
    ("begin", "piece"),
    [
        (b"", b""),
        (b"", b"HTTP/1.1 102 Processing\r\n\r\n"),
        (b"HTTP/1.1 200 OK\r\nX: ", b"a"),
    ],
    ids=["nothing", "interim answers", "a head"],
)
async def test_an_answer_that_does_not_come_is_504_whatever_comes_before_it(
    tmp_path: Path, upstream: Upstream, begin: bytes, piece: bytes
) -> None:
    limits = ProxyLimits(response_timeout=0.3)
    async with rig(tmp_path, upstream.target, limits) as proxy:
        client, server = await forwarded(proxy, upstream)
        await server.send(begin)
        await trickle(server, piece)  # until it is closed
        answer = await client.response()
        while answer.status == 102:
            answer = await client.response()
        assert answer.status == 504


async def test_slow_upload_and_slow_download_have_no_deadline(
    tmp_path: Path, upstream: Upstream
) -> None:
    limits = ProxyLimits(response_timeout=0.7, head_timeout=0.7, keepalive_timeout=0.7)
    async with rig(tmp_path, upstream.target, limits) as proxy:

        async def outlasted() -> None:
            other, _ = await forwarded(proxy, upstream)
            assert (await other.response()).status == 504

        post = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n"
        client, server = await forwarded(proxy, upstream, post)
        for byte in (b"a", b"b"):
            await outlasted()
            await client.send(byte)
        assert await server.read(2) == b"ab"
        await server.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
        for byte in (b"a", b"b"):
            await outlasted()
            await server.send(byte)
        assert (await client.response()).body == b"ab"


async def test_flood_of_interim_answers_waits_for_a_slow_client(
    proxy: Rig, upstream: Upstream
) -> None:
    client, server = await forwarded(proxy, upstream)
    client.pause()
    await server.stall(b"HTTP/1.1 103 Early Hints\r\nX: %b\r\n\r\n" % (b"a" * 64000))


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
async def test_interim_answers_without_end_are_502(
    proxy: Rig, upstream: Upstream, version: bytes
) -> None:
    client, server = await forwarded(proxy, upstream, b"GET / HTTP/%b\r\nHost: h\r\n\r\n" % version)
    await server.send(b"HTTP/1.1 102 Processing\r\n\r\n" * 1001 + OK)
    passed = 1000 if version == b"1.1" else 0
    answers = [await client.response() for _ in range(passed + 1)]
    assert [answer.status for answer in answers] == [102] * passed + [502]
    assert await server.gone()


async def test_interim_answers_are_counted_for_each_request(proxy: Rig, upstream: Upstream) -> None:
    client, server = await served(proxy, upstream)
    for _ in range(2):
        await client.send(GET)
        await server.head()
        await server.send(b"HTTP/1.1 102 Processing\r\n\r\n" * 600 + OK)
        assert [(await client.response()).status for _ in range(601)] == [102] * 600 + [200]


async def test_bytes_behind_a_handshake_are_bounded(proxy: Rig, upstream: Upstream) -> None:
    client, server = await forwarded(
        proxy, upstream, get(b"Connection: Upgrade\r\nUpgrade: websocket\r\n")
    )
    sent = await client.stall()
    await server.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n")
    assert (await client.response()).status == 101
    assert await server.read(sent) == b"x" * sent
    assert len(proxy.gate.seen) == 1
    await until(lambda: proxy.observer.websockets == 1)


async def test_requests_behind_an_answer_that_is_not_taken_wait(proxy: Rig) -> None:
    proxy.gate.rule = lambda head, client: Refuse(424, "cold", "x" * 20_000_000)
    async with await proxy.connect() as client:
        client.pause()
        await client.send(GET)
        await until(lambda: proxy.observer.outcomes == ["4xx"])
        proxy.gate.rule = lambda head, client: Refuse(424, "cold", "")
        padded = b"GET / HTTP/1.1\r\nHost: h\r\nX: %b\r\n\r\n" % (b"x" * 16_000)
        sent = await client.stall(padded)
        assert len(proxy.gate.seen) == 1
        client.resume()
        for _ in range(1 + sent // len(padded)):
            assert (await client.response()).status == 424


def head_of(size: int) -> bytes:
    """Return the beginning of a head, of about so many bytes."""
    line = b"X: %b\r\n" % (b"y" * 1000)
    return b"HTTP/1.1 200 OK\r\n" + line * (size // len(line)) + b"X: "


async def test_head_of_an_answer_that_dribbles_is_looked_at_once(
    proxy: Rig, upstream: Upstream
) -> None:
    await forwarded(proxy, upstream)
    (connection,) = proxy.proxy.pool._open
    connection.data_received(head_of(180_000))
    before = time.process_time()
    for _ in range(40_000):
        connection.data_received(b"y")
    assert time.process_time() - before < 2.0


async def test_requests_ahead_that_dribble_are_looked_at_once(
    tmp_path: Path, upstream: Upstream
) -> None:
    async with rig(tmp_path, upstream.target, ProxyLimits(head_bytes=2**20)) as proxy:
        await forwarded(proxy, upstream)
        (connection,) = proxy.proxy._context.connections
        connection.data_received(head_of(180_000))
        before = time.process_time()
        for _ in range(40_000):
            connection.data_received(b"y")
        assert time.process_time() - before < 2.0
