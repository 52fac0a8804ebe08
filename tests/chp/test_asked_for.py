"""What users of configurable-http-proxy ask for, where no other test here says it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import TypeVar

import pytest

from tests.chp.harness import SWITCH, UPGRADE, Rig, get, rig, url
from tests.proxy.upstreams import Upstream
from tests.proxy.wire import Wire

T = TypeVar("T")
AT_ONCE = 100
MEGABYTE = b"x" * 2**20


async def server(wire: Wire) -> None:
    """Tell how long a body was; echo behind a handshake."""
    while True:
        message = await wire.request()
        if message.one(b"upgrade") is not None:
            await wire.send(SWITCH)
            while data := await wire.reader.read(65536):
                await wire.send(data)
            return
        told = b"%d" % len(message.body)
        await wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(told), told))


async def person(proxy: Rig, number: int, target: str) -> None:
    """Come, work and go, as somebody who logs in does."""
    key = f"/user/{number}"
    await proxy.add(key, target, user=str(number))
    assert (await proxy.ask(get(f"{key}/lab"))).status == 200
    async with await proxy.connect() as client:
        await client.send(UPGRADE % f"{key}/ws".encode())
        assert (await client.head()).status == 101
        await client.send(b"frame")
        assert await client.read(5) == b"frame"
    assert (await proxy.api("DELETE", f"/api/routes{key}")).status == 204
    assert (await proxy.ask(get(f"{key}/lab"))).status == 404


async def test_a_hundred_people_at_once_without_a_failure() -> None:
    async with Upstream(server) as behind, rig() as proxy:
        target = url(behind.port)
        await asyncio.gather(*(person(proxy, number, target) for number in range(AT_ONCE)))
        assert await proxy.routes() == {}


async def test_uploads_have_no_bound() -> None:
    megabytes = 16
    async with (
        Upstream(server) as behind,
        rig("--default-target", url(behind.port)) as proxy,
        await proxy.connect() as client,
    ):
        await client.send(b"POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(megabytes):
            await client.send(b"%x\r\n%b\r\n" % (len(MEGABYTE), MEGABYTE))
        await client.send(b"0\r\n\r\n")
        assert (await client.response()).body == b"%d" % (megabytes * 2**20)


class MovableLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock can be moved on.

    Attributes:
        moved: by so many seconds.
    """

    moved = 0.0

    def time(self) -> float:
        return super().time() + self.moved


async def hours_pass(proxy: Rig) -> None:
    """Move the clock on, and let the proxy do what is due by then."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, MovableLoop)
    loop.moved += 5 * 3600
    assert (await proxy.ask(get("/_chp_healthz"))).status == 200


async def slow_request(*flags: str) -> tuple[int, bytes]:
    """Let hours pass at each step of a request; return what the client gets."""
    async with Upstream() as behind, rig("--default-target", url(behind.port), *flags) as proxy:
        client = await proxy.connect()
        await client.send(b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nab")
        server = await behind.take()
        await server.head()
        await hours_pass(proxy)
        await client.send(b"cd")
        assert await server.read(4) == b"abcd"
        await hours_pass(proxy)  # it thinks
        with contextlib.suppress(ConnectionError):
            await server.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            for _ in range(3):
                await server.send(b"2\r\nxy\r\n")
                await hours_pass(proxy)
            await server.send(b"0\r\n\r\n")
        answer = await client.response("POST")
        return answer.status, answer.body


async def idle_tunnel() -> None:
    """Let hours pass in a WebSocket, in silence and in both directions."""
    async with Upstream() as behind, rig("--default-target", url(behind.port)) as proxy:
        client = await proxy.connect()
        await client.send(UPGRADE % b"/ws")
        server = await behind.take()
        await server.head()
        await server.send(SWITCH)
        assert (await client.head()).status == 101
        for sender, receiver in ((client, server), (server, client)):
            await hours_pass(proxy)
            await sender.send(b"data")
            assert await receiver.read(4) == b"data"


def passing_hours(main: Callable[[], Coroutine[None, None, T]]) -> T:
    with asyncio.Runner(loop_factory=MovableLoop) as runner:
        return runner.run(main())


def test_a_request_may_take_hours_at_each_step() -> None:
    assert passing_hours(slow_request) == (200, b"xyxyxy")


@pytest.mark.parametrize("flag", ["--timeout=120000", "--proxy-timeout=120000"])
def test_a_bound_that_is_asked_for_ends_it(flag: str) -> None:
    """So the test above would see one that nobody asked for."""
    assert passing_hours(lambda: slow_request(flag))[0] == 503


def test_a_tunnel_may_be_silent_for_hours() -> None:
    passing_hours(idle_tunnel)
