from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.activation.activator import Activator
from gateway.activation.admission import AdmissionLimits
from gateway.activation.lifecycle import Lifecycle, ServerDefaults, Timing
from gateway.activation.operations import Operations
from gateway.activation.readiness import ReadinessProbe
from gateway.activation.routerules import RouteRules
from gateway.activation.routing import RouteService
from gateway.metrics import Metrics
from gateway.namespace import Namespace
from gateway.notebooks.catalogue import Catalogue
from gateway.notebooks.database import Database
from gateway.notebooks.identity import Identity
from gateway.notebooks.model import Limits
from gateway.proxy.interface import RouteEntry
from gateway.spaces import Spaces
from routes import admission
from routes.admission import AdmissionMap, AdmissionMaps
from routes.apachedb import ApacheDB
from routes.pair import publisher_of
from routes.publisher import Publisher
from routes.table import Table
from tests.activation.fakes import FakeSpawner
from tests.support.waiting import PATIENCE


class Clock:
    """Monotonic seconds that only a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass(frozen=True)
class World:
    """Everything real but the engine and the clock."""

    catalogue: Catalogue
    spawner: FakeSpawner
    spaces: Spaces
    routes: RouteService
    lifecycle: Lifecycle
    activator: Activator
    metrics: Metrics
    clock: Clock
    route_file: Path
    database: Database

    async def notebook(self, person: str = "alice") -> str:
        """Make a notebook of the project `demo`; return its slug."""
        return (await self.catalogue.open_for("demo", person)).slug


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with _world(tmp_path, direct=False) as made:
        yield made


@pytest.fixture
async def impatient_world(tmp_path: Path) -> AsyncIterator[World]:
    """Servers that do not become ready are given up soon."""
    async with _world(tmp_path, direct=False, start_timeout=1.0) as made:
        yield made


@pytest.fixture
async def direct_world(tmp_path: Path) -> AsyncIterator[World]:
    """The operator said that httpd authenticates: hot notebooks are in the file."""
    async with _world(tmp_path, direct=True) as made:
        yield made


@asynccontextmanager
async def _world(
    folder: Path, *, direct: bool, start_timeout: float = PATIENCE
) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        database = Database(f"sqlite+aiosqlite:///{folder}/nbgate.db")
        await database.open()
        stack.push_async_callback(database.close)
        catalogue, spawner, clock, metrics = Catalogue(database), FakeSpawner(), Clock(), Metrics()
        stack.push_async_callback(spawner.close)
        spaces, namespace = Spaces(folder / "spaces"), Namespace()
        table: Table[RouteEntry] = Table()
        file = ApacheDB(folder / "routes.gdbm")
        stack.callback(file.close)
        publisher = Publisher(file)
        stack.push_async_callback(publisher.close)
        secrets = people = None
        if direct:
            edges, owners = (
                AdmissionMap(
                    publisher_of(path, 0o640, path.name, stack), path.name, patience=PATIENCE
                )
                for path in admission.beside(folder / "routes.gdbm")
            )
            people = AdmissionMaps(edges, owners)
            for one in (edges, owners):
                stack.push_async_callback(one.close)
            hidden = ApacheDB.secrets(folder / "secrets.gdbm")
            stack.callback(hidden.close)
            secrets = Publisher(hidden)
            stack.push_async_callback(secrets.close)
        routes = RouteService(
            table,
            file,
            publisher,
            secrets,
            RouteRules(namespace, lambda slug: catalogue.find(slug) is not None, "nb.example.org"),
            people=people,
        )
        probe = ReadinessProbe(interval=0.01)
        defaults = ServerDefaults("image", Limits(2**30, 1.0), (), start_timeout, 1.0)
        operations = Operations(database, "this")
        stack.push_async_callback(operations.close)
        lifecycle = Lifecycle(
            catalogue,
            spawner,
            spaces,
            Identity("0" * 8, b"k" * 32),
            routes,
            probe,
            namespace,
            defaults,
            Timing(metrics.phase, clock),
            operations,
        )
        catalogue.subscribe(lifecycle.follow)
        catalogue.subscribe_projects(lifecycle.follow_project)
        await catalogue.load()
        await catalogue.add_project("demo")
        activator = Activator(
            lifecycle, catalogue, routes, metrics, AdmissionLimits(2), clock, namespace.key
        )
        stack.push_async_callback(activator.close)
        yield World(
            catalogue,
            spawner,
            spaces,
            routes,
            lifecycle,
            activator,
            metrics,
            clock,
            folder / "routes.gdbm",
            database,
        )
