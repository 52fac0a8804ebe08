"""Clients that leave while the data path does not read from them."""

from __future__ import annotations

import contextlib
import select
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from gateway.proxy.interface import Hold, ProxyLimits
from tests.proxy.harness import Rig, rig
from tests.proxy.upstreams import Upstream
from tests.proxy.wire import GET, Wire, until

EVERY_LOOP = True

PUT = b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n"


async def leave(client: Wire) -> None:
    """Close: the end of the stream is behind what was sent."""
    await client.close()


async def reset(client: Wire) -> None:
    """Close with RST."""
    client.reset()


POLL = select.poll
WAYS = pytest.mark.parametrize("go", [leave, reset])
Way = Callable[[Wire], Awaitable[None]]


@WAYS
async def test_client_with_many_requests_waiting_is_noticed(
    tmp_path: Path, upstream: Upstream, go: Way
) -> None:
    limits = ProxyLimits(pipeline=2)
    async with rig(tmp_path, upstream.target, limits) as proxy:
        client = await proxy.connect()
        await client.send(GET * 10)
        server = await upstream.take()
        await server.head()
        await client.send(GET * 10)  # is not read
        await go(client)
        assert await server.gone()
        await until(lambda: proxy.observer.outcomes == ["aborted"])


@WAYS
async def test_client_of_a_held_upload_is_noticed(proxy: Rig, go: Way) -> None:
    entry = proxy.notebook()
    proxy.gate.rule = lambda head, client: Hold(entry)
    client = await proxy.connect()
    # Not more than the kernel takes in: an end that is behind that cannot arrive.
    await client.send(PUT % 2**30 + b"x" * 100_000)
    await until(lambda: proxy.gate.awaiting == 1)
    await go(client)
    await until(lambda: proxy.gate.cancelled == 1)
    await until(lambda: proxy.observer.outcomes == ["aborted"])


async def test_client_that_resets_while_the_upstream_is_slow_is_noticed(
    proxy: Rig, upstream: Upstream
) -> None:
    client = await proxy.connect()
    await client.send(PUT % 2**30)
    server = await upstream.take()
    await server.head()
    server.pause()
    await client.stall()
    client.reset()
    await until(lambda: proxy.observer.outcomes == ["aborted"])
    server.resume()
    with contextlib.suppress(ConnectionError):
        await server.rest()


class Looks:
    """The kernel's poll(2); notes in `found` whether a client that was looked for had left."""

    def __init__(self, found: list[bool]) -> None:
        self._found = found
        self._poll = POLL()
        self._looks = False

    def register(self, descriptor: int, events: int) -> None:
        self._looks = bool(events & select.POLLRDHUP)
        self._poll.register(descriptor, events)

    def poll(self, timeout: float) -> list[tuple[int, int]]:
        events = self._poll.poll(timeout)
        if self._looks:
            self._found.append(bool(events))
        return events


async def test_client_that_waits_is_looked_for_and_not_taken_to_have_left(
    tmp_path: Path, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[bool] = []
    monkeypatch.setattr(select, "poll", lambda: Looks(looks))
    limits = ProxyLimits(pipeline=1)
    async with rig(tmp_path, upstream.target, limits) as proxy, await proxy.connect() as client:
        await client.send(GET * 3)
        server = await upstream.take()
        await server.request()
        await until(lambda: len(looks) >= 2)
        for _ in range(3):
            await server.send(b"HTTP/1.1 204 No Content\r\n\r\n")
            assert (await client.response()).status == 204
    assert set(looks) == {False}
