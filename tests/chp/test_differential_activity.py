"""What counts as activity of a route: with configurable-http-proxy and with nbgate-proxy."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import pytest

from tests.chp.harness import SWITCH, UPGRADE, get
from tests.chp.pair import Pair, Start, paired, routes
from tests.proxy.wire import Wire
from tests.support.waiting import until

PONG = b"\x8a\x80\x00\x00\x00\x00"
TEXT = b"\x81\x81\x00\x00\x00\x00x"


class Watched:
    """Two proxies with a route, and when it was active."""

    def __init__(self, pair: Pair) -> None:
        self.pair = pair
        self.before = ("", "")

    async def stamps(self) -> tuple[str, str]:
        """Return the last activity of the route: theirs, ours."""
        ports = (self.pair.chp.api_port, self.pair.ours.api_port)
        theirs, ours = [(await routes(port))["/x"]["last_activity"] for port in ports]
        return theirs, ours

    async def begin(self) -> None:
        """Remember when the route was active, and let a later moment come."""
        self.before = await self.stamps()
        start = time.time()
        await until(lambda: time.time() > start + 0.003)

    async def counted(self) -> tuple[bool, bool]:
        """Return whether there was activity since: theirs, ours."""
        after = await self.stamps()
        return after[0] != self.before[0], after[1] != self.before[1]


@pytest.fixture
async def watched(chp: Start) -> AsyncIterator[Watched]:
    async with paired(chp) as pair:
        await pair.add("/x")
        yield Watched(pair)


@pytest.mark.parametrize("status", [200, 204, 206, 300, 302, 304, 400, 403, 404, 500, 503])
async def test_answers(watched: Watched, status: int) -> None:
    length = b"" if status in (204, 304) else b"Content-Length: 0\r\n"
    watched.pair.upstream.answer = b"HTTP/1.1 %d Some\r\n%b\r\n" % (status, length)
    await watched.begin()
    await watched.pair.agree(get("/x"))
    assert await watched.counted() == (status < 300, status < 300)


async def test_nobody_behind_it(watched: Watched) -> None:
    await watched.pair.lead("/x", "http://127.0.0.1:1")
    await watched.begin()
    assert [made.status for made in await watched.pair.ask(get("/x"))] == [503, 503]
    assert await watched.counted() == (False, False)


async def test_bytes_of_a_request_whatever_the_answer(watched: Watched) -> None:
    watched.pair.upstream.answer = b"HTTP/1.1 500 Some\r\nContent-Length: 0\r\n\r\n"
    await watched.begin()
    await watched.pair.agree(get("/x", b"Content-Length: 5", method=b"POST") + b"hello")
    assert await watched.counted() == (True, True)


async def test_download_under_way(watched: Watched) -> None:
    watched.pair.upstream.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npart"
    await watched.begin()
    theirs, ours = await watched.pair.connected()
    async with theirs, ours:
        for wire in (theirs, ours):
            await wire.send(get("/x"))
            assert (await wire.head()).status == 200
            assert await wire.read(4) == b"part"
        assert await watched.counted() == (False, False)


class TestWebSockets:
    """What goes through an upgraded connection."""

    async def opened(self, watched: Watched, answer: bytes = b"") -> tuple[Wire, Wire]:
        watched.pair.upstream.answer = SWITCH + answer
        wires = await watched.pair.connected()
        for wire in wires:
            await wire.send(UPGRADE % b"/x/ws")
            assert (await wire.head()).status == 101
            assert await wire.read(len(answer)) == answer
        return wires

    async def test_handshake_and_what_a_server_sends(self, watched: Watched) -> None:
        await watched.begin()
        theirs, ours = await self.opened(watched, b"\x81\x01s")
        async with theirs, ours:
            assert await watched.counted() == (False, False)

    @pytest.mark.parametrize(("frame", "ours"), [(TEXT, True), (PONG, False)])
    async def test_what_a_client_sends_but_pongs(
        self, watched: Watched, frame: bytes, ours: bool
    ) -> None:
        """Pongs are a known fault: an open tab sends them by itself."""
        wires = await self.opened(watched)
        async with wires[0], wires[1]:
            await watched.begin()
            for wire in wires:
                await wire.send(frame)
                assert await wire.read(len(frame)) == frame
            assert await watched.counted() == (True, ours)


async def test_setting_a_route_again(watched: Watched) -> None:
    await watched.begin()
    await watched.pair.add("/x")
    assert await watched.counted() == (True, True)
