"""The only composition root: Settings → a running gateway.

Control and the data path live in one event loop here and talk through the Gate protocol. Parts
are opened in the order in which they need each other and closed in the reverse.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from urllib.parse import urlsplit

from aiohttp import web

from gateway import logs
from gateway.access import AccessGate, Namespace
from gateway.activation.activator import Activator
from gateway.activation.lifecycle import Lifecycle, ServerDefaults
from gateway.activation.readiness import ReadinessProbe
from gateway.activation.routing import RouteService
from gateway.api import build_management_app
from gateway.api.services import Facts, Services
from gateway.errors import EngineError, GatewayError, InvalidInput
from gateway.launch.cookies import GATEWAY_COOKIES
from gateway.launch.links import LinkPolicy, LinkService
from gateway.launch.sessions import Sessions, SessionTable
from gateway.launch.tickets import Tickets
from gateway.metrics import Metrics
from gateway.notebooks.catalogue import Catalogue
from gateway.notebooks.database import Database
from gateway.notebooks.identity import Identity, load_or_create_token
from gateway.notebooks.model import Limits
from gateway.proxy.interface import ProxyLimits, RouteEntry
from gateway.proxy.server import ProxyServer
from gateway.settings import Settings, parse_address, parse_bytes
from gateway.spaces import Spaces
from gateway.spawners.base import Spawner
from gateway.spawners.docker import DockerOptions, DockerSpawner
from gateway.spawners.process import ProcessSpawner
from gateway.web import build_pages
from gateway.web.context import Pages
from routes.apachedb import ApacheDB, mend
from routes.publisher import Publisher
from routes.table import Table

logger = logging.getLogger(__name__)

_DRAIN_SECONDS = 10.0
_HOUSEKEEPING_SECONDS = 600.0
_NOTEBOOK_USER = (1000, 1000)


@dataclass(frozen=True, slots=True)
class Control:
    """The parts that own something durable."""

    identity: Identity
    database: Database
    catalogue: Catalogue
    sessions: Sessions
    session_table: SessionTable
    tickets: Tickets
    spaces: Spaces
    spawner: Spawner
    mode: str
    table: Table[RouteEntry]
    routes: RouteService
    lifecycle: Lifecycle
    activator: Activator
    namespace: Namespace
    metrics: Metrics


def run(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT; return the exit code.

    Raises:
        GatewayError, RouteFileError: the gateway cannot start; one line for people.
    """
    logs.configure(settings.log_level, settings.log_format)
    asyncio.run(_serve(settings))
    return 0


def rebuild_routes(settings: Settings) -> str:
    """Write a fresh route file from the running notebooks and what is still readable.

    For when no gateway runs. Returns one line for people.
    """
    return asyncio.run(_rebuild(settings))


async def _rebuild(settings: Settings) -> str:
    _make_folders(settings)
    kept = await asyncio.to_thread(mend, settings.routes_path)
    async with contextlib.AsyncExitStack() as stack:
        control = await open_control(settings, stack)
        await _adopt(control)
        return await control.routes.rebuild(kept)


async def _serve(settings: Settings) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    async with running(settings):
        await stopping.wait()
        logger.info("stopping; notebooks go on running")


@contextlib.asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Control]:
    """Run a gateway: listening when entered, drained and closed when left."""
    async with contextlib.AsyncExitStack() as stack:
        control = await open_control(settings, stack)
        await _adopt(control)
        await _serve_pages(settings, control, stack)
        await _serve_management(settings, control, stack)
        await _serve_public(settings, control, stack)
        housekeeping = asyncio.create_task(_keep_house(control), name="housekeeping")
        stack.push_async_callback(_cancelled, housekeeping)
        logger.info(
            "serving url=%s management=%s spawner=%s mode=%s routing=%s notebooks=%d",
            settings.origin,
            settings.management_listen,
            control.spawner.name,
            control.mode,
            settings.routing,
            len(control.catalogue.notebooks()),
        )
        yield control


