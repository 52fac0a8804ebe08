"""Any process of a fleet is killed: what is lost, what goes on, what comes back."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path

import aiohttp
import pytest

from tests.support.gateway import ROOT
from tests.workers.support import (
    DEADLINE,
    Fleet,
    alive,
    cookie_for,
    fleet_running,
    hot_route,
    kill,
    one_at_each,
    until_async,
)


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    """A running fleet with the demo project."""
    with fleet_running(tmp_path / "state") as fleet:
        fleet.nbgate("project", "add", "demo", "--source", str(ROOT / "examples" / "demo"))
        yield fleet


class Echo:
    """A WebSocket through one worker, on which data flows all the time.

    Attributes:
        worker: process id.
        echoed: how many messages came back.
    """

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, worker: int) -> None:
        self.worker = worker
        self.echoed = 0
        self._socket = socket
        self._task = asyncio.create_task(self._flow())

    async def goes_on(self) -> None:
        """Return when another message has come back."""
        wanted = self.echoed + 2
        await until_async(lambda: self.echoed >= wanted or self._task.done(), "data flows")
        assert not self._task.done(), "the WebSocket broke"

    async def end(self) -> int | None:
        """Return the code that the WebSocket is closed with."""
        async with asyncio.timeout(DEADLINE):
            await self._task
        return self._socket.close_code

    async def _flow(self) -> None:
        with contextlib.suppress(ConnectionError, TypeError):
            while True:
                await self._socket.send_str("data")
                assert await self._socket.receive_str(timeout=DEADLINE) == "data"
                self.echoed += 1


@contextlib.asynccontextmanager
async def echoing(fleet: Fleet, path: str) -> AsyncIterator[Echo]:
    """Open a WebSocket."""
    async with (
        aiohttp.ClientSession() as client,
        client.ws_connect(f"{fleet.url}{path}", autoclose=False) as socket,
    ):
        port = socket.get_extra_info("sockname")[1]
        echo = Echo(socket, await asyncio.to_thread(fleet.worker_of, port))
        yield echo


async def test_killed_worker_loses_its_own_connections_only(fleet: Fleet) -> None:
    async with hot_route(fleet) as path, echoing(fleet, path) as echo, one_at_each(fleet) as both:
        for connection in both:
            assert (await connection.get(path))[0] == 200
        opened, ended = "nbgate_websockets_open", 'nbgate_requests_total{outcome="2xx"}'
        await until_async(lambda: fleet.metrics().get(ended, 0) >= 2, "the requests are counted")
        before = await asyncio.to_thread(fleet.metrics)
        assert before[opened] == 1
        (victim,) = [one for one in both if one.worker != echo.worker]
        kill(victim.worker)
        await echo.goes_on()
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await victim.get(path)
        await until_async(lambda: len(fleet.connected()) == 2, "a new worker is connected")
        after = await asyncio.to_thread(fleet.metrics)
        assert (after[opened], after[ended] >= before[ended]) == (1, True)
        await echo.goes_on()
        async with one_at_each(fleet) as renewed:
            assert victim.worker not in {one.worker for one in renewed}
            assert [(await one.get(path))[0] for one in renewed] == [200, 200]
        kill(echo.worker)
        await until_async(lambda: fleet.metrics()[opened] == 0, "its WebSocket counts no more")


async def test_killed_control_loses_nothing_that_is_hot(fleet: Fleet) -> None:
    alice, bob = await cookie_for(fleet, "alice"), await cookie_for(fleet, "bob")
    hot, cold = "/nb/demo-x-alice/api/status", "/nb/demo-x-bob/api/status"
    async with hot_route(fleet) as path, echoing(fleet, path) as echo, one_at_each(fleet) as both:
        assert (await both[0].get(hot, Cookie=alice))[0] == 200
        was = fleet.control
        os.kill(fleet.supervisor, signal.SIGSTOP)  # it stays away until we say so
        kill(was)
        await until_async(lambda: not alive(was), "control is dead")
        await echo.goes_on()
        for connection in both:
            assert (await connection.get(path))[0] == 200
            assert (await connection.get(hot, Cookie=alice))[0] == 200
            assert (await connection.get(hot))[0] == 401
            for away in (cold, "/gateway/"):
                status, headers, body = await connection.get(away, Cookie=bob)
                assert (status, headers["retry-after"]) == (503, "2"), (away, body)
                assert b"control-away" in body
        os.kill(fleet.supervisor, signal.SIGCONT)
        await until_async(lambda: fleet.control != was, "control is started again")
        await until_async(fleet.caught_up, "both workers follow the new control")
        await echo.goes_on()
        for connection in both:
            assert (await connection.get(hot, Cookie=alice))[0] == 200
        assert (await both[1].get(cold, Cookie=bob))[0] == 200
        assert [record["generation"] for record in fleet.notebooks()] == [1, 1]
        await asyncio.to_thread(fleet.nbgate, "notebook", "stop", "demo-x-alice")
        polling = {"Cookie": alice, "Sec_Fetch_Site": "same-origin", "Sec_Fetch_Mode": "cors"}
        assert [(await one.get(hot, **polling))[0] for one in both] == [424, 424]
        assert {one.worker for one in both} == set(fleet.workers), "no worker was restarted"
        await echo.goes_on()


async def test_new_worker_accepts_nobody_before_it_knows_the_routes(fleet: Fleet) -> None:
    async with hot_route(fleet) as path:
        for pid in [fleet.control, *fleet.workers]:
            kill(pid)
        async with aiohttp.ClientSession() as client:
            answers = await asyncio.gather(*(_status(client, fleet.url + path) for _ in range(8)))
    assert answers == [200] * 8


async def _status(client: aiohttp.ClientSession, url: str) -> int | None:
    """Return the status; a connection that a dying worker had accepted is tried again."""
    async with asyncio.timeout(DEADLINE):
        while True:
            with contextlib.suppress(aiohttp.ClientConnectionError):
                async with client.get(url) as answer:
                    return answer.status


async def test_killed_supervisor_takes_all_with_it_and_can_start_again(fleet: Fleet) -> None:
    alice = await cookie_for(fleet, "alice")
    hot = "/nb/demo-x-alice/api/status"
    async with one_at_each(fleet) as both:
        assert (await both[0].get(hot, Cookie=alice))[0] == 200
        children = [fleet.control, *fleet.workers]
        fleet.kill()
        await until_async(lambda: not any(map(alive, children)), "all children have ended")
    await asyncio.to_thread(lambda: fleet.start().all_serve())
    async with one_at_each(fleet) as renewed:
        assert [(await one.get(hot, Cookie=alice))[0] for one in renewed] == [200, 200]
    assert [record["generation"] for record in fleet.notebooks()] == [1]


async def test_stop_tells_a_websocket_on_which_data_flows_that_it_goes_away(fleet: Fleet) -> None:
    async with hot_route(fleet) as path, echoing(fleet, path) as echo:
        await echo.goes_on()
        children = [fleet.control, *fleet.workers]
        await asyncio.to_thread(fleet.stop)
        assert await echo.end() == aiohttp.WSCloseCode.GOING_AWAY
    assert fleet.process is not None
    assert fleet.process.returncode == 0
    assert not any(map(alive, children))


def _replaced(fleet: Fleet, killed: int) -> bool:
    return killed not in fleet.workers and len(fleet.connected()) == 2


async def test_worker_that_ends_at_once_is_not_restarted_in_a_busy_loop(fleet: Fleet) -> None:
    seen = set(fleet.workers)
    for _ in range(3):
        killed = next(iter(fleet.workers))
        kill(killed)
        await until_async(partial(_replaced, fleet, killed), "a new worker is connected")
        seen |= set(fleet.workers)
    assert len(seen) == 5
    said = [line for line in fleet.log.read_text().splitlines() if "starting it again" in line]
    assert len(said) == 3
