"""The composition root of this mode: Options → a running proxy."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from gateway.chp import logs
from gateway.chp.api import RoutesApi
from gateway.chp.book import RouteBook
from gateway.chp.errorpages import ErrorPages
from gateway.chp.exchange import exchanges
from gateway.chp.gate import HostGate, OpenGate, TimedGate
from gateway.chp.headers import Appending, PlainRules, Rewriting
from gateway.chp.listening import listening_tls, serve_web
from gateway.chp.metrics import Exposition
from gateway.chp.options import Options, TlsFiles
from gateway.chp.redirect import serve_redirect
from gateway.chp.sockets import told, unix_socket
from gateway.chp.tally import Tally
from gateway.chp.tls import client_context, renewing
from gateway.errors import InvalidInput
from gateway.loop import heed_signals
from gateway.loop import run as run_loop
from gateway.proxy.context import Manner
from gateway.proxy.interface import Gate, ProxyLimits
from gateway.proxy.renewal import Renewed, follow
from gateway.proxy.server import ProxyServer
from gateway.traffic import Traffic
from routes.keys import InvalidTarget, Target, parse_target

logger = logging.getLogger(__name__)

STOPPED = 2
"""The exit code after SIGTERM or SIGINT, as callers of configurable-http-proxy know it."""

_CONNECT_SECONDS = 10.0
_DRAIN_SECONDS = 5.0


def run(options: Options) -> int:
    """Serve until SIGTERM or SIGINT; return the exit code.

    Raises:
        InvalidInput: the proxy cannot start; one line for people.
    """
    logs.configure(options.log_level)
    run_loop(_serve(options))
    return STOPPED


async def _serve(options: Options) -> None:
    stopping = asyncio.Event()

    def stop() -> None:
        logger.warning("Terminated")
        if stopping.is_set():
            os._exit(STOPPED)  # told twice: at once
        stopping.set()

    heed_signals(stop)
    async with running(options):
        await stopping.wait()


class Proxy:
    """The parts of a running proxy.

    Args:
        options: what it was told.

    Attributes:
        book: the routes.
        server: the data path.
        api_addresses, metrics_addresses: where those listen, once they do.

    Raises:
        InvalidInput: an option cannot be used.
    """

    def __init__(self, options: Options) -> None:
        self.options = options
        self.tally, self.traffic = Tally(), Traffic()
        self.api_addresses: list[Any] = []
        self.metrics_addresses: list[Any] = []
        self.upstream_tls = _renewed(options.client_tls)
        self.book = RouteBook(
            by_host=options.host_routing,
            prepend_path=options.prepend_path,
            retired=self._forget,
        )
        self.pages = ErrorPages(
            _target(options.error_target, "--error-target") if options.error_target else None,
            Path(options.error_path) if options.error_path else None,
            lambda: self.server.pool.tls,
        )
        self.server = ProxyServer(
            self._gate(),
            _limits(options),
            None,
            self.traffic,
            manner=Manner(
                PlainRules(_rewriting(options)),
                Appending(enabled=options.x_forward, custom=options.custom_headers),
                exchanges(self.pages, None if options.metrics is None else self.tally),
            ),
        )
        self.renew()
        if options.default_target:
            _target(options.default_target, "--default-target")
            self.book.put("/", {"target": options.default_target})
            logger.info("Route added / -> %s", options.default_target)

    def renew(self) -> None:
        """Speak TLS with targets by the files as they are now."""
        if self.upstream_tls is not None:
            self.server.pool.tls = self.upstream_tls.current

    def _gate(self) -> Gate:
        kind = HostGate if self.options.host_routing else OpenGate
        gate = kind(self.book.table)
        if self.options.metrics is None:
            return gate
        return TimedGate(gate, self.tally.clock, self.tally.looked_up)

    def _forget(self, target: Target) -> None:
        self.server.forget(target)


@contextlib.asynccontextmanager
async def running(options: Options) -> AsyncIterator[Proxy]:
    """Run a proxy: it listens when entered, and is drained and closed when left.

    Raises:
        InvalidInput: it cannot start.
    """
    async with contextlib.AsyncExitStack() as stack:
        proxy = Proxy(options)
        stack.push_async_callback(proxy.pages.close)
        if options.route_file:
            from gateway.chp.keeping import keep  # noqa: PLC0415 - it needs libgdbm

            by_host = options.host_routing
            await keep(proxy.book, Path(options.route_file), stack, by_host=by_host)
        if proxy.upstream_tls is not None:
            follow(proxy.upstream_tls, stack, proxy.renew)
        if not options.token:
            logger.warning("REST API is not authenticated.")
        if options.pid_file:
            _write_pid(options.pid_file, stack)
        await _serve_api(proxy, stack)
        if options.metrics is not None:
            shown = Exposition(proxy.tally, proxy.traffic, lambda: len(proxy.book))
            proxy.metrics_addresses = await serve_web(shown.server(), options.metrics, None, stack)
            logger.info("Serve metrics at http://%s/metrics", options.metrics)
        await _serve_public(proxy, stack)
        if options.redirect_port is not None:
            await serve_redirect(options, stack)
        yield proxy


async def _serve_public(proxy: Proxy, stack: contextlib.AsyncExitStack) -> None:
    options, place = proxy.options, proxy.options.public
    tls = listening_tls(options.tls, stack)
    if place.path:
        listener = unix_socket(place.path, stack)
        await proxy.server.start(sock=listener, tls=tls)
    else:
        with told(place):
            await proxy.server.start(place.host or None, place.port, tls=tls)
    stack.push_async_callback(proxy.server.stop, _DRAIN_SECONDS)
    scheme = "https" if tls else "http"
    goal = options.default_target or "(no default)"
    logger.info("Proxying %s://%s to %s", scheme, place, goal)


async def _serve_api(proxy: Proxy, stack: contextlib.AsyncExitStack) -> None:
    options = proxy.options
    api = RoutesApi(proxy.book, proxy.tally, options.token).server()
    tls = listening_tls(options.api_tls, stack)
    proxy.api_addresses = await serve_web(api, options.api, tls, stack, private=not options.token)
    logger.info("Proxy API at %s://%s/api/routes", "https" if tls else "http", options.api)


def _renewed(files: TlsFiles) -> Renewed | None:
    """Return a context for targets; None where the defaults do, which are costly to load."""
    wanted = files.given or files.ca or not files.verify
    return renewing(files, client_context) if wanted else None


def _rewriting(options: Options) -> Rewriting:
    return Rewriting(
        x_forward=options.x_forward,
        include_prefix=options.include_prefix,
        by_host=options.host_routing,
        change_origin=options.change_origin,
        custom=options.custom_headers,
        auto_rewrite=options.auto_rewrite,
        protocol=options.protocol_rewrite,
    )


def _limits(options: Options) -> ProxyLimits:
    bounds = [bound for bound in (options.timeout, options.proxy_timeout) if bound is not None]
    return ProxyLimits(
        keepalive_timeout=options.keep_alive_timeout,
        connect_timeout=min([_CONNECT_SECONDS, *bounds]),
        response_timeout=min(bounds, default=None),
    )


def _target(text: str, flag: str) -> Target:
    try:
        return parse_target(text, tls=True)
    except InvalidTarget as error:
        raise InvalidInput(f"{flag}: {error}") from error


def _write_pid(path: str, stack: contextlib.AsyncExitStack) -> None:
    file = Path(path)
    try:
        file.write_text(str(os.getpid()), encoding="ascii")
    except OSError as error:
        raise InvalidInput(f"--pid-file: cannot write {path}: {error.strerror}") from error
    logger.info("Writing pid %s to %s", os.getpid(), path)
    stack.callback(file.unlink, missing_ok=True)
