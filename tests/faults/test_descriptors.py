"""A gateway that has no file descriptor left."""

from __future__ import annotations

import asyncio
import itertools
import os
import resource
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import aiohttp
import pytest
from yarl import URL

from tests.spawners.helpers import eventually
from tests.support.engine import EngineHandle
from tests.support.faults import PROJECT, StubGateway, stub_gateway

REQUESTS = 200
SLUG = f"{PROJECT}-x-alice"


@pytest.fixture
def gateway(tmp_path: Path, engine: EngineHandle, misbehaving_image: str) -> Iterator[StubGateway]:
    with stub_gateway(tmp_path / "state", engine, misbehaving_image) as running:
        yield running


def descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def next_descriptor(pid: int) -> int:
    """Return the number that the next one would get: with it as the limit there is none."""
    taken = {int(entry.name) for entry in Path(f"/proc/{pid}/fd").iterdir()}
    return next(number for number in itertools.count() if number not in taken)


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def works(client: aiohttp.ClientSession, url: str) -> None:
    async with client.get(url) as answer:
        # Read to its end: the client closes its connection else, and needs a new one.
        assert (answer.status, await answer.text()) == (200, "{}")


async def test_gateway_without_descriptors_goes_on_and_recovers(gateway: StubGateway) -> None:
    assert gateway.process is not None
    pid = gateway.process.pid
    async with gateway.person() as client, gateway.person("other") as other:
        for person, name in ((client, "alice"), (other, "other")):
            await works(person, gateway.page("hello", name))
        before = await gateway.record(f"{PROJECT}-x-other")
        async with other.ws_connect(gateway.page("socket", "other")) as taken:
            assert await taken.receive_str() == "hello"  # on what was its connection
            await works(client, gateway.page("hello"))  # its connections are fresh
            _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
            with ExitStack() as crowd:
                limit = descriptors(pid)
                resource.prlimit(pid, resource.RLIMIT_NOFILE, (limit, hard))
                for _ in range(30):
                    crowd.enter_context(socket.create_connection(("127.0.0.1", gateway.port)))

                async def served() -> bool:
                    await works(client, gateway.page("hello"))  # who is connected is served
                    return await told(gateway, "no file descriptors left")

                await eventually(served, "it is said")
                began = cpu_seconds(pid)
                for _ in range(REQUESTS):
                    assert await served()
                assert cpu_seconds(pid) - began < REQUESTS * 0.01, "it does not spin"
                assert not taken.closed
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (hard, hard))
            await eventually(lambda: told(gateway, "descriptors suffice again"), "it recovers")
        async with aiohttp.ClientSession() as fresh, fresh.get(gateway.url) as answer:
            assert answer.status < 500, "new ones are accepted again"
        await works(other, gateway.page("hello", "other"))
        after = await gateway.record(f"{PROJECT}-x-other")
        assert after["container_id"] == before["container_id"], "nobody was blamed for it"
    assert gateway.log.read_text().count("no file descriptors left") == 1


async def test_request_that_needs_a_descriptor_more_is_refused_and_blames_nobody(
    gateway: StubGateway,
) -> None:
    assert gateway.process is not None
    pid = gateway.process.pid
    async with gateway.person() as client:
        async with client.get(gateway.page("hello")) as answer:
            assert answer.status == 200
        record = await gateway.record(SLUG)
        raw = await asyncio.open_connection("127.0.0.1", gateway.port)
        ask = request_of(client, gateway)
        assert await answered(raw, ask) == 200
        async with client.ws_connect(gateway.page("socket")) as taken:
            assert await taken.receive_str() == "hello"  # its connection is not free any more
            _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (next_descriptor(pid), hard))
            assert await answered(raw, ask) in (502, 503)
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (hard, hard))
            assert await answered(raw, ask) == 200
        raw[1].close()
        await raw[1].wait_closed()
        assert (await gateway.record(SLUG))["container_id"] == record["container_id"]
        assert "refuses connections" not in gateway.log.read_text()


async def told(gateway: StubGateway, words: str) -> bool:
    return words in gateway.log.read_text()


def request_of(client: aiohttp.ClientSession, gateway: StubGateway) -> bytes:
    """Return a request for the notebook as bytes, with the person's session."""
    cookies = client.cookie_jar.filter_cookies(URL(gateway.url))
    cookie = "; ".join(f"{name}={morsel.value}" for name, morsel in cookies.items())
    path = URL(gateway.page("hello")).path
    host = f"127.0.0.1:{gateway.port}"
    return f"GET {path} HTTP/1.1\r\nHost: {host}\r\nCookie: {cookie}\r\n\r\n".encode()


async def answered(raw: tuple[asyncio.StreamReader, asyncio.StreamWriter], request: bytes) -> int:
    """Send a request on an open connection; return the status of its answer."""
    reader, writer = raw
    writer.write(request)
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
    await reader.readexactly(length)
    return int(head.split()[1])
