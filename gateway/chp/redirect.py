"""The listener that sends clients of HTTP on to HTTPS: the data path, where nothing has a route."""

from __future__ import annotations

import contextlib
import logging

from gateway.chp.errorpages import ErrorPages, Page
from gateway.chp.exchange import exchanges
from gateway.chp.gate import OpenGate
from gateway.chp.headers import Appending, PlainRules, Rewriting
from gateway.chp.options import Options, Place
from gateway.chp.paths import host_segment
from gateway.chp.sockets import told
from gateway.problems import Problem
from gateway.proxy.context import Manner
from gateway.proxy.interface import ProxyLimits, Relay
from gateway.proxy.messages import RequestHead
from gateway.proxy.server import ProxyServer
from gateway.traffic import Traffic
from routes.table import Table

logger = logging.getLogger(__name__)

_HTTPS_PORT = 443


class Redirects(ErrorPages):
    """Answers everything with the same URL under HTTPS.

    Args:
        port: of HTTPS.
    """

    def __init__(self, port: int) -> None:
        super().__init__()
        self._port = port

    def at_once(self, problem: Problem, head: RequestHead) -> Page | None:
        """Return the redirect."""
        host = host_segment(head.host)
        if not host:
            return Page(400, b"HTTPS is spoken here, on port %d.\n" % self._port)
        port = b"" if self._port == _HTTPS_PORT else b":%d" % self._port
        return Page(301, fields=((b"Location", b"https://%b%b%b" % (host, port, head.target)),))


async def serve_redirect(options: Options, stack: contextlib.AsyncExitStack) -> ProxyServer:
    """Listen on the port for HTTP until `stack` is left."""
    place = Place(options.public.host, options.redirect_port or 0)
    redirects = exchanges(Redirects(options.redirect_to))
    server = ProxyServer(
        OpenGate(Table[Relay]()),
        ProxyLimits(keepalive_timeout=options.keep_alive_timeout),
        None,
        Traffic(),
        manner=Manner(PlainRules(Rewriting()), Appending(), redirects),
    )
    with told(place):
        await server.start(place.host or None, place.port)
    stack.push_async_callback(server.stop, 0.0)
    port = server.addresses[0][1]
    logger.info("Added HTTP to HTTPS redirection from %s to %s", port, options.redirect_to)
    return server
