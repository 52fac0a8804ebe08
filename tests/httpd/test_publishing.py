"""httpd reads what is published, while it is published."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

import pytest

from routes.apachedb import ApacheDB
from routes.publisher import Publisher
from tests.httpd.conftest import Front
from tests.httpd.upstreams import Client, upstreams
from tests.routes.foreign import write_with_httxt2dbm
from tests.routes.test_gdbm import many

_HOST = "moving.nb.test"
_CLIENTS = 6
_UPSTREAMS = 8
_LEAST_REQUESTS = 500


async def test_published_route_is_served_and_an_unpublished_one_is_not(front: Front) -> None:
    with ApacheDB(front.path) as database:
        async with upstreams(1) as [upstream], Client(front.port) as client:
            assert (await client.get(_HOST))[0] == 404
            database[_HOST] = f"127.0.0.1:{upstream}"
            assert await client.get(_HOST) == (200, str(upstream).encode())
            assert await client.get(_HOST.upper()) == (200, str(upstream).encode())
            del database[_HOST]
            assert (await client.get(_HOST))[0] == 404


async def test_route_added_by_httxt2dbm_is_still_served_after_a_publish(front: Front) -> None:
    with ApacheDB(front.path) as database:
        async with upstreams(1) as [upstream], Client(front.port) as client:
            target = f"127.0.0.1:{upstream}"
            write_with_httxt2dbm(front.path, {b"theirs.nb.test": target.encode()})
            database[_HOST] = target
            assert (await client.get("theirs.nb.test"))[0] == 200
            assert (await client.get(_HOST))[0] == 200


@dataclass
class Load:
    """What publishers and clients of one run know of each other.

    Attributes:
        ports: of the upstreams; version n leads to the upstream n modulo their number.
        awaited: the last version whose publish was awaited.
        begun: the last version whose publish has begun.
    """

    ports: list[int]
    deadline: float
    awaited: int = 0
    begun: int = 0
    telling: int = 0
    faults: list[str] = field(default_factory=list)
    requests: int = 0

    def running(self) -> bool:
        return time.monotonic() < self.deadline and not self.faults

    def target(self, version: int) -> str:
        return f"127.0.0.1:{self.ports[version % len(self.ports)]}"

    def judge(self, before: int, status: int, body: bytes) -> None:
        """Look at an answer to a request that began when version `before` was in place."""
        self.requests += 1
        possible = range(before, self.begun + 1)
        allowed = {str(self.ports[version % len(self.ports)]).encode() for version in possible}
        self.telling += len(allowed) < len(self.ports)
        if status != 200:
            self.faults.append(f"request {self.requests}: status {status}")
        elif body not in allowed:
            self.faults.append(f"request {self.requests}: {body!r} is stale, {possible}")


async def _publish(load: Load, publisher: Publisher) -> None:
    while load.running():
        load.begun += 1
        await publisher.put(_HOST, load.target(load.begun))
        load.awaited = load.begun


async def _churn(load: Load, publisher: Publisher) -> None:
    count = 0
    while load.running():
        count += 1
        key = f"other{count % 50}.nb.test"
        await publisher.update({key: load.target(count)}, [f"other{(count + 25) % 50}.nb.test"])


async def _ask(load: Load, port: int) -> None:
    async with Client(port) as client:
        while load.running():
            before = load.awaited
            load.judge(before, *await client.get(_HOST))


@pytest.mark.parametrize(
    ("others", "seconds", "publishes"),
    [(0, 10.0, 100), (1500, 4.0, 5)],
    ids=["small map", "map built by the helper"],
)
async def test_publishing_under_load_loses_no_request_and_leaves_no_stale_target(
    front: Front, others: int, seconds: float, publishes: int
) -> None:
    published: list[float] = []
    with ApacheDB(front.path) as database:
        database.publish(many(others))
        publisher = Publisher(database, published.append)
        async with upstreams(_UPSTREAMS) as ports:
            load = Load(ports, time.monotonic() + seconds)
            await publisher.put(_HOST, load.target(0))
            async with asyncio.TaskGroup() as group:
                group.create_task(_publish(load, publisher), name="publish")
                group.create_task(_churn(load, publisher), name="churn")
                for number in range(_CLIENTS):
                    group.create_task(_ask(load, front.port), name=f"client {number}")
        await publisher.close()
    assert load.faults == []
    assert len(published) >= publishes
    assert load.requests >= _LEAST_REQUESTS
    # With few publishes during a request, an old target would have been seen.
    assert load.telling > load.requests * 0.9
