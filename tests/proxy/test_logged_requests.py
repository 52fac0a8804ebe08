"""What the data path writes to its access log."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.proxy.accesslog import AccessLog
from gateway.proxy.interface import ProxyLimits, Refuse, Relay
from gateway.proxy.server import ProxyServer
from tests.proxy.harness import COOKIES, Rig
from tests.proxy.test_access_log import NOON
from tests.proxy.test_websockets import SWITCH, UPGRADE
from tests.proxy.upstreams import Upstream, echo
from tests.proxy.wire import until

EVERY_LOOP = True


class Logged(Rig):
    """A data path with an access log in JSON."""

    def __init__(self, folder: Path, upstream: Upstream, limits: ProxyLimits) -> None:
        super().__init__(folder, upstream.target, limits, ())
        self.lines: list[bytes] = []
        self.proxy = ProxyServer(
            self.gate,
            limits,
            folder / "pages.sock",
            self.observer,
            gateway_cookies=COOKIES,
            access_log=AccessLog("json", self.lines.append),
        )

    async def told(self, count: int = 1) -> list[dict[str, Any]]:
        """Return the first lines once there are so many."""
        await until(lambda: len(self.lines) >= count)
        assert len(self.lines) == count
        return [json.loads(line) for line in self.lines]


@contextlib.asynccontextmanager
async def logged(
    folder: Path, upstream: Upstream, limits: ProxyLimits | None = None
) -> AsyncIterator[Logged]:
    made = Logged(folder, upstream, limits or ProxyLimits())
    await made.proxy.start("127.0.0.1", 0)
    try:
        yield made
    finally:
        await made.proxy.stop(grace=0.0)
        for client in made.clients:
            await client.close()


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with Upstream() as made:
        yield made


@pytest.fixture
async def proxy(tmp_path: Path, upstream: Upstream) -> AsyncIterator[Logged]:
    async with logged(tmp_path, upstream) as made:
        yield made


async def test_each_request_of_a_connection_has_a_line_with_its_own_bytes(tmp_path: Path) -> None:
    async with Upstream(echo) as upstream, logged(tmp_path, upstream) as proxy:
        proxy.gate.rule = lambda head, client: Relay(proxy.entry, "alice")
        sizes = []
        async with await proxy.connect() as client:
            for name in (b"a", b"bb"):
                await client.send(b"GET /%b?token=x HTTP/1.1\r\nHost: h\r\n\r\n" % name)
                head = await client.head()
                body = await client.read(int(head.one(b"content-length") or 0))
                rendered = [head.start, *(b"%b: %b" % field for field in head.headers), b"", b""]
                sizes.append((len(b"\r\n".join(rendered)) + len(body), head.one(b"x-request-id")))
        told = await proxy.told(2)
        assert [(line["sent"], line["request_id"].encode()) for line in told] == sizes
        assert [line["target"] for line in told] == ["/a?token=[redacted]", "/bb?token=[redacted]"]
        assert {line["user"] for line in told} == {"alice"}
        assert {line["status"] for line in told} == {200}


async def test_own_answers_have_a_line_with_their_bytes(proxy: Logged) -> None:
    proxy.gate.rule = lambda head, client: Refuse(401, "login", "sign in first")
    two = b"GET /x HTTP/1.1\r\nHost: h\r\n\r\n" * 2
    async with await proxy.connect() as client:
        await client.send(two)
        answers = [await client.response(), await client.response()]
    first, second = await proxy.told(2)
    assert (first["status"], first["target"], first["user"]) == (401, "/x", None)
    assert first["sent"] == second["sent"] > len(answers[0].body)


async def test_what_is_no_request_has_a_line_without_what_is_unknown(
    tmp_path: Path, proxy: Logged
) -> None:
    answer = await proxy.ask(b"GET / HTTP/1.1\r\nHo st: h\r\n\r\n")
    (line,) = await proxy.told()
    assert (line["status"], line["client"], "target" in line) == (400, "127.0.0.1", False)
    assert line["request_id"].encode() == answer.one(b"x-request-id")
    lines: list[bytes] = []
    AccessLog("combined", lines.append, lambda: NOON).record_refused(_Nowhere(), 408, 99, b"r-2")
    assert lines == [b'- - - [02/Jan/2026:12:00:00 +0000] "-" 408 99 "-" "-" - 0.000 r-2\n']


class _Nowhere(asyncio.Transport):
    """A transport of which nothing is known."""

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default


async def test_a_websocket_is_logged_when_it_ends(proxy: Logged, upstream: Upstream) -> None:
    proxy.gate.rule = lambda head, client: Relay(proxy.entry, "alice")
    client = await proxy.connect()
    await client.send(UPGRADE)
    server = await upstream.take()
    await server.head()
    await server.send(SWITCH)
    await client.head()
    await server.send(b"\x82\x7e\x03\xe8" + b"x" * 1000)
    await client.read(1004)
    assert not proxy.lines
    await client.close()
    await server.close()
    (line,) = await proxy.told()
    assert (line["status"], line["target"], line["user"]) == (101, "/ws", "alice")
    assert line["sent"] > 1004
    assert line["seconds"] > 0


async def test_websockets_that_are_open_at_the_stop_are_logged(
    tmp_path: Path, upstream: Upstream
) -> None:
    async with logged(tmp_path, upstream) as proxy:
        client = await proxy.connect()
        await client.send(UPGRADE)
        server = await upstream.take()
        await server.head()
        await server.send(SWITCH)
        await client.head()
        stopping = asyncio.create_task(proxy.proxy.stop(grace=0.0))
        await client.rest()
        await client.close()
        await server.close()
        await stopping
        (line,) = await proxy.told()
        assert line["status"] == 101


@pytest.mark.parametrize("begun", [False, True])
async def test_a_client_that_leaves_is_499(proxy: Logged, upstream: Upstream, begun: bool) -> None:
    client = await proxy.connect()
    await client.send(b"GET /x HTTP/1.1\r\nHost: h\r\n\r\n")
    server = await upstream.take()
    await server.head()
    if begun:
        await server.send(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nhalf")
        await client.head()
    await client.close()
    (line,) = await proxy.told()
    assert (line["status"], line["sent"] > 0) == (499, begun)


async def test_an_answer_that_is_cut_off_is_499_and_one_that_never_came_502(
    proxy: Logged, upstream: Upstream
) -> None:
    for data in (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nhalf", b""):
        client = await proxy.connect()
        await client.send(b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n")
        server = await upstream.take()
        await server.head()
        await server.send(data)
        await server.close()
        await client.gone() if data else await client.response()
    assert [line["status"] for line in await proxy.told(2)] == [499, 502]


# -- the file