async def open_control(settings: Settings, stack: contextlib.AsyncExitStack) -> Control:
    """Open everything durable; `stack` closes it."""
    _make_folders(settings)
    identity = Identity.load(settings.state_dir)
    metrics = Metrics()
    database = Database(settings.database)
    await database.open()
    stack.push_async_callback(database.close)
    catalogue = Catalogue(database)
    session_table = SessionTable()
    sessions = Sessions(database, session_table, settings.session_lifetime)
    await sessions.load()
    spaces = Spaces(settings.spaces_path, _space_owner(settings))
    stack.push_async_callback(spaces.close)
    spawner = _spawner(settings, identity, metrics)
    stack.push_async_callback(spawner.close)
    namespace = _namespace(settings)
    table: Table[RouteEntry] = Table()
    routes = await _routes(settings, catalogue, namespace, table, metrics, stack)
    probe = ReadinessProbe()
    stack.push_async_callback(probe.close)
    lifecycle = Lifecycle(
        catalogue,
        spawner,
        spaces,
        identity,
        routes,
        probe,
        namespace,
        _defaults(settings),
        metrics.phase,
        time.monotonic,
    )
    catalogue.subscribe(lifecycle.follow)
    await catalogue.load()
    await routes.load()
    activator = Activator(
        lifecycle,
        catalogue,
        routes,
        metrics,
        settings.starts_at_once,
        time.monotonic,
        namespace.key,
    )
    stack.push_async_callback(activator.close)
    metrics.watch(lambda: (book.state for book in catalogue.notebooks()), routes.__len__)
    return Control(
        identity=identity,
        database=database,
        catalogue=catalogue,
        sessions=sessions,
        session_table=session_table,
        tickets=Tickets(database),
        spaces=spaces,
        spawner=spawner,
        mode=await _mode(spawner),
        table=table,
        routes=routes,
        lifecycle=lifecycle,
        activator=activator,
        namespace=namespace,
        metrics=metrics,
    )


def _make_folders(settings: Settings) -> None:
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


def _space_owner(settings: Settings) -> tuple[int, int] | None:
    # Containers never run as root: where we are root, spaces belong to the image's user.
    return _NOTEBOOK_USER if settings.spawner == "docker" and os.geteuid() == 0 else None


def _spawner(settings: Settings, identity: Identity, metrics: Metrics) -> Spawner:
    if settings.spawner == "process":
        return ProcessSpawner(settings.state_dir)
    return DockerSpawner(
        DockerOptions(
            installation=identity.installation,
            spaces_dir=settings.spaces_path.absolute(),
            spaces_host_dir=settings.spaces_host_dir,
            docker_host=settings.docker_host,
            mode=settings.mode,
            subnet=settings.network_subnet,
            pids=settings.pids,
        )
    )


async def _mode(spawner: Spawner) -> str:
    if not isinstance(spawner, DockerSpawner):
        return "dev"
    try:
        await spawner.open()
        return await spawner.detect_mode()
    except EngineError as error:
        logger.error("engine cannot be used, cold notebooks will not start reason=%s", error)
        return "unknown"


def _namespace(settings: Settings) -> Namespace:
    if settings.routing == "path":
        return Namespace()
    origin = urlsplit(settings.origin)
    suffix = f":{origin.port}" if origin.port else ""
    return Namespace(settings.base_domain.lower(), suffix, origin.scheme)


def _defaults(settings: Settings) -> ServerDefaults:
    return ServerDefaults(
        image=settings.image,
        limits=Limits(parse_bytes(settings.memory), settings.cpus),
        frame_ancestors=settings.frame_ancestors,
        start_timeout=settings.start_timeout,
        stop_grace=settings.stop_grace,
    )


async def _routes(
    settings: Settings,
    catalogue: Catalogue,
    namespace: Namespace,
    table: Table[RouteEntry],
    metrics: Metrics,
    stack: contextlib.AsyncExitStack,
) -> RouteService:
    def is_notebook(key: str) -> bool:
        slug = namespace.slug_of(key.encode(), key.encode())
        return slug is not None and namespace.key(slug) == key and catalogue.find(slug) is not None

    database = ApacheDB(settings.routes_path)
    stack.callback(database.close)
    publisher = Publisher(database, on_publish=metrics.published)
    stack.push_async_callback(publisher.close)
    secrets = None
    if settings.httpd_direct:
        hidden = ApacheDB.secrets(settings.routes_path.with_name("secrets.gdbm"))
        stack.callback(hidden.close)
        secrets = Publisher(hidden)
        stack.push_async_callback(secrets.close)
    own_host = urlsplit(settings.origin).hostname or ""
    return RouteService(table, database, publisher, secrets, is_notebook, own_host)


