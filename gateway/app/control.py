"""Control: every part that owns something durable, opened in the order of their needs."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from gateway.activation.activator import Activator
from gateway.activation.culler import Culler
from gateway.activation.lifecycle import Lifecycle, Timing
from gateway.activation.operations import Operations
from gateway.activation.readiness import ReadinessProbe
from gateway.activation.routerules import RouteRules
from gateway.activation.routing import RouteService
from gateway.app.admission import open_maps
from gateway.app.configured import (
    admission_limits_of,
    defaults_of,
    namespace_of,
    space_owner_of,
    spawner_of,
)
from gateway.app.culling import CulledParts, open_culler
from gateway.app.people import vouchers_of
from gateway.app.sharing import SharedParts, Sharing, fresh_id, open_sharing
from gateway.collector import long_lived
from gateway.errors import EngineError, EngineUnavailable, InvalidInput
from gateway.launch.edges import Edges
from gateway.launch.session_table import SessionTable
from gateway.launch.sessions import Sessions
from gateway.launch.tickets import Tickets
from gateway.metrics import Metrics
from gateway.namespace import Namespace
from gateway.notebooks.catalogue import Catalogue
from gateway.notebooks.database import Database
from gateway.notebooks.identity import Identity
from gateway.proxy.interface import DataPath, RouteEntry
from gateway.settings import Settings
from gateway.spaces import Spaces
from gateway.spawners.base import Spawner
from routes import extras, secretmap
from routes.admission import AdmissionMaps
from routes.apachedb import ApacheDB
from routes.pair import forget_kept, publisher_of
from routes.publisher import Publisher
from routes.table import Table

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Control:
    """The parts that own something durable.

    Attributes:
        gateway: the id of this run of this gateway.
    """

    gateway: str
    identity: Identity
    database: Database
    catalogue: Catalogue
    sessions: Sessions
    session_table: SessionTable
    tickets: Tickets
    spaces: Spaces
    spawner: Spawner
    table: Table[RouteEntry]
    routes: RouteService
    lifecycle: Lifecycle
    activator: Activator
    sharing: Sharing
    culler: Culler
    namespace: Namespace
    metrics: Metrics

    def attach(self, data_path: DataPath) -> None:
        """Let changes be awaited until `data_path` has them in force."""
        self.routes.attach(data_path)
        self.sessions.attach(data_path)


@dataclass(frozen=True, slots=True)
class Tables:
    """What requests are decided from; empty at first."""

    routes: Table[RouteEntry]
    sessions: SessionTable


async def open_control(
    settings: Settings, stack: contextlib.AsyncExitStack, tables: Tables | None = None
) -> Control:
    """Open everything durable; `stack` closes it.

    Args:
        settings: in force.
        stack: closes what is opened.
        tables: to fill; None for new ones.
    """
    tables = tables or Tables(Table(), SessionTable())
    make_folders(settings)
    base = await _open_base(settings, stack, tables.sessions)
    routes = await _routes(settings, base, tables.routes, stack)
    lifecycle = await _lifecycle(settings, base, routes, stack)
    activator = Activator(
        lifecycle,
        base.catalogue,
        routes,
        base.metrics,
        admission_limits_of(settings),
        time.monotonic,
        base.namespace.key,
    )
    stack.push_async_callback(activator.close)
    sharing = await _sharing(settings, base, routes, lifecycle, stack)
    return Control(
        gateway=base.gateway,
        identity=base.identity,
        database=base.database,
        catalogue=base.catalogue,
        sessions=base.sessions,
        session_table=tables.sessions,
        tickets=Tickets(base.database),
        spaces=base.spaces,
        spawner=base.spawner,
        table=tables.routes,
        routes=routes,
        lifecycle=lifecycle,
        activator=activator,
        sharing=sharing,
        culler=_culler(settings, base, routes, lifecycle, sharing, stack),
        namespace=base.namespace,
        metrics=base.metrics,
    )


@dataclass(frozen=True, slots=True)
class _Base:
    """What needs nothing but settings."""

    gateway: str
    identity: Identity
    metrics: Metrics
    database: Database
    catalogue: Catalogue
    sessions: Sessions
    spaces: Spaces
    spawner: Spawner
    namespace: Namespace
    people: AdmissionMaps | None


async def _open_base(
    settings: Settings, stack: contextlib.AsyncExitStack, session_table: SessionTable
) -> _Base:
    identity = Identity.load(settings.state_dir)
    metrics = Metrics()
    if settings.tls_cert is not None:
        metrics.watch_certificate(settings.tls_cert)
    database = Database(settings.database)
    await database.open()
    stack.push_async_callback(database.close)
    people = open_maps(settings, metrics, stack)
    edges = Edges(None if people is None else people.edges)
    sessions = Sessions(
        database,
        session_table,
        settings.session_lifetime,
        edges=edges,
        unused=settings.anonymous_lifetime,
        vouchers=vouchers_of(settings),
    )
    await sessions.load()
    catalogue = Catalogue(database)
    catalogue.subscribe(sessions.nameless.notebook_changed)
    spaces = Spaces(settings.spaces_path, space_owner_of(settings))
    stack.push_async_callback(spaces.close)
    spawner = spawner_of(settings, identity, metrics)
    stack.push_async_callback(spawner.close)
    return _Base(
        gateway=fresh_id(),
        identity=identity,
        metrics=metrics,
        database=database,
        catalogue=catalogue,
        sessions=sessions,
        spaces=spaces,
        spawner=spawner,
        namespace=namespace_of(settings),
        people=people,
    )


async def _lifecycle(
    settings: Settings, base: _Base, routes: RouteService, stack: contextlib.AsyncExitStack
) -> Lifecycle:
    """Make the life cycle of servers, and load what it and the routes are about."""
    probe = ReadinessProbe()
    operations = Operations(base.database, base.gateway)
    stack.push_async_callback(operations.close)
    lifecycle = Lifecycle(
        base.catalogue,
        base.spawner,
        base.spaces,
        base.identity,
        routes,
        probe,
        base.namespace,
        defaults_of(settings),
        Timing(base.metrics.phase, time.monotonic),
        operations,
    )
    base.catalogue.subscribe(lifecycle.follow)
    base.catalogue.subscribe_projects(lifecycle.follow_project)
    with long_lived():
        await base.catalogue.load()
        await routes.load()
    states = base.catalogue.notebooks
    base.metrics.watch(lambda: (book.state for book in states()), routes.__len__)
    return lifecycle


def _culler(
    settings: Settings,
    base: _Base,
    routes: RouteService,
    lifecycle: Lifecycle,
    sharing: Sharing,
    stack: contextlib.AsyncExitStack,
) -> Culler:
    parts = CulledParts(
        catalogue=base.catalogue,
        lifecycle=lifecycle,
        routes=routes,
        spawner=base.spawner,
        spaces=base.spaces,
        namespace=base.namespace,
        metrics=base.metrics,
    )
    return open_culler(
        settings, parts, stack, leads=sharing.leadership.leads, traffic=sharing.presence.traffic
    )


async def _sharing(
    settings: Settings,
    base: _Base,
    routes: RouteService,
    lifecycle: Lifecycle,
    stack: contextlib.AsyncExitStack,
) -> Sharing:
    parts = SharedParts(
        gateway=base.gateway,
        database=base.database,
        catalogue=base.catalogue,
        sessions=base.sessions,
        routes=routes,
        namespace=base.namespace,
    )
    return await open_sharing(settings, parts, lifecycle, stack)


def make_folders(settings: Settings) -> None:
    """Make the folders that are not there. Raises InvalidInput where that cannot be."""
    folders = {
        settings.state_dir: 0o711,
        settings.routes_path.parent: 0o755,
        settings.state_dir / "run": 0o700,
    }
    for folder, mode in folders.items():
        try:
            if not folder.exists():
                folder.mkdir(parents=True, mode=mode)
        except OSError as error:
            raise InvalidInput(
                f"cannot make the folder {folder}: {error.strerror}; choose another with "
                f"NBGATE_STATE_DIR or NBGATE_ROUTE_FILE"
            ) from error


async def _routes(
    settings: Settings, base: _Base, table: Table[RouteEntry], stack: contextlib.AsyncExitStack
) -> RouteService:
    database = ApacheDB(settings.routes_path)
    stack.callback(database.close)
    publisher = Publisher(database, on_publish=base.metrics.published)
    stack.push_async_callback(publisher.close)
    secrets = None
    if settings.httpd_direct:
        hidden = secretmap.beside(settings.routes_path)
        secrets = publisher_of(hidden, secretmap.MODE, "map of secrets", stack)
    kept = extras.beside(settings.routes_path)
    if settings.persist_routes:
        persisted = publisher_of(kept, extras.MODE, "companion of the route file", stack)
    else:
        persisted = None
        forget_kept(database, kept)
    rules = RouteRules(
        base.namespace,
        lambda slug: base.catalogue.find(slug) is not None,
        urlsplit(settings.origin).hostname or "",
        settings.state_dir / "run",
    )
    routes = RouteService(table, database, publisher, secrets, rules, persisted, base.people)
    stack.push_async_callback(routes.api.close)
    return routes


async def adopt(control: Control, carry_on: Callable[[], Awaitable[None]] | None = None) -> None:
    """Reach the engine, and take over what runs on it.

    Args:
        control: all parts.
        carry_on: done before that: goes on with what gateways that have ended had begun; None
            for nothing.

    Raises:
        EngineError: it cannot be asked; nothing is unpublished.
    """
    try:
        await control.spawner.open()
    except EngineUnavailable:
        raise
    except EngineError as error:
        # What runs is adopted all the same.
        logger.error("engine cannot be used, cold notebooks will not start reason=%s", error)
    if carry_on is not None:
        await carry_on()
    count = await control.lifecycle.adopt()
    await control.routes.prune()
    logger.info("adopted notebooks=%d mode=%s", count, control.spawner.mode)
