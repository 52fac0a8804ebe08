"""A stop of `nbgate serve`, in one process and in several: what is in flight, what is open."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest

from tests.proxy.upstreams import Upstream
from tests.proxy.wire import OK, Wire
from tests.workers.support import (
    DEADLINE,
    Connection,
    Fleet,
    Single,
    alive,
    hot_route,
    one_at_each,
    serving,
    until_async,
)


@pytest.fixture(params=[Single, Fleet])
def fleet(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Fleet]:
    with serving(request.param(tmp_path / "state")) as fleet:
        yield fleet


Answer = tuple[int, dict[str, str], bytes]


@dataclass
class Held:
    """A request that waits for its upstream.

    Attributes:
        asked: its answer.
        upstream: the connection on which it has come.
    """

    asked: asyncio.Task[Answer]
    upstream: Wire


@contextlib.asynccontextmanager
async def held_at_each(fleet: Fleet) -> AsyncIterator[list[Held]]:
    """Hold a request at each process that serves clients."""
    async with Upstream() as upstream, one_at_each(fleet) as connections:
        await asyncio.to_thread(fleet.nbgate, "route", "set", "/held", str(upstream.target))
        held = [await _held(connection, upstream) for connection in connections]
        try:
            yield held
        finally:
            for one in held:
                one.asked.cancel()
            await asyncio.gather(*(one.asked for one in held), return_exceptions=True)


async def _held(connection: Connection, upstream: Upstream) -> Held:
    asked = asyncio.create_task(connection.get("/held"), name="held request")
    wire = await upstream.take()
    await wire.request()
    return Held(asked, wire)


class Tunnel:
    """A WebSocket that is quiet unless it is tried."""

    def __init__(self, client: aiohttp.ClientWebSocketResponse) -> None:
        self._client = client

    async def works(self) -> None:
        """Have a message come back."""
        await self._client.send_str("data")
        assert await self._client.receive_str(timeout=DEADLINE) == "data"

    async def closed(self) -> int:
        """Return the code that it is closed with."""
        message = await self._client.receive(timeout=DEADLINE)
        assert message.type is aiohttp.WSMsgType.CLOSE, message
        return int(message.data)


@contextlib.asynccontextmanager
async def tunnel_open(fleet: Fleet) -> AsyncIterator[Tunnel]:
    """Open a WebSocket through one of the processes."""
    async with (
        hot_route(fleet) as path,
        aiohttp.ClientSession() as client,
        client.ws_connect(f"{fleet.url}{path}") as connected,
    ):
        tunnel = Tunnel(connected)
        await tunnel.works()
        yield tunnel


async def told_to_stop(fleet: Fleet) -> list[int]:
    """Send SIGTERM; return all its processes when none of them accepts clients any more."""
    assert fleet.process is not None
    pids = [fleet.supervisor, *fleet.children(fleet.control_mark), *fleet.workers]
    fleet.process.terminate()
    await until_async(lambda: not _accepts(fleet.port), "every process has begun its stop")
    return pids


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


async def ended(fleet: Fleet, pids: list[int]) -> int:
    """Wait until it has ended, with all its children; return the exit code."""
    assert fleet.process is not None
    code = await asyncio.to_thread(fleet.process.wait, DEADLINE)
    assert not any(map(alive, pids))
    return code


async def test_requests_in_flight_are_answered_before_websockets_are_told_and_it_ends(
    fleet: Fleet,
) -> None:
    async with tunnel_open(fleet) as tunnel, held_at_each(fleet) as held:
        pids = await told_to_stop(fleet)
        await tunnel.works()
        for one in held:
            assert not one.asked.done()
            await one.upstream.send(OK)
        assert [(await one.asked)[::2] for one in held] == [(200, b"ok")] * fleet.size
        assert await tunnel.closed() == aiohttp.WSCloseCode.GOING_AWAY
        assert await ended(fleet, pids) == 0


async def test_requests_that_are_never_answered_are_given_up_and_it_ends_by_itself(
    fleet: Fleet,
) -> None:
    async with tunnel_open(fleet) as tunnel, held_at_each(fleet) as held:
        pids = await told_to_stop(fleet)
        await tunnel.works()
        # A worker that the supervisor had to kill could tell nobody.
        assert await tunnel.closed() == aiohttp.WSCloseCode.GOING_AWAY
        for one in held:
            with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
                await one.asked
        assert await ended(fleet, pids) == 0
