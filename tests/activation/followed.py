"""A reconciler that runs, over an engine and pauses that the test decides on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from gateway.activation.adoption import Found
from gateway.activation.figures import EngineFigures
from gateway.activation.reconciler import Reconciler, Times
from gateway.activation.strays import Strays
from gateway.errors import EngineUnavailable
from gateway.notebooks.model import State
from gateway.proxy.interface import RouteEntry
from routes.apachedb import read as read_file
from tests.activation.conftest import World
from tests.support.waiting import until

AWAY = EngineUnavailable("unix:///nowhere.sock")
GRACE = 100.0


class Pauses:
    """Pauses that end when the test says so."""

    def __init__(self) -> None:
        self._waiting: list[tuple[float, asyncio.Future[None]]] = []
        self._begun: list[float] = []

    async def __call__(self, seconds: float) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((seconds, future))
        self._begun.append(seconds)
        await future

    def begun(self, seconds: float) -> int:
        """Return how many pauses of so many seconds there were."""
        return self._begun.count(seconds)

    async def over(self, seconds: float) -> None:
        """End the pauses of so many seconds, of which there is one at least, or will be."""
        await until(lambda: any(one == seconds and not it.done() for one, it in self._waiting))
        for one, future in list(self._waiting):
            if one == seconds and not future.done():
                future.set_result(None)
        self._waiting = [pair for pair in self._waiting if not pair[1].done()]


class Followed:
    """A reconciler that runs."""

    def __init__(self, world: World, adopt: Callable[[], object] | None = None) -> None:
        self.world, self.pauses, self.recovered = world, Pauses(), 0
        self.times = Times(relist=30.0, retry=3.0, again=1.0, looks=3, grace=GRACE)
        self.adoptions = 0
        strays = Strays(world.spawner, world.catalogue, world.lifecycle, GRACE, world.clock)
        self._reconciler = Reconciler(
            world.spawner,
            world.lifecycle,
            lambda slug: (world.catalogue.find(slug), world.routes.entry(f"/nb/{slug}")),
            strays,
            EngineFigures(world.metrics.registry, world.clock),
            self.times,
            self._adopt if adopt else None,
            self._back,
            pause=self.pauses,
        )
        self.adopt = adopt

    async def _adopt(self) -> None:
        self.adoptions += 1
        assert self.adopt is not None
        self.adopt()

    def _back(self) -> None:
        self.recovered += 1

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self._reconciler.run())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def up(self) -> None:
        await until(lambda: self.sample("nbgate_engine_watcher_up") == 1)

    def sample(self, name: str, **labels: str) -> float | None:
        return self.world.metrics.registry.get_sample_value(name, labels)

    def looked(self, found: Found) -> float | None:
        return self.sample("nbgate_reconciled_total", result=str(found))


@pytest.fixture
async def followed(direct_world: World) -> AsyncIterator[Followed]:
    made = Followed(direct_world)
    async with made.running():
        await made.up()
        yield made


async def hot_one(world: World, person: str = "alice") -> tuple[str, RouteEntry]:
    slug = await world.notebook(person)
    entry = await world.activator.ensure(slug)
    assert f"/nb/{slug}".encode() in read_file(world.route_file)
    return slug, entry


def is_cold(world: World, slug: str) -> bool:
    """Whether table, file and record say so."""
    published = f"/nb/{slug}".encode() in read_file(world.route_file)
    record = world.catalogue.notebook(slug)
    return not (world.routes.get(f"/nb/{slug}").hot or published) and record.state is State.COLD
