"""A data path between raw sockets, with a scripted gate.

Tests speak bytes on both ends (wire.py, upstreams.py), so that they say nothing about how the data
path is made.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import replace
from pathlib import Path

from gateway.proxy.interface import (
    Activity,
    Client,
    Decision,
    Hold,
    ProxyLimits,
    Refuse,
    Relay,
    RouteEntry,
)
from gateway.proxy.messages import RequestHead
from gateway.proxy.server import ProxyServer
from routes.keys import Target
from tests.proxy.upstreams import Upstream
from tests.proxy.wire import GET, OK, Message, Wire

COOKIES = frozenset({b"nbgate-session", b"__Host-nbgate", b"nbgate-state", b"__Host-nbgate-state"})


class ScriptedGate:
    """A gate that does what the test says.

    Attributes:
        rule: decides; tests assign it.
        seen: every (head, client) that was asked about.
        awake: what awaken returns or raises, once set.
        awaiting: how many awaken calls wait now; `cancelled` how many were cancelled.
        suspects: entries reported; `replacement` is what suspect returns for the first.
        stopped: entries whose notebooks were stopped: their targets do not stand.
    """

    def __init__(self, rule: Callable[[RequestHead, Client], Decision]) -> None:
        self.rule = rule
        self.seen: list[tuple[RequestHead, Client]] = []
        self.awake: asyncio.Future[Relay | Refuse] = asyncio.get_running_loop().create_future()
        self.awaiting = 0
        self.cancelled = 0
        self.suspects: list[RouteEntry] = []
        self.replacement: Hold | None = None
        self.stopped: list[RouteEntry] = []

    def decide(self, head: RequestHead, client: Client) -> Decision:
        self.seen.append((head, client))
        return self.rule(head, client)

    async def awaken(self, hold: Hold) -> Relay | Refuse:
        self.awaiting += 1
        try:
            return await asyncio.shield(self.awake)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.awaiting -= 1

    def stands(self, relay: Relay) -> bool:
        return relay.entry not in self.stopped

    def suspect(self, relay: Relay) -> Hold | None:
        self.suspects.append(relay.entry)
        return self.replacement


class Recorder:
    """An observer that counts."""

    def __init__(self) -> None:
        self.started = 0
        self.outcomes: list[str] = []
        self.websockets = 0
        self.websockets_opened = 0

    def request_started(self) -> None:
        self.started += 1

    def request_finished(self, outcome: str) -> None:
        self.outcomes.append(outcome)

    def websocket_opened(self) -> None:
        self.websockets += 1
        self.websockets_opened += 1

    def websocket_closed(self) -> None:
        self.websockets -= 1


def activity_of(entry: RouteEntry) -> Activity:
    """Return the activity of an entry that has one."""
    assert entry.activity is not None
    return entry.activity


class Rig:
    """A running data path. Everything goes to `entry` unless the gate's rule is changed."""

    def __init__(
        self, folder: Path, target: Target | None, limits: ProxyLimits, trusted: Iterable[str]
    ) -> None:
        self.entry = RouteEntry("/", target, activity=Activity())
        self.gate = ScriptedGate(lambda head, client: Relay(self.entry))
        self.observer = Recorder()
        self.clients: list[Wire] = []
        self.proxy = ProxyServer(
            self.gate,
            limits,
            folder / "pages.sock",
            self.observer,
            trusted=[ipaddress.ip_network(item) for item in trusted],
            gateway_cookies=COOKIES,
        )

    @property
    def port(self) -> int:
        """Where it listens."""
        return self.proxy.addresses[0][1]

    async def connect(self) -> Wire:
        """Return a client's connection."""
        wire = Wire(*await asyncio.open_connection("127.0.0.1", self.port, limit=2**20))
        self.clients.append(wire)
        return wire

    async def ask(self, data: bytes, method: str = "GET") -> Message:
        """Send one request over a connection of its own; return the response."""
        async with await self.connect() as client:
            await client.send(data)
            return await client.response(method)

    def notebook(
        self,
        target: Target | None = None,
        *,
        secret: str | None = "s3cret",
        waking: bool = False,
        generation: int = 1,
    ) -> RouteEntry:
        """Make the route a notebook's, with a new target if one is given; return its entry."""
        self.entry = replace(
            self.entry,
            target=target or self.entry.target,
            slug="demo",
            owner="alice",
            secret=secret,
            waking=waking,
            generation=generation,
        )
        return self.entry


@contextlib.asynccontextmanager
async def rig(
    folder: Path,
    target: Target | None = None,
    limits: ProxyLimits | None = None,
    trusted: Iterable[str] = (),
) -> AsyncIterator[Rig]:
    """Run a data path towards `target`, on a free port."""
    made = Rig(folder, target, limits or ProxyLimits(), trusted)
    await made.proxy.start("127.0.0.1", 0)
    try:
        yield made
    finally:
        await made.proxy.stop(grace=0.0)
        for client in made.clients:
            await client.close()


async def forwarded(proxy: Rig, upstream: Upstream, request: bytes = GET) -> tuple[Wire, Wire]:
    """Return both ends of a request that was forwarded, on a connection of its own, and waits.

    Of a request with a body, the upstream has read the head.
    """
    client = await proxy.connect()
    await client.send(request)
    server = await upstream.take()
    await server.head()
    return client, server


async def served(proxy: Rig, upstream: Upstream) -> tuple[Wire, Wire]:
    """Return the ends of two connections that have served a request and are idle."""
    client, server = await forwarded(proxy, upstream)
    await server.send(OK)
    assert (await client.response()).body == b"ok"
    return client, server