async def _adopt(control: Control) -> None:
    try:
        count = await control.lifecycle.adopt()
    except EngineError as error:
        logger.warning("nothing adopted reason=%s", error)
        return
    logger.info("adopted notebooks=%d", count)


async def _serve_pages(
    settings: Settings, control: Control, stack: contextlib.AsyncExitStack
) -> None:
    pages = Pages(
        sessions=control.sessions,
        table=control.session_table,
        tickets=control.tickets,
        catalogue=control.catalogue,
        activator=control.activator,
        namespace=control.namespace,
        origin=settings.origin,
        frame_ancestors=settings.frame_ancestors,
        session_lifetime=settings.session_lifetime,
    )
    runner = web.AppRunner(build_pages(pages), access_log=None)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    path = pages_socket(settings)
    path.unlink(missing_ok=True)
    before = os.umask(0o177)
    try:
        await web.UnixSite(runner, path).start()
    finally:
        os.umask(before)


def pages_socket(settings: Settings) -> Path:
    """Return the Unix socket on which the pages are served to the data path."""
    return settings.state_dir / "run" / "pages.sock"


async def _serve_management(
    settings: Settings, control: Control, stack: contextlib.AsyncExitStack
) -> None:
    host, port = parse_address(settings.management_listen)
    services = Services(
        facts=Facts(
            version=version("nbgate"),
            installation=control.identity.installation,
            spawner=control.spawner.name,
            mode=control.mode,
            hosts=frozenset({host.lower()}),
        ),
        token=load_or_create_token(settings.token_file),
        catalogue=control.catalogue,
        lifecycle=control.lifecycle,
        activator=control.activator,
        routes=control.routes,
        spaces=control.spaces,
        links=_links(settings, control),
        render_metrics=control.metrics.render,
    )
    runner = web.AppRunner(build_management_app(services), access_log=None)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    with _address_told(settings.management_listen, "NBGATE_MANAGEMENT_LISTEN"):
        await web.TCPSite(runner, host, port).start()


def _links(settings: Settings, control: Control) -> LinkService:
    return LinkService(
        LinkPolicy(settings.origin, settings.link_lifetime, control.mode == "dev"),
        control.namespace,
        control.catalogue,
        control.spaces,
        control.tickets,
        control.activator.ensure,
    )


async def _serve_public(
    settings: Settings, control: Control, stack: contextlib.AsyncExitStack
) -> None:
    gate = AccessGate(
        control.table,
        control.session_table,
        control.namespace,
        control.activator.ensure,
        control.activator.suspect,
        settings.hold_timeout,
    )
    limits = ProxyLimits(
        head_bytes=settings.head_bytes,
        head_timeout=settings.head_timeout,
        keepalive_timeout=settings.keepalive_timeout,
        connect_timeout=settings.connect_timeout,
        response_timeout=settings.response_timeout,
    )
    server = ProxyServer(
        gate,
        limits,
        pages_socket(settings),
        control.metrics,
        trusted=settings.networks,
        gateway_cookies=GATEWAY_COOKIES,
    )
    with _address_told(settings.listen, "NBGATE_LISTEN"):
        await server.start(*parse_address(settings.listen))
    stack.push_async_callback(server.stop, _DRAIN_SECONDS)


@contextlib.contextmanager
def _address_told(address: str, name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InvalidInput(
            f"cannot listen on {address}: {error.strerror}; stop what uses it, or choose "
            f"another address with {name}"
        ) from error


async def _keep_house(control: Control) -> None:
    while True:
        await asyncio.sleep(_HOUSEKEEPING_SECONDS)
        try:
            await control.sessions.expire()
            await control.tickets.expire()
            await control.spaces.sweep()
        except GatewayError as error:
            logger.warning("housekeeping failed reason=%s", error)


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
