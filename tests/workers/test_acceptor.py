"""How workers share connections: how many each may take, and that none waits for a stuck one."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
from collections.abc import AsyncIterator, Iterator

import pytest

from gateway.workers.acceptor import Acceptor, room
from gateway.workers.board import Board
from tests.proxy.wire import until


@pytest.mark.parametrize(
    ("own", "least", "vain", "may"),
    [
        (0, 0, 0, 2),  # a little ahead
        (1, 0, 0, 1),
        (2, 0, 0, 0),  # the others' turn
        (2, 0, 1, 1),  # they did not come
        (2, 0, 9, 9),
        (0, 30, 0, 32),  # it is behind
        (160, 150, 0, 2),  # of many, some more or less are as even
        (7, None, 0, 1024),  # nobody else accepts
    ],
)
def test_room(own: int, least: int | None, vain: int, may: int) -> None:
    assert room(own, least, vain) == may


def test_board_shows_the_least_of_those_that_accept() -> None:
    board = Board.create(3)
    assert board.least_beside(0) is None
    board.show(0, 1)
    assert board.least_beside(0) is None, "its own number is not meant"
    board.show(1, 9)
    board.show(2, 7)
    assert Board(os.dup(board.descriptor), 3).least_beside(0) == 7, "others read what was written"
    board.leave(2)
    assert board.least_beside(0) == 9


class Place:
    """A worker's acceptor, and what it has taken."""

    def __init__(self, listener: socket.socket, board: Board, slot: int) -> None:
        self.taken: list[socket.socket] = []
        self.acceptor = Acceptor([listener.dup()], self._take, self._count, board, slot)

    async def _take(self, connection: socket.socket) -> None:
        self.taken.append(connection)

    def _count(self) -> int:
        return len(self.taken)

    async def close(self) -> None:
        await self.acceptor.close()
        for connection in self.taken:
            connection.close()


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0), backlog=256) as listener:
        listener.setblocking(False)
        yield listener


@contextlib.contextmanager
def clients(listener: socket.socket, number: int) -> Iterator[None]:
    """Have clients wait to be accepted, all at once."""
    with contextlib.ExitStack() as stack:
        for _ in range(number):
            stack.enter_context(socket.create_connection(listener.getsockname()))
        yield


@contextlib.asynccontextmanager
async def places(listener: socket.socket, *slots: int) -> AsyncIterator[list[Place]]:
    """Run acceptors in these slots of a board of two."""
    board = Board.create(2)
    made = [Place(listener, board, slot) for slot in slots]
    for place in made:
        place.acceptor.start()
    yield made
    for place in made:
        await place.close()


async def test_a_burst_is_shared_evenly(listener: socket.socket) -> None:
    async with places(listener, 0, 1) as (one, other):
        with clients(listener, 64):
            await until(lambda: len(one.taken) + len(other.taken) == 64)
            assert abs(len(one.taken) - len(other.taken)) <= 4


async def test_one_worker_alone_takes_all(listener: socket.socket) -> None:
    async with places(listener, 1) as (alone,):
        with clients(listener, 64):
            await until(lambda: len(alone.taken) == 64)


async def test_nobody_waits_for_a_stuck_worker(listener: socket.socket) -> None:
    board = Board.create(2)
    board.show(1, 0)  # and never comes to accept
    place = Place(listener, board, 0)
    place.acceptor.start()
    with clients(listener, 64):
        await until(lambda: len(place.taken) == 64)
    await place.close()


async def test_worker_that_stops_leaves_the_others_alone(listener: socket.socket) -> None:
    board = Board.create(2)
    first, second = Place(listener, board, 0), Place(listener, board, 1)
    first.acceptor.start()
    await first.close()
    first.acceptor.show()  # a connection of before has ended
    assert board.least_beside(1) is None
    second.acceptor.start()
    with clients(listener, 8):
        await until(lambda: len(second.taken) == 8)
    await second.close()


async def test_without_descriptors_it_pauses_and_goes_on(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("gateway.workers.acceptor._SHORT_SECONDS", 0.01)
    failing = _Failing(listener)
    place = Place(failing, Board.create(2), 0)  # type: ignore[arg-type]
    place.acceptor.start()
    with clients(listener, 3):
        await until(lambda: len(place.taken) == 3)
    await place.close()
    assert "no connection can be accepted" in caplog.text


class _Failing:
    """A listening socket that has no descriptors left, once."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener.dup()
        self._failed = False

    def dup(self) -> _Failing:
        return self

    def fileno(self) -> int:
        return self._listener.fileno()

    def accept(self) -> tuple[socket.socket, object]:
        if not self._failed:
            self._failed = True
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return self._listener.accept()

    def close(self) -> None:
        self._listener.close()


async def test_failed_handshake_is_no_failure_of_the_acceptor(listener: socket.socket) -> None:
    tried: list[socket.socket] = []

    async def take(connection: socket.socket) -> None:
        tried.append(connection)
        connection.close()
        raise ConnectionResetError

    acceptor = Acceptor([listener.dup()], take, lambda: 0, Board.create(1), 0)
    acceptor.start()
    with clients(listener, 2):
        await until(lambda: len(tried) == 2)
    await acceptor.close()


async def test_close_gives_up_what_is_being_set_up(listener: socket.socket) -> None:
    began, given_up = asyncio.Event(), asyncio.Event()

    async def take(connection: socket.socket) -> None:
        with connection:
            began.set()
            try:
                await asyncio.Event().wait()
            finally:
                given_up.set()

    acceptor = Acceptor([listener.dup()], take, lambda: 0, Board.create(1), 0)
    acceptor.start()
    with clients(listener, 1):
        await began.wait()
        await acceptor.close()
    assert given_up.is_set()


async def test_all_sockets_are_accepted_from(listener: socket.socket) -> None:
    taken: list[int] = []

    async def take(connection: socket.socket) -> None:
        with connection:
            taken.append(connection.getsockname()[1])

    with socket.create_server(("127.0.0.1", 0)) as second:
        second.setblocking(False)
        both = [listener.dup(), second.dup()]
        ports = {one.getsockname()[1] for one in both}
        acceptor = Acceptor(both, take, lambda: 0, Board.create(1), 0)
        acceptor.start()
        with clients(listener, 3), clients(second, 2):
            await until(lambda: len(taken) == 5)
        await acceptor.close()
    assert set(taken) == ports
