"""An API that shares the event loop with the data path takes one read now and then."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import pytest
from aiohttp import web

from gateway.pace import SECONDS, TURNS, Pace, Paced, PacedServerRunner
from tests.proxy.wire import Wire, until


class Transport(asyncio.Transport):
    """Knows whether it is read."""

    def __init__(self) -> None:
        super().__init__()
        self.reading = True

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


class Inner(asyncio.Protocol):
    """Notes what it is told.

    Args:
        notes: what all of them were told, in order.
        name: its own.
    """

    def __init__(self, notes: list[str], name: str) -> None:
        self._notes = notes
        self._name = name
        self.then: Callable[[], None] = lambda: None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._notes.append(f"{self._name} made")

    def data_received(self, data: bytes) -> None:
        self._notes.append(f"{self._name} {data.decode()}")
        self.then()

    def eof_received(self) -> None:
        self._notes.append(f"{self._name} eof")

    def connection_lost(self, exc: Exception | None) -> None:
        self._notes.append(f"{self._name} lost")


class Turns:
    """The event loop, whose turns the test takes; each takes some seconds, none as a rule."""

    def __init__(self) -> None:
        self.soon: list[Callable[[], None]] = []
        self.now = 0.0
        self.seconds = 0.0

    def turn(self) -> None:
        self.now += self.seconds
        soon = self.soon.copy()
        self.soon.clear()
        for callback in soon:
            callback()

    def all(self) -> None:
        while self.soon:
            self.turn()


@pytest.fixture
def turns() -> Turns:
    return Turns()


@pytest.fixture
def notes() -> list[str]:
    return []


@pytest.fixture
def connect(turns: Turns, notes: list[str]) -> Callable[[str], tuple[Paced, Inner, Transport]]:
    """Return what makes a connection with a name."""
    pace = Pace(turns.soon.append, lambda: turns.now)

    def make(name: str) -> tuple[Paced, Inner, Transport]:
        inner, transport = Inner(notes, name), Transport()
        paced = Paced(pace, inner)
        paced.connection_made(transport)
        notes.clear()
        return paced, inner, transport

    return make


Connect = Callable[[str], tuple[Paced, Inner, Transport]]


def test_between_two_reads_turns_are_left_to_others_and_they_go_by_coming(
    connect: Connect, turns: Turns, notes: list[str]
) -> None:
    first, second, third = connect("1")[0], connect("2")[0], connect("3")[0]
    for connection in (second, first, third):
        connection.data_received(b"x")
    seen = []
    while turns.soon:
        turns.turn()
        seen.append(notes.copy())
        notes.clear()
    others: list[list[str]] = [[]] * TURNS
    assert seen == [["2 x"], *others, ["1 x"], *others, ["3 x"], *others, []]


def test_long_turns_are_few(connect: Connect, turns: Turns, notes: list[str]) -> None:
    turns.seconds = SECONDS * 0.6
    for name in ("1", "2"):
        connect(name)[0].data_received(b"x")
    seen: list[list[str]] = []
    while len(seen) < 4:
        turns.turn()
        seen.append(notes.copy())
        notes.clear()
    assert seen == [["1 x"], [], [], ["2 x"]]


def test_one_that_comes_alone_waits_for_nobody(
    connect: Connect, turns: Turns, notes: list[str]
) -> None:
    for number in range(3):
        connect(str(number))[0].data_received(b"x")
        turns.turn()
        assert notes == [f"{number} x"]
        turns.all()


def test_who_comes_again_goes_to_the_end(connect: Connect, turns: Turns, notes: list[str]) -> None:
    greedy, other = connect("1")[0], connect("2")[0]
    greedy.data_received(b"a")
    other.data_received(b"b")
    while not notes:
        turns.turn()
    greedy.data_received(b"c")
    turns.all()
    assert notes == ["1 a", "2 b", "1 c"]


def test_a_connection_that_waits_is_not_read(connect: Connect, turns: Turns) -> None:
    paced, _, transport = connect("1")
    paced.data_received(b"x")
    assert not transport.reading
    turns.all()
    assert transport.reading


def test_a_pause_by_the_inner_protocol_stands(connect: Connect, turns: Turns) -> None:
    paced, inner, transport = connect("1")
    inner.then = transport.pause_reading
    paced.data_received(b"x")
    turns.all()
    assert not transport.reading


@pytest.mark.parametrize("end", ["eof", "lost"])
def test_what_came_before_the_end_is_told_before_it(
    connect: Connect, turns: Turns, notes: list[str], end: str
) -> None:
    paced = connect("1")[0]
    paced.data_received(b"x")
    if end == "eof":
        paced.eof_received()
    else:
        paced.connection_lost(None)
    assert notes == ["1 x", f"1 {end}"]
    turns.all()
    assert notes == ["1 x", f"1 {end}"]


@contextlib.asynccontextmanager
async def echo() -> AsyncIterator[int]:
    """Serve what answers with the body that it got; yield the port."""

    async def answer(request: web.BaseRequest) -> web.Response:
        return web.Response(body=await request.read())

    runner = PacedServerRunner(web.Server(answer))
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def test_a_real_server_gets_large_bodies_and_many_calls_whole() -> None:
    async with echo() as port:

        async def call(size: int) -> None:
            place = await asyncio.open_connection("127.0.0.1", port, limit=2**22)
            async with Wire(*place) as wire:
                for _ in range(3):
                    body = b"x" * size
                    head = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % size
                    await wire.send(head + body)
                    assert (await wire.response()).body == body

        await asyncio.gather(*(call(size) for size in (0, 1, 1000, 900_000) * 8))


async def test_a_runner_that_ends_closes_its_connections() -> None:
    async with echo() as port:
        wire = Wire(*await asyncio.open_connection("127.0.0.1", port))
        await wire.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        assert (await wire.response()).status == 200
    await until(wire.reader.at_eof)
    await wire.close()
