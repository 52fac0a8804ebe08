"""The route service, from the files of routes that are beside each other."""

from __future__ import annotations

import contextlib
from urllib.parse import urlsplit

from gateway.activation.routerules import RouteRules
from gateway.activation.routing import RouteService
from gateway.app.base import Base
from gateway.proxy.interface import RouteEntry
from gateway.settings import Settings
from routes import extras, secretmap
from routes.apachedb import ApacheDB
from routes.pair import forget_kept, publisher_of
from routes.publisher import Publisher
from routes.table import Table


async def open_routes(
    settings: Settings, base: Base, table: Table[RouteEntry], stack: contextlib.AsyncExitStack
) -> RouteService:
    """Open the route file and what is published beside it; nothing is read yet.

    Args:
        settings: in force.
        base: what is open already.
        table: to fill.
        stack: writes what is left, and closes the files.

    Raises:
        DatabaseInUse, GdbmMissing, OSError: see ApacheDB.
    """
    database = ApacheDB(settings.routes_path)
    stack.callback(database.close)
    publisher = Publisher(database, on_publish=base.metrics.published)
    stack.push_async_callback(publisher.close)
    secrets = _map_of_secrets(settings, stack)
    persisted = _companion(settings, database, stack)
    rules = RouteRules(
        base.namespace,
        lambda slug: base.catalogue.find(slug) is not None,
        urlsplit(settings.origin).hostname or "",
        settings.state_dir / "run",
    )
    routes = RouteService(table, database, publisher, secrets, rules, persisted, base.people)
    stack.push_async_callback(routes.api.close)
    return routes


def _map_of_secrets(settings: Settings, stack: contextlib.AsyncExitStack) -> Publisher | None:
    if not settings.httpd_direct:
        return None
    path = secretmap.beside(settings.routes_path)
    return publisher_of(path, secretmap.MODE, "map of secrets", stack)


def _companion(
    settings: Settings, database: ApacheDB, stack: contextlib.AsyncExitStack
) -> Publisher | None:
    path = extras.beside(settings.routes_path)
    if settings.persist_routes:
        return publisher_of(path, extras.MODE, "companion of the route file", stack)
    forget_kept(database, path)
    return None
