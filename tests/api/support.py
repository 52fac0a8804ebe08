"""The management application with everything real but the engine: lifecycle and activator."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from gateway.activation.operations import Kind, Operation, Operations
from gateway.activation.routerules import RouteRules
from gateway.activation.routing import RouteService
from gateway.api import Facts, Services
from gateway.errors import EngineError, StartFailed
from gateway.launch.bindings import Bindings
from gateway.launch.linkkeys import LinkKeys
from gateway.launch.links import LinkPolicy, LinkService
from gateway.launch.session_table import SessionTable
from gateway.launch.sessions import Sessions
from gateway.launch.shares import FOLDER, Shares
from gateway.launch.signed import SignedLinks
from gateway.launch.tickets import Tickets
from gateway.launch.ways import Ways
from gateway.namespace import Namespace
from gateway.notebooks.catalogue import Catalogue
from gateway.notebooks.database import Database
from gateway.notebooks.identity import Identity
from gateway.notebooks.model import State
from gateway.proxy.interface import RouteEntry
from gateway.spaces import Exercises, Reading, Spaces
from routes.apachedb import ApacheDB
from routes.keys import Target
from routes.publisher import Publisher
from routes.table import Table

TOKEN = "the-management-token-of-the-tests"
ORIGIN = "https://nb.example.org"


@dataclass(frozen=True)
class Status:
    phase: str = "cold"
    position: int = 0


@dataclass
class FakeEngine:
    """Lifecycle and activator in one: it starts nothing, but keeps the records as they do.

    `held` keeps starts from becoming ready, `stoppable` stops from being done; `broken` makes
    starts fail; `down` hides the mode.
    """

    catalogue: Catalogue
    spaces: Spaces
    operations: Operations
    broken: StartFailed | None = None
    held: asyncio.Event = field(default_factory=asyncio.Event)
    forgiven: list[str] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)
    stoppable: asyncio.Event = field(default_factory=asyncio.Event)
    withdrawn: list[str] = field(default_factory=list)
    output: str = ""
    mode: str = "dev"
    down: EngineError | None = None
    statuses: dict[str, Status] = field(default_factory=dict)
    failures: dict[str, StartFailed] = field(default_factory=dict)
    tasks: dict[str, asyncio.Task[RouteEntry]] = field(default_factory=dict)

    async def stop_container(
        self, slug: str, *, reason: str = "", planned: Operation | None = None
    ) -> bool:
        self.catalogue.check_unlocked(slug)
        async with self.operations.running(Kind.STOP, slug, "admin", reason, planned):
            await self._stop(slug)
        return True

    def begin_stop(self, slug: str, *, reason: str = "") -> Operation:
        self.catalogue.check_unlocked(slug)
        return self.operations.begin(
            Kind.STOP,
            slug,
            "admin",
            reason,
            lambda planned: self.stop_container(slug, planned=planned),
        )

    def begin_delete(self, slug: str, *, purge_space: bool = False) -> Operation:
        self.catalogue.check_unlocked(slug)

        async def delete(planned: Operation) -> None:
            async with self.operations.running(Kind.DELETE, slug, "admin", "", planned):
                await self._stop(slug)
                await self.catalogue.remove_notebook(slug)
                if purge_space:
                    await self.spaces.remove(slug)

        return self.operations.begin(Kind.DELETE, slug, "admin", "", delete)

    async def _stop(self, slug: str) -> None:
        await self.stoppable.wait()
        self.stopped.append(slug)
        self.statuses.pop(slug, None)
        await self.catalogue.update_notebook(slug, state=State.COLD, container_id=None)

    async def sync_container(self, slug: str) -> str:
        return f"{slug}: nothing runs (the record said {self.catalogue.notebook(slug).state})"

    async def logs(self, slug: str, lines: int) -> str:
        return "\n".join(self.output.splitlines()[-lines:])

    async def detect_mode(self) -> str:
        if self.down is not None:
            raise self.down
        return self.mode

    async def ensure(self, slug: str) -> RouteEntry:
        return await self.begin(slug)

    def withdraw(self, slug: str) -> bool:
        self.withdrawn.append(slug)
        return False

    def begin(self, slug: str, *, by: str | None = None) -> asyncio.Future[RouteEntry]:
        self.statuses[slug] = Status("queued", 1)
        planned = self.operations.plan(Kind.START, slug, by or "alice")
        task = asyncio.get_running_loop().create_task(
            self._start(slug, planned), name=f"start {slug}"
        )
        self.tasks[slug] = task
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        return task

    async def _start(self, slug: str, planned: Operation) -> RouteEntry:
        await self.held.wait()
        async with self.operations.carrying_out(planned):
            return await self._bring_up(slug)

    async def _bring_up(self, slug: str) -> RouteEntry:
        if self.broken is not None:
            self.statuses[slug], self.failures[slug] = Status("failed"), self.broken
            raise self.broken
        await self.catalogue.update_notebook(slug, state=State.RUNNING, port=41234)
        self.statuses[slug] = Status("ready")
        key = f"/nb/{slug}"
        return RouteEntry(key, Target("127.0.0.1", 41234), slug=slug, secret="hop-secret")

    def forgive(self, slug: str) -> None:
        self.forgiven.append(slug)
        self.failures.pop(slug, None)

    def failure(self, slug: str) -> StartFailed | None:
        return self.failures.get(slug)

    def status(self, slug: str) -> Status:
        return self.statuses.get(slug, Status())

    async def close(self) -> None:
        for task in self.tasks.values():
            task.cancel()
        await asyncio.gather(*self.tasks.values(), return_exceptions=True)
        await self.operations.close()


@dataclass
class World:
    """What a test may look at and change."""

    services: Services
    engine: FakeEngine
    catalogue: Catalogue
    spaces: Spaces
    tickets: Tickets
    state_dir: Path


def _ways(database: Database, spaces: Spaces, origin: str) -> Ways:
    keys = LinkKeys(database, Identity("0123abcd", b"k" * 32))
    return Ways(
        SignedLinks(keys, origin),
        Bindings(database),
        spaces,
        Exercises(spaces),
        Reading(spaces),
        Sessions(database, SessionTable(), 3600.0),
        Shares(spaces.path("x").parent / FOLDER, spaces.exists),
    )


@asynccontextmanager
async def world_in(
    state_dir: Path, base_domain: str = "", direct: bool = True, origin: str = ORIGIN
) -> AsyncIterator[World]:
    """Yield services on a database, route file and spaces in `state_dir`."""
    database = Database(f"sqlite+aiosqlite:///{state_dir / 'nbgate.db'}")
    await database.open()
    catalogue = Catalogue(database)
    await catalogue.load()
    tickets = Tickets(database)
    spaces = Spaces(state_dir / "spaces")
    engine = FakeEngine(catalogue, spaces, Operations(database, "this"))
    engine.held.set()
    engine.stoppable.set()
    engine.mode = "dev" if direct else "prod"
    file = ApacheDB(state_dir / "routes.gdbm")
    publisher = Publisher(file)
    namespace = Namespace(base_domain, scheme="https")
    links = LinkService(
        LinkPolicy(origin, lifetime=600.0),
        namespace,
        catalogue,
        spaces,
        tickets,
        engine.ensure,
        engine.detect_mode,
    )
    routes = RouteService(
        Table(),
        file,
        publisher,
        secrets=None,
        rules=RouteRules(
            Namespace(),
            lambda slug: catalogue.find(slug) is not None,
            own_host="nb.example.org",
            own_sockets=state_dir / "run",
        ),
    )
    await routes.load()
    services = Services(
        facts=Facts("1.2.3", "0123abcd", "process", lambda: engine.mode),
        token=TOKEN,
        catalogue=catalogue,
        lifecycle=engine,
        operations=engine.operations,
        activator=engine,
        routes=routes,
        spaces=spaces,
        links=links,
        ways=_ways(database, spaces, origin),
        render_metrics=lambda: b"nbgate_routes 0\n",
    )
    try:
        yield World(services, engine, catalogue, spaces, tickets, state_dir)
    finally:
        await engine.close()
        await spaces.close()
        await publisher.close()
        file.close()
        await database.close()
