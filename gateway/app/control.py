"""Control: every part that owns something durable, opened in the order of their needs.

base.py opens what needs nothing but settings; what each group of the others needs is beside it.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from gateway.activation.activator import Activator
from gateway.activation.culler import Culler
from gateway.activation.lifecycle import Lifecycle, Timing
from gateway.activation.operations import Operations
from gateway.activation.readiness import ReadinessProbe
from gateway.activation.routing import RouteService
from gateway.app.base import Base, make_folders, open_base
from gateway.app.configured import admission_limits_of, defaults_of
from gateway.app.culling import open_culler
from gateway.app.routing import open_routes
from gateway.app.sharing import Sharing, open_sharing
from gateway.collector import long_lived
from gateway.errors import EngineError, EngineUnavailable
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
    base = await open_base(settings, stack, tables.sessions)
    routes = await open_routes(settings, base, tables.routes, stack)
    lifecycle = await _lifecycle(settings, base, routes, stack)
    activator = _activator(settings, base, routes, lifecycle, stack)
    sharing = await open_sharing(settings, base, routes, lifecycle, stack)
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
        culler=open_culler(settings, base, routes, lifecycle, sharing, stack),
        namespace=base.namespace,
        metrics=base.metrics,
    )


async def _lifecycle(
    settings: Settings, base: Base, routes: RouteService, stack: contextlib.AsyncExitStack
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


def _activator(
    settings: Settings,
    base: Base,
    routes: RouteService,
    lifecycle: Lifecycle,
    stack: contextlib.AsyncExitStack,
) -> Activator:
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
    return activator


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
