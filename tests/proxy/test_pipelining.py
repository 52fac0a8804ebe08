"""Requests that a client sends before it has its answers: in order, and bounded."""

from __future__ import annotations

import asyncio
from pathlib import Path

from gateway.proxy.interface import ProxyLimits, Refuse
from tests.proxy.harness import Rig, rig
from tests.proxy.upstreams import Upstream, parsed
from tests.proxy.wire import GET

EVERY_LOOP = True


async def test_pipelined_requests_are_answered_in_order(proxy: Rig, upstream: Upstream) -> None:
    async with await proxy.connect() as client:
        await client.send(
            b"GET /1 HTTP/1.1\r\nHost: h\r\n\r\n"
            b"POST /2 HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi"
            b"POST /3 HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nyo\r\n0\r\n\r\n"
            b"GET /4 HTTP/1.1\r\nHost: h\r\n\r\n"
        )
        server = await upstream.take()
        for number in (b"1", b"2", b"3", b"4"):
            assert (await server.request()).target == b"/" + number
            await server.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n" + number)
        for number in (b"1", b"2", b"3", b"4"):
            assert (await client.response()).body == number


async def test_pipelining_stops_at_its_bound(proxy: Rig, upstream: Upstream) -> None:
    async with await proxy.connect() as client:
        await client.send(GET)
        server = await upstream.take()
        await server.request()
        padded = b"GET / HTTP/1.1\r\nHost: h\r\nX: %b\r\n\r\n" % (b"x" * 8000)
        await client.stall(padded)
    assert len(proxy.gate.seen) == 1


async def test_many_pipelined_requests_are_all_answered(echoing: Rig) -> None:
    async with await echoing.connect() as client:
        count = 300
        requests = [b"GET /%d HTTP/1.1\r\nHost: h\r\n\r\n" % number for number in range(count)]
        sending = asyncio.create_task(client.send(b"".join(requests)), name="send")
        for number in range(count):
            assert parsed((await client.response()).body).target == b"/%d" % number
        await sending


async def test_many_pipelined_refusals_do_not_recurse(proxy: Rig) -> None:
    proxy.gate.rule = lambda head, client: Refuse(424, "cold", "not running")
    async with await proxy.connect() as client:
        sending = asyncio.create_task(client.send(GET * 3000), name="send")
        for _ in range(3000):
            assert (await client.response()).status == 424
        await sending


async def test_many_pipelined_refusals_leave_others_their_turn(proxy: Rig) -> None:
    proxy.gate.rule = lambda head, client: Refuse(424, "cold", "not running")
    loop, answered, in_a_turn = asyncio.get_running_loop(), proxy.observer.outcomes, [0]

    def look(before: int) -> None:
        in_a_turn.append(len(answered) - before)
        if len(answered) < 3000:
            loop.call_soon(look, len(answered))

    async with await proxy.connect() as client:
        look(0)
        await client.send(GET * 3000)
        for _ in range(3000):
            assert (await client.response()).status == 424
        await client.send(GET)
        assert (await client.response()).status == 424
    assert 8 < max(in_a_turn) <= 200


async def test_pipelining_stops_at_its_number_of_requests(
    tmp_path: Path, upstream: Upstream
) -> None:
    limits = ProxyLimits(pipeline=2, head_bytes=2**30)
    async with rig(tmp_path, upstream.target, limits) as proxy, await proxy.connect() as client:
        await client.send(GET)
        server = await upstream.take()
        await server.request()
        await client.stall(GET * 1000)
        assert len(proxy.gate.seen) == 1


async def test_pipelining_goes_on_when_there_is_room_again(
    tmp_path: Path, upstream: Upstream
) -> None:
    limits = ProxyLimits(pipeline=1)
    count = 500
    async with rig(tmp_path, upstream.target, limits) as proxy, await proxy.connect() as client:
        padded = b"GET /%%d HTTP/1.1\r\nHost: h\r\nX: %b\r\n\r\n" % (b"x" * 2000)
        sending = asyncio.create_task(
            client.send(b"".join(padded % number for number in range(count))), name="send"
        )
        server = await upstream.take()
        for number in range(count):
            assert (await server.request()).target == b"/%d" % number
            assert len(proxy.gate.seen) == number + 1
            await server.send(b"HTTP/1.1 200 OK\r\nX: %d\r\nContent-Length: 0\r\n\r\n" % number)
            assert (await client.response()).one(b"x") == b"%d" % number
        await sending
    assert upstream.accepted == 1


async def test_requests_behind_an_unanswered_upload_wait(proxy: Rig, upstream: Upstream) -> None:
    async with await proxy.connect() as client:
        await client.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi" + GET * 3)
        server = await upstream.take()
        await server.request()
        assert len(proxy.gate.seen) == 1
        await client.stall(GET * 1000)
        assert len(proxy.gate.seen) == 1
