"""Listeners of aiohttp servers, and TLS that follows its files: each until a stack is left."""

from __future__ import annotations

import contextlib
import ssl
from typing import Any

from aiohttp import web

from gateway.chp.options import Place, TlsFiles
from gateway.chp.sockets import told, unix_socket
from gateway.chp.tls import renewing, server_context
from gateway.pace import PacedServerRunner
from gateway.proxy.renewal import follow

_GRACE_SECONDS = 1.0


async def serve_web(
    server: web.Server,
    place: Place,
    tls: ssl.SSLContext | None,
    stack: contextlib.AsyncExitStack,
    *,
    private: bool = False,
) -> list[Any]:
    """Serve until `stack` is left; return the addresses where it listens.

    Args:
        server: answers requests.
        place: where.
        tls: what speaks TLS with clients; None for plain HTTP.
        stack: of the proxy.
        private: a Unix socket is for this user alone.

    Raises:
        InvalidInput: it cannot listen there.
    """
    runner = PacedServerRunner(server, shutdown_timeout=_GRACE_SECONDS)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    if place.path:
        listener = unix_socket(place.path, stack, private=private)
        await web.SockSite(runner, listener, ssl_context=tls).start()
    else:
        with told(place):
            await web.TCPSite(runner, place.host or None, place.port, ssl_context=tls).start()
    return runner.addresses


def listening_tls(files: TlsFiles, stack: contextlib.AsyncExitStack) -> ssl.SSLContext | None:
    """Return what speaks TLS with the clients of a listener, or None where it is not asked for.

    Raises:
        InvalidInput: the files cannot be used.
    """
    if not files.given:
        return None
    renewed = renewing(files, server_context)
    follow(renewed, stack)
    return renewed.for_listener()
