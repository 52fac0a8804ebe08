"""What counts as activity of a route, as its cullers read it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from gateway.chp.book import RouteBook
from gateway.proxy.interface import Activity
from tests.chp.harness import SWITCH, UPGRADE, Rig, get, rig, url
from tests.proxy.upstreams import Upstream
from tests.proxy.wire import Wire, until

PONG = b"\x8a\x80\x00\x00\x00\x00"
TEXT = b"\x81\x81\x00\x00\x00\x00x"


class Watched:
    """A proxy with one route, the activity of which is set back before each step."""

    def __init__(self, proxy: Rig, upstream: Upstream) -> None:
        self.proxy = proxy
        self.upstream = upstream

    @property
    def activity(self) -> Activity:
        relay = self.proxy.proxy.book.table.get("/x")
        assert relay is not None
        assert relay.entry.activity is not None
        return relay.entry.activity

    @property
    def last(self) -> float:
        return self.activity.last

    def forget(self) -> None:
        self.activity.last = 0.0

    async def settled(self) -> None:
        await until(lambda: self.proxy.proxy.traffic.in_flight == 0)

    async def request(self, client: Wire, data: bytes) -> Wire:
        """Send a request; return the upstream's end, which has read it."""
        await client.send(data)
        server = await self.upstream.take()
        await server.head()
        return server


@pytest.fixture
async def watched(upstream: Upstream) -> AsyncIterator[Watched]:
    async with rig() as proxy:
        await proxy.add("/x", url(upstream.port))
        made = Watched(proxy, upstream)
        made.forget()
        yield made


@pytest.mark.parametrize(
    ("status", "counts"),
    [(200, True), (204, True), (206, True), (302, False), (304, False), (404, False), (503, False)],
)
async def test_finished_answer_below_300_counts(
    watched: Watched, status: int, counts: bool
) -> None:
    client = await watched.proxy.connect()
    server = await watched.request(client, get("/x"))
    assert watched.last == 0.0
    length = b"" if status in (204, 304) else b"Content-Length: 0\r\n"
    await server.send(b"HTTP/1.1 %d Some\r\n%b\r\n" % (status, length))
    await client.response()
    await watched.settled()
    assert (watched.last > 0) is counts


async def test_nobody_behind_it_does_not_count(watched: Watched) -> None:
    watched.upstream.stop_listening()
    assert (await watched.proxy.ask(get("/x"))).status == 503
    assert watched.last == 0.0


async def test_download_in_progress_does_not_count_until_it_ends(watched: Watched) -> None:
    client = await watched.proxy.connect()
    server = await watched.request(client, get("/x"))
    await server.send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc")
    await client.head()
    assert await client.read(3) == b"abc"
    assert watched.last == 0.0
    await server.send(b"def")
    assert await client.read(3) == b"def"
    await watched.settled()
    assert watched.last > 0


async def test_download_that_is_given_up_does_not_count(watched: Watched) -> None:
    client = await watched.proxy.connect()
    server = await watched.request(client, get("/x"))
    await server.send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc")
    await client.head()
    await client.close()
    await watched.settled()
    assert watched.last == 0.0


async def test_each_byte_of_a_request_counts(watched: Watched) -> None:
    client = await watched.proxy.connect()
    server = await watched.request(
        client, b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n"
    )
    assert watched.last == 0.0
    for _ in range(2):
        watched.forget()
        await client.send(b"a")
        assert await server.read(1) == b"a"
        assert watched.last > 0


async def test_websocket_counts_what_a_client_sends_but_pongs(watched: Watched) -> None:
    client = await watched.proxy.connect()
    server = await watched.request(client, UPGRADE % b"/x/ws")
    await server.send(SWITCH + b"\x81\x01s")
    assert (await client.head()).status == 101
    assert await client.read(3) == b"\x81\x01s"
    await client.send(PONG)
    await server.read(len(PONG))
    assert watched.last == 0.0
    await client.send(TEXT)
    await server.read(len(TEXT))
    assert watched.last > 0


async def test_activity_is_told_by_the_wall_clock_and_follows_its_steps() -> None:
    now, wall = 5.0, 1_000_000.0004
    book = RouteBook(clock=lambda: now, wall=lambda: wall)
    book.put("/x", {"target": "http://h"})
    assert '"1970-01-12T13:46:40.000Z"' in (book.get("/x") or "")
    now, wall = now + 60, wall + 60.2
    assert '"1970-01-12T13:46:40.000Z"' in (book.get("/x") or "")
    wall += 3600
    assert '"1970-01-12T14:46:40' in (book.get("/x") or "")
