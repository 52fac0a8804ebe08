"""What users of configurable-http-proxy ask for, where no other test here says it."""

from __future__ import annotations

import asyncio

from tests.chp.harness import SWITCH, UPGRADE, Rig, get, rig, url
from tests.proxy.upstreams import Upstream
from tests.proxy.wire import Wire

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


async def test_no_time_ends_a_request_unless_one_is_asked_for() -> None:
    async with rig() as proxy:
        assert proxy.proxy.server._context.limits.response_timeout is None
    async with rig("--proxy-timeout=120000", "--timeout=300000") as proxy:
        assert proxy.proxy.server._context.limits.response_timeout == 120.0
