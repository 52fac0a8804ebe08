"""How TLS connections end: what was said arrives whole, and a cut is never a clean end."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from gateway.proxy.interface import ProxyLimits
from tests.proxy.certificates import Pair, make_pair
from tests.proxy.harness import Rig
from tests.proxy.secure import connect, secure
from tests.proxy.upstreams import Upstream
from tests.proxy.wire import until
from tests.support.waiting import PATIENCE

EVERY_LOOP = True

GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
LAST = b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
BAD = b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"
LARGE = b"x" * 1_000_000
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"
BULK = 50 * 2**20


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return make_pair(tmp_path_factory.mktemp("pair"), "nb")


@pytest.fixture
async def proxy(tmp_path: Path, pair: Pair, upstream: Upstream) -> AsyncIterator[Rig]:
    async with secure(tmp_path, pair, upstream) as made:
        yield made


def heard(port: int, pair: Pair, pieces: Sequence[bytes]) -> bytes:
    """Send `pieces`, each behind the first when a part of the answer has come.

    Returns:
        All that the gateway sends; raises where TLS was not closed as it should.
    """
    raw = socket.create_connection(("127.0.0.1", port), PATIENCE)
    with pair.client().wrap_socket(
        raw, server_hostname="127.0.0.1", suppress_ragged_eofs=False
    ) as client:
        first, *others = pieces
        client.sendall(first)
        got = client.recv(16384)
        for piece in others:
            client.sendall(piece)
        while piece := client.recv(65536):
            got += piece
        return got


@pytest.mark.parametrize("more", [[], [GET], [GET, LARGE]])
async def test_a_refusal_arrives_whole_and_ends_cleanly(
    tmp_path: Path, upstream: Upstream, pair: Pair, more: list[bytes]
) -> None:
    async with secure(tmp_path, pair, upstream, ProxyLimits(linger_timeout=3600.0)) as proxy:
        got = await asyncio.to_thread(heard, proxy.port, pair, [BAD, *more])
        assert got.startswith(b"HTTP/1.1 400 ")
        assert got.endswith(b"}")
        assert proxy.gate.seen == []


async def test_the_last_answer_ends_at_once(tmp_path: Path, upstream: Upstream, pair: Pair) -> None:
    async with secure(tmp_path, pair, upstream, ProxyLimits(quiet_timeout=3600.0)) as proxy:
        asking = asyncio.create_task(asyncio.to_thread(heard, proxy.port, pair, [LAST]))
        server = await upstream.take()
        await server.request()
        await server.send(ANSWER % 2 + b"ok")
        assert (await asking).endswith(b"\r\n\r\nok")


async def test_the_last_answer_in_a_drain_arrives_whole_though_the_client_says_more(
    proxy: Rig, upstream: Upstream, pair: Pair
) -> None:
    idle = await connect(proxy, pair)
    asking = asyncio.create_task(asyncio.to_thread(heard, proxy.port, pair, [GET, GET, LARGE]))
    server = await upstream.take()
    await server.request()
    stopping = asyncio.create_task(proxy.proxy.stop(grace=PATIENCE), name="stop")
    assert await idle.gone()
    await server.send(ANSWER % len(LARGE) + LARGE)
    assert (await asking).endswith(b"\r\n\r\n" + LARGE)
    await stopping
    assert len(proxy.gate.seen) == 1


async def test_an_early_answer_reaches_a_client_that_uploads(
    proxy: Rig, upstream: Upstream, pair: Pair
) -> None:
    client = await connect(proxy, pair)
    await client.send(b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % BULK)
    server = await upstream.take()
    await server.head()
    await server.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig")
    server.reset()
    answer = await client.response()
    assert (answer.status, answer.body) == (413, b"big")


@pytest.mark.parametrize(
    ("version", "head"),
    [
        (b"1.1", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n"),
        (b"1.1", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n63\r\n"),
        (b"1.0", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n63\r\n"),
    ],
)
async def test_a_response_that_is_cut_off_has_no_clean_end(
    proxy: Rig, upstream: Upstream, pair: Pair, version: bytes, head: bytes
) -> None:
    asking = asyncio.create_task(
        asyncio.to_thread(heard, proxy.port, pair, [b"GET / HTTP/%b\r\nHost: h\r\n\r\n" % version])
    )
    server = await upstream.take()
    await server.head()
    await server.send(head + b"half")
    await until(lambda: bool(proxy.observer.started))
    await server.close()
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await asking
