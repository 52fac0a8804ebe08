"""The public listener: accepts client connections, and stops with grace."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, cast

from gateway.problems import Problem
from gateway.proxy.accesslog import AccessLog
from gateway.proxy.context import Context, Manner
from gateway.proxy.downstream import Downstream
from gateway.proxy.exchange import Exchange
from gateway.proxy.forwarded import Forwarding, Network
from gateway.proxy.headers import HeaderRules
from gateway.proxy.interface import (
    Clock,
    Gate,
    Hold,
    Observer,
    ProxyLimits,
    Relay,
    monotonic,
)
from gateway.proxy.pool import Pool
from routes.keys import Target

_SESSION_ENDED = Problem(401, "login-required", "the session has ended; sign in again")
_NOT_YOURS = Problem(404, "not-found", "there is no such page, or it is not yours")
_BACKLOG = 1024
_CLOSE_SECONDS = 2.0
# Connections end sooner, by the deadlines of Ending and Tunnel, which wait while something is still
# to be sent; this one would cut off a client that reads the end of a long answer slowly.
_TLS_CLOSE_SECONDS = 3600.0


class ProxyServer:
    """The data path of one process.

    Args:
        gate: decides about each request.
        limits: bounds.
        pages_socket: Unix socket of the gateway's own application; None where the gate never
            hands anything to one.
        observer: is told of requests and WebSockets.
        trusted: networks of proxies in front whose X-Forwarded-* are believed.
        gateway_cookies: names of cookies that no upstream but the application sees.
        user_headers: of `trusted`, in which they name a person, and what that one is called.
        clock: monotonic seconds; the clock of `Activity.last`.
        access_log: is told of requests that ended; None for no log.
        manner: of another kind of gateway; it replaces `trusted` and `gateway_cookies`.
    """

    def __init__(
        self,
        gate: Gate,
        limits: ProxyLimits,
        pages_socket: Path | None,
        observer: Observer,
        *,
        trusted: Sequence[Network] = (),
        gateway_cookies: frozenset[bytes] = frozenset(),
        user_headers: Sequence[str] = (),
        clock: Clock = monotonic,
        access_log: AccessLog | None = None,
        manner: Manner | None = None,
    ) -> None:
        pages = "" if pages_socket is None else str(pages_socket)
        if manner is None:
            named = [name.lower().encode() for name in user_headers]
            rules = HeaderRules(gateway_cookies, named)
            manner = Manner(rules, Forwarding(trusted, named), Exchange)
        self.pool = Pool(limits.connect_timeout, limits.upstream_idle, clock=clock, pages=pages)
        self._server: asyncio.Server | None = None
        self._context = Context(
            gate=gate,
            limits=limits,
            observer=observer,
            pool=self.pool,
            rules=manner.rules,
            forwarding=manner.forwarding,
            exchange=manner.exchange,
            pages=pages,
            clock=clock,
            access_log=access_log,
        )

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """(host, port) of each listening socket; empty when not started."""
        sockets = self._server.sockets if self._server is not None else ()
        return [sock.getsockname()[:2] for sock in sockets]

    async def start(
        self,
        host: str | None = None,
        port: int = 0,
        *,
        sock: socket.socket | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Listen on `host`:`port` (0: any free one), or on the given bound socket.

        Args:
            host: None for all addresses.
            port: ignored with `sock`.
            sock: bound.
            tls: what speaks TLS with clients; None for plain HTTP.

        Raises:
            OSError: the address is in use or cannot be had.
        """
        loop = asyncio.get_running_loop()
        options: dict[str, Any] = {"backlog": _BACKLOG}
        if tls is not None:
            options["ssl"] = tls
            options["ssl_handshake_timeout"] = self._context.limits.head_timeout
            options["ssl_shutdown_timeout"] = _TLS_CLOSE_SECONDS
        make = self._connection
        if sock is None:
            self._server = await loop.create_server(make, host, port, reuse_address=True, **options)
        elif sock.family == socket.AF_UNIX:
            self._server = await loop.create_unix_server(make, sock=sock, **options)
        else:
            self._server = await loop.create_server(make, sock=sock, **options)

    @property
    def connections(self) -> int:
        """How many clients are connected, tunnels counted."""
        return len(self._context.connections) + len(self._context.tunnels)

    def on_left(self, told: Callable[[], None]) -> None:
        """Call `told` when a client's connection has ended, or became a tunnel."""
        self._context.told_left = told

    async def take(self, connection: socket.socket, tls: ssl.SSLContext | None) -> None:
        """Serve a connection that somebody else accepted; return when it is set up.

        Args:
            connection: the accepted socket; it belongs to the server from now on.
            tls: what speaks TLS with clients; None for plain HTTP.

        Raises:
            OSError: it broke, or the handshake failed.
        """
        await asyncio.get_running_loop().connect_accepted_socket(
            self._connection,
            connection,
            ssl=tls,
            ssl_handshake_timeout=None if tls is None else self._context.limits.head_timeout,
            ssl_shutdown_timeout=None if tls is None else _TLS_CLOSE_SECONDS,
        )

    def forget(self, target: Target) -> None:
        """Use no open connection to `target` again: what listens there is another now."""
        self.pool.forget(target)

    def end_sessions(self, session_ids: Collection[str]) -> None:
        """Break off tunnels and requests on their way that these sessions admitted.

        A connection between two requests stays: each request is decided about anew.
        """
        self._end(lambda by: bool(by.session) and by.session in session_ids, _SESSION_ENDED)

    def end_use(self, key: str, people: frozenset[str]) -> None:
        """Break off what these people have open at a route; see end_sessions."""
        self._end(lambda by: by.entry.key == key and by.user in people, _NOT_YOURS)

    def _end(self, is_over: Callable[[Relay | Hold], bool], problem: Problem) -> None:
        for tunnel in tuple(self._context.tunnels):
            if tunnel.admitted is not None and is_over(tunnel.admitted):
                tunnel.go_away()
        for connection in tuple(self._context.connections):
            connection.end_admitted(is_over, problem)

    async def stop(self, grace: float) -> None:
        """Stop accepting, let requests in flight finish, then close everything.

        Args:
            grace: seconds that requests in flight have. Tunnels are told to go away when it is
                over or no request is left.
        """
        context = self._context
        context.draining = True
        if self._server is not None:
            self._server.close()
        for connection in tuple(context.connections):
            connection.drain()
        await self._drained(grace)
        for tunnel in tuple(context.tunnels):
            tunnel.go_away()
        for connection in tuple(context.connections):
            connection.abort()
        await self._drained(_CLOSE_SECONDS)
        await self._tunnels_closed()
        await self.pool.close()

    async def _drained(self, seconds: float) -> None:
        if self._context.connections:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._context.drained.wait()

    async def _tunnels_closed(self) -> None:
        if self._context.tunnels:
            self._context.tunnels_closed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_CLOSE_SECONDS):
                    await self._context.tunnels_closed.wait()
        for tunnel in tuple(self._context.tunnels):
            tunnel.abort()

    def _connection(self) -> asyncio.Protocol:
        return cast("asyncio.Protocol", Downstream(self._context))
