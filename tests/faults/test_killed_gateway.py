"""The gateway is killed with SIGKILL at each step of a start and of a stop.

After each: no container is an orphan, none is there twice, no route is lost, what the records
say is true, and the next request works.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import aiohttp
import pytest

from routes import admission
from routes.apachedb import read
from tests.faults import breakpoints
from tests.support.engine import EngineHandle
from tests.support.faults import PROJECT, StubGateway, stub_gateway
from tests.support.waiting import PATIENCE, until

SLUG = f"{PROJECT}-x-alice"
PAIR = f"/alice/{SLUG}"
MOST = 60  # steps; more means that they never end


class Killed:
    """A gateway that is killed again and again, each time at another step.

    Attributes:
        steps: at which it was killed.
    """

    def __init__(self, gateway: StubGateway, folder: Path) -> None:
        self.gateway = gateway
        self.steps: list[str] = []
        self._tried, self._reached = folder / "tried", folder / "reached"
        gateway.environment[breakpoints.TRIED] = str(self._tried)
        gateway.environment[breakpoints.REACHED] = str(self._reached)

    async def at_next_step(self, work: Callable[[], Awaitable[None]]) -> bool:
        """Do `work` until the gateway dies of it; return False when it did not."""
        assert len(self.steps) < MOST, self.steps
        self._tried.write_text("\n".join(self.steps))
        with contextlib.suppress(aiohttp.ClientError):
            await work()
        if not self._reached.exists():
            self._tried.unlink()
            return False
        process = self.gateway.process
        assert process is not None
        await asyncio.to_thread(process.wait, PATIENCE)
        self.steps.append(self._reached.read_text())
        for file in (self._tried, self._reached):
            file.unlink()
        return True


@pytest.fixture
def gateway(tmp_path: Path, engine: EngineHandle, misbehaving_image: str) -> Iterator[StubGateway]:
    settings = {"httpd_direct": "true"}
    with stub_gateway(tmp_path / "state", engine, misbehaving_image, **settings) as running:
        running.stop()
        running.program = "tests.faults.breakpoints"
        yield running


async def truth(gateway: StubGateway) -> str:
    """Wait until the record says what the engine says; return it."""
    async with asyncio.timeout(PATIENCE):
        while True:
            record = await gateway.record(SLUG)
            containers = await asyncio.to_thread(gateway.containers)
            assert len(containers) <= 1, containers
            runs = [item.id for item in containers if item.status == "running"]
            if record["state"] == "running" and runs == [record["container_id"]]:
                return "hot"
            if record["state"] in ("cold", "failed") and not runs:
                return "cold"
            await asyncio.sleep(0.05)


def published(gateway: StubGateway) -> list[bytes]:
    """Return the notebooks that httpd serves."""
    return list(read(gateway.state / "routes" / "routes.gdbm"))


def owned(gateway: StubGateway) -> list[bytes]:
    """Return the pairs of person and notebook that httpd admits by itself."""
    return list(read(gateway.state / "routes" / admission.OWNERS))


def with_edges(gateway: StubGateway) -> list[bytes]:
    """Return the people whose sessions httpd knows."""
    return list(read(gateway.state / "routes" / admission.EDGES).values())


def is_dead(gateway: StubGateway) -> bool:
    """Whether the gateway's process has ended."""
    return gateway.process is None or gateway.process.poll() is not None


async def works(gateway: StubGateway, client: aiohttp.ClientSession) -> None:
    """Have a request answered by the notebook, and what is said of it true."""
    async with client.get(gateway.page("hello")) as answer:
        assert (answer.status, await answer.text()) == (200, "{}"), gateway.log.read_text()
    assert await truth(gateway) == "hot"
    (container,) = gateway.containers()
    record = await gateway.record(SLUG)
    assert record["container_id"] == container.id
    assert published(gateway) == [f"/nb/{SLUG}".encode()]
    assert owned(gateway) == [PAIR.encode()]
    await until(lambda: with_edges(gateway) == [b"alice"])  # it trails behind
    assert "hot" in gateway.nbgate("route", "list") or record["phase"] == "ready"


async def test_killed_at_each_step_of_a_start(gateway: StubGateway, tmp_path: Path) -> None:
    killed = Killed(gateway, tmp_path)
    gateway.start()
    async with gateway.person() as client:

        async def start() -> None:
            async with client.get(gateway.page("hello")) as answer:
                assert answer.status == 200, await answer.text()

        while await killed.at_next_step(start):
            gateway.start()
            assert await truth(gateway) in ("hot", "cold")
            await works(gateway, client)
            await gateway.stop_notebook(SLUG)
            assert await truth(gateway) == "cold"
            assert gateway.containers() == []
            assert published(gateway) == []
            await until(lambda: owned(gateway) == [])
    kinds = {step.rpartition(" ")[0] for step in killed.steps}
    assert kinds >= {
        "commit",
        "space",
        "POST /containers/create",
        "POST /containers/create sent",
        "POST /containers/start",
        "POST /containers/start sent",
        "readiness",
        "publish secrets.gdbm",
        "publish owners.gdbm",
        "publish routes.gdbm",
    }


async def test_killed_at_each_step_of_a_stop(gateway: StubGateway, tmp_path: Path) -> None:
    killed = Killed(gateway, tmp_path)
    gateway.start()
    async with gateway.person() as client:
        await works(gateway, client)

        async def stop() -> None:
            await gateway.stop_notebook(SLUG)
            await until(lambda: is_dead(gateway) or owned(gateway) == [])

        while await killed.at_next_step(stop):
            gateway.start()
            assert await truth(gateway) in ("hot", "cold")
            await works(gateway, client)
        assert gateway.containers() == []
        assert published(gateway) == []
        await works(gateway, client)
    kinds = {step.rpartition(" ")[0] for step in killed.steps}
    assert kinds >= {
        "commit",
        "publish secrets.gdbm",
        "publish owners.gdbm",
        "publish routes.gdbm",
        "POST /containers/stop",
        "POST /containers/stop sent",
        "DELETE /containers",
        "DELETE /containers sent",
    }
