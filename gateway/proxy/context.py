"""What all connections of one data path share. Made by server.py, used by the protocols."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from gateway.proxy.accesslog import AccessLog
from gateway.proxy.forwarded import Forwarding
from gateway.proxy.headers import HeaderRules
from gateway.proxy.interface import Client, Clock, Gate, Observer, ProxyLimits
from gateway.proxy.messages import RequestHead
from gateway.proxy.pool import Pool
from gateway.proxy.requestids import RequestIds

if TYPE_CHECKING:
    from gateway.proxy.downstream import Downstream
    from gateway.proxy.exchange import Exchange
    from gateway.proxy.tunnel import Tunnel

MakeExchange: TypeAlias = "Callable[[Context, Downstream, RequestHead, Client, bytes], Exchange]"


@dataclass(frozen=True, slots=True)
class Manner:
    """What another kind of gateway over the same data path does in its own way.

    Attributes:
        rules: header rules.
        forwarding: who the client is, and what upstreams are told about it.
        exchange: makes the exchange of a request.
    """

    rules: HeaderRules
    forwarding: Forwarding
    exchange: MakeExchange


@dataclass(slots=True)
class Context:
    """The parts and the state shared.

    Attributes:
        gate: decides.
        limits: bounds.
        observer: is told.
        pool: upstream connections.
        rules: header rules.
        forwarding: which peers are proxies.
        exchange: makes the exchange of a request.
        pages: path of the Unix socket of the gateway's own application.
        clock: monotonic seconds.
        access_log: is told of requests that ended; None when it is off.
        connections: client connections that are not tunnels.
        tunnels: what became of the others.
        request_ids: names requests.
        told_left: called when a client's connection was struck out; None for nobody.
        draining: no request after the present one is taken.
        drained: set when draining and `connections` is empty.
        tunnels_closed: set when the last tunnel closes.
    """

    gate: Gate
    limits: ProxyLimits
    observer: Observer
    pool: Pool
    rules: HeaderRules
    forwarding: Forwarding
    exchange: MakeExchange
    pages: str
    clock: Clock
    access_log: AccessLog | None = None
    connections: set[Downstream] = field(default_factory=set)
    tunnels: set[Tunnel] = field(default_factory=set)
    told_left: Callable[[], None] | None = None
    draining: bool = False
    request_ids: RequestIds = field(default_factory=RequestIds)
    drained: asyncio.Event = field(default_factory=asyncio.Event)
    tunnels_closed: asyncio.Event = field(default_factory=asyncio.Event)

    def left(self, connection: Downstream) -> None:
        """Strike out a client connection that is closed or became a tunnel."""
        self.connections.discard(connection)
        if self.told_left is not None:
            self.told_left()
        if self.draining and not self.connections:
            self.drained.set()

    def ended(self, tunnel: Tunnel) -> None:
        """Strike out a tunnel whose connections are both closed."""
        self.tunnels.discard(tunnel)
        if self.told_left is not None:
            self.told_left()
        if not self.tunnels:
            self.tunnels_closed.set()
