"""What is counted for the metrics, and that nothing is where nobody asked for them."""

from __future__ import annotations

from itertools import count

from tests.chp.harness import SWITCH, UPGRADE, get, rig, url
from tests.proxy.upstreams import Upstream
from tests.proxy.wire import until

METRICS = "--metrics-port=1"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
FOUND = b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n"
TEXT = b"\x81\x81\x00\x00\x00\x00x"


async def test_requests_answers_and_lookups(upstream: Upstream) -> None:
    async with rig(METRICS, "--default-target", url(upstream.port)) as proxy:
        tally = proxy.proxy.tally
        async with await proxy.connect() as client:
            await client.send(get("/x"))
            server = await upstream.take()
            for answer in (OK, FOUND):
                await server.request()
                await server.send(answer)
                await client.response()
                await client.send(get("/x"))
        await until(lambda: not proxy.proxy.traffic.in_flight)
        assert (await proxy.ask(get("/_chp_healthz"))).status == 200
        assert (tally.requests, tally.websockets, tally.lookups) == (3, 0, 3)
        assert dict(tally.statuses) == {200: 1, 302: 1}  # the third was given up


async def test_marks_of_activity_and_how_long_they_take(upstream: Upstream) -> None:
    async with rig(METRICS, "--default-target", url(upstream.port)) as proxy:
        tally = proxy.proxy.tally
        ticks = count(step=0.5)
        tally.clock = lambda: next(ticks)
        client = await proxy.connect()
        await client.send(get("/x", b"Content-Length: 1", method=b"POST"))
        server = await upstream.take()
        await client.send(b"a")
        await server.request()
        assert (tally.marks, tally.mark_seconds) == (1, 0.5)  # the upload
        await server.send(OK)
        await client.response()
        assert (tally.marks, tally.mark_seconds) == (2, 1.0)  # the answer
        await client.send(UPGRADE % b"/ws")
        await server.head()
        await server.send(SWITCH)
        assert (await client.head()).status == 101
        assert tally.marks == 2
        await client.send(TEXT)
        assert await server.read(len(TEXT)) == TEXT
        assert (tally.marks, tally.mark_seconds) == (3, 1.5)  # what the person wrote
        assert (tally.requests, tally.websockets) == (1, 1)


async def test_nothing_is_counted_where_nobody_reads_it(upstream: Upstream) -> None:
    async with rig("--default-target", url(upstream.port)) as proxy:
        async with await proxy.connect() as client:
            await client.send(get("/x"))
            server = await upstream.take()
            await server.request()
            await server.send(OK)
            assert (await client.response()).status == 200
        tally = proxy.proxy.tally
        assert (tally.requests, tally.lookups, tally.marks, dict(tally.statuses)) == (0, 0, 0, {})
