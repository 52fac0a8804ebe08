"""The three listeners: the pages on a private socket, management on loopback, the public one.

First how each listens, then what each serves.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterator
from functools import partial
from importlib.metadata import version
from pathlib import Path

from aiohttp import web

from gateway.access import AccessGate
from gateway.api import build_management_app
from gateway.api.services import Facts, Services
from gateway.app.control import Control
from gateway.app.jupyterhub import GatewayBook, apart
from gateway.app.people import sign_in_of
from gateway.app.ways import ways_of
from gateway.chp.api import RoutesApi
from gateway.chp.book import Stamps
from gateway.chp.tally import Tally
from gateway.errors import InvalidInput
from gateway.launch.cookies import GATEWAY_COOKIES
from gateway.launch.links import LinkPolicy, LinkService
from gateway.launch.newcomers import Newcomers
from gateway.notebooks.identity import load_or_create_token
from gateway.pace import PacedAppRunner
from gateway.proxy.accesslog import open_access_log
from gateway.proxy.interface import ProxyLimits, RouteEntry
from gateway.proxy.server import ProxyServer
from gateway.proxy.tls import open_tls
from gateway.settings import Settings, parse_address
from gateway.web import build_pages
from gateway.web.context import Pages
from gateway.web.door import DOOR, Door
from gateway.web.openpage import NOTICES
from gateway.web.people import SIGN_IN

_DRAIN_SECONDS = 10.0


async def serve_pages(
    settings: Settings, control: Control, stack: contextlib.AsyncExitStack
) -> None:
    """Serve the pages to the data path."""
    # The data path has bounded the head already; nothing is refused here for its size.
    runner = web.AppRunner(
        _pages(settings, control, stack),
        access_log=None,
        max_line_size=2 * settings.head_bytes,
        max_field_size=2 * settings.head_bytes,
    )
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    path = pages_socket(settings)
    path.unlink(missing_ok=True)
    before = os.umask(0o177)
    try:
        await web.UnixSite(runner, path).start()
    finally:
        os.umask(before)


async def serve_management(
    settings: Settings, control: Control, stack: contextlib.AsyncExitStack
) -> None:
    """Serve the management API, JupyterHub's API on routes, and the metrics."""
    services = _services(settings, control)
    hub = RoutesApi(GatewayBook(control.routes, Stamps()), Tally(), services.token)
    runner = PacedAppRunner(build_management_app(services, apart(hub)), access_log=None)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    with _address_told(settings.management_listen, "NBGATE_MANAGEMENT_LISTEN"):
        await web.TCPSite(runner, *parse_address(settings.management_listen)).start()


async def serve_public(
    settings: Settings, control: Control, stack: contextlib.AsyncExitStack
) -> None:
    """Serve people's browsers: the data path."""
    server = _data_path(settings, control, stack)
    tls = await open_tls(settings.tls_cert, settings.tls_key, stack)
    with _address_told(settings.listen, "NBGATE_LISTEN"):
        await server.start(*parse_address(settings.listen), tls=tls)
    stack.push_async_callback(server.stop, _DRAIN_SECONDS)
    # Before that: pages that wait for a start would be waited for.
    stack.callback(control.activator.end_watching)
    control.attach(_OwnDataPath(server))


def pages_socket(settings: Settings) -> Path:
    """Return the Unix socket on which the pages are served to the data path."""
    return settings.state_dir / "run" / "pages.sock"


@contextlib.contextmanager
def _address_told(address: str, name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InvalidInput(
            f"cannot listen on {address}: {error.strerror}; stop what uses it, or choose "
            f"another address with {name}"
        ) from error


def _pages(
    settings: Settings, control: Control, stack: contextlib.AsyncExitStack
) -> web.Application:
    app = build_pages(
        Pages(
            sessions=control.sessions,
            table=control.session_table,
            tickets=control.tickets,
            catalogue=control.catalogue,
            activator=control.activator,
            namespace=control.namespace,
            origin=settings.origin,
            frame_ancestors=settings.frame_ancestors,
            session_lifetime=settings.session_lifetime,
            stop=partial(_stop, control),
        )
    )
    app[DOOR] = Door(
        ways_of(settings, control),
        control.metrics.link,
        most_passers_by=settings.anonymous_limit,
        newcomers=Newcomers(settings.plain_ids_per_hour),
    )
    app[NOTICES] = control.culler
    if (sign_in := sign_in_of(settings, stack)) is not None:
        app[SIGN_IN] = sign_in
    return app


async def _stop(control: Control, slug: str, person: str) -> None:
    """Stop a notebook for a person, also one that still waits to be started."""
    control.catalogue.check_unlocked(slug)
    control.activator.withdraw(slug)
    await control.lifecycle.stop_container(slug, by=person, reason="stopped on the page")


def _services(settings: Settings, control: Control) -> Services:
    host, _ = parse_address(settings.management_listen)
    return Services(
        facts=Facts(
            version=version("nbgate"),
            installation=control.identity.installation,
            spawner=control.spawner.name,
            mode=lambda: control.spawner.mode,
            hosts=frozenset({host.lower()}),
        ),
        token=load_or_create_token(settings.token_file),
        catalogue=control.catalogue,
        lifecycle=control.lifecycle,
        operations=control.lifecycle.operations,
        activator=control.activator,
        routes=control.routes,
        spaces=control.spaces,
        links=_links(settings, control),
        ways=ways_of(settings, control),
        render_metrics=control.metrics.render,
    )


def _links(settings: Settings, control: Control) -> LinkService:
    return LinkService(
        LinkPolicy(settings.origin, settings.link_lifetime),
        control.namespace,
        control.catalogue,
        control.spaces,
        control.tickets,
        control.activator.ensure,
        control.spawner.detect_mode,
    )


def _data_path(
    settings: Settings, control: Control, stack: contextlib.AsyncExitStack
) -> ProxyServer:
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
    return ProxyServer(
        gate,
        limits,
        pages_socket(settings),
        control.metrics.traffic,
        trusted=settings.networks,
        gateway_cookies=GATEWAY_COOKIES,
        user_headers=settings.user_headers,
        access_log=open_access_log(settings.access_log, settings.access_log_file, stack),
    )


class _OwnDataPath:
    """The data path in this process: it reads control's own tables."""

    def __init__(self, server: ProxyServer) -> None:
        self._server = server

    async def settled(self) -> None:
        pass

    async def drained(self, entry: RouteEntry | None) -> None:
        if entry is not None and entry.target is not None:
            self._server.forget(entry.target)

    async def end_sessions(self, session_ids: Collection[str]) -> None:
        self._server.end_sessions(session_ids)

    def end_use(self, key: str, people: frozenset[str]) -> None:
        self._server.end_use(key, people)
