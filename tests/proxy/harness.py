"""A data path between raw sockets: a scripted gate, scripted upstreams, a small pages app.

Tests speak bytes on both ends, so that they say nothing about how the data path is made.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import cast

from aiohttp import web

from gateway.proxy.interface import (
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

PATIENCE = 10.0
COOKIES = frozenset({b"nbgate-session", b"__Host-nbgate", b"nbgate-state", b"__Host-nbgate-state"})
Headers = list[tuple[bytes, bytes]]


async def until(condition: Callable[[], bool]) -> None:
    """Wait until `condition` holds.

    Raises:
        TimeoutError: it never did.
    """
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - conditions are plain state, without an event
            await asyncio.sleep(0.005)


@dataclass
class Message:
    """An HTTP message as it was on the wire.

    Attributes:
        start: the first line, without its CR LF.
        headers: in order, names as sent.
        body: its payload, chunks joined.
        raw: the body's bytes as they came.
        trailers: of a chunked body.
    """

    start: bytes
    headers: Headers
    body: bytes = b""
    raw: bytes = b""
    trailers: Headers = field(default_factory=list)

    @property
    def status(self) -> int:
        """The status of a response."""
        return int(self.start.split(b" ")[1])

    @property
    def target(self) -> bytes:
        """The raw target of a request."""
        return self.start.split(b" ")[1]

    def all(self, name: bytes) -> list[bytes]:
        """Return every value of the header `name` in lower case."""
        return [value for key, value in self.headers if key.lower() == name]

    def one(self, name: bytes) -> bytes | None:
        """Return the only value of the header `name`; None when there is none."""
        values = self.all(name)
        assert len(values) <= 1, f"{name!r} is repeated: {values}"
        return values[0] if values else None

    def names(self) -> set[bytes]:
        """Return the names of the headers in lower case."""
        return {name.lower() for name, _ in self.headers}


def _fields(lines: Iterable[bytes]) -> Headers:
    pairs = [line.split(b":", 1) for line in lines]
    return [(name, value.strip()) for name, value in pairs]


class Wire:
    """One end of a connection: sends bytes, reads messages."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def __aenter__(self) -> Wire:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def send(self, data: bytes) -> None:
        """Send `data`."""
        self.writer.write(data)
        async with asyncio.timeout(PATIENCE):
            await self.writer.drain()

    async def head(self) -> Message:
        """Read a head."""
        async with asyncio.timeout(PATIENCE):
            block = await self.reader.readuntil(b"\r\n\r\n")
        start, *lines = block[:-4].split(b"\r\n")
        return Message(start, _fields(lines))

    async def read(self, count: int) -> bytes:
        """Read exactly `count` bytes."""
        async with asyncio.timeout(PATIENCE):
            return await self.reader.readexactly(count)

    async def rest(self) -> bytes:
        """Read until the peer closes; a reset raises ConnectionResetError."""
        async with asyncio.timeout(PATIENCE):
            return await self.reader.read()

    async def request(self) -> Message:
        """Read a request with its body."""
        message = await self.head()
        await self.body_of(message)
        return message

    async def body_of(self, message: Message) -> None:
        """Read the body of a request whose head was read."""
        if message.one(b"transfer-encoding") is not None:
            await self._chunks(message)
        elif message.one(b"content-length") is not None:
            message.body = message.raw = await self.read(int(message.one(b"content-length") or 0))

    async def response(self, method: str = "GET") -> Message:
        """Read a response to `method` with its body."""
        message = await self.head()
        if method == "HEAD" or message.status < 200 or message.status in (204, 304):
            return message
        if message.one(b"transfer-encoding") is not None:
            await self._chunks(message)
        elif (length := message.one(b"content-length")) is not None:
            message.body = message.raw = await self.read(int(length))
        else:
            message.body = message.raw = await self.rest()
        return message

    async def _chunks(self, message: Message) -> None:
        async with asyncio.timeout(PATIENCE):
            while True:
                line = await self.reader.readuntil(b"\r\n")
                size = int(line.split(b";")[0], 16)
                message.raw += line
                if not size:
                    break
                chunk = await self.reader.readexactly(size + 2)
                assert chunk.endswith(b"\r\n")
                message.raw += chunk
                message.body += chunk[:-2]
            while (line := await self.reader.readuntil(b"\r\n")) != b"\r\n":
                message.raw += line
                message.trailers += _fields([line[:-2]])
            message.raw += line

    async def gone(self) -> bool:
        """Wait until the peer has closed; return whether it did so without another byte."""
        try:
            return await self.rest() == b""
        except ConnectionError:
            return True

    def pause(self) -> None:
        """Take nothing from the kernel any more."""
        cast("asyncio.ReadTransport", self.writer.transport).pause_reading()

    def resume(self) -> None:
        """Undo pause."""
        cast("asyncio.ReadTransport", self.writer.transport).resume_reading()

    async def stall(self, block: bytes = b"x" * 65536, limit: int = 64 * 2**20) -> int:
        """Send `block` until the peer takes no more; return how many bytes went out.

        Raises:
            AssertionError: it took `limit` bytes.
        """
        self.writer.transport.set_write_buffer_limits(high=0)
        sent = 0
        while sent < limit:
            self.writer.write(block)
            sent += len(block)
            try:
                async with asyncio.timeout(0.5):
                    await self.writer.drain()
            except TimeoutError:
                return sent
        raise AssertionError(f"the peer took {sent} bytes without a pause")

    async def close(self) -> None:
        """Close; what the peer did not take is dropped."""
        self.writer.close()
        if self.writer.transport.get_write_buffer_size():
            self.writer.transport.abort()
        with contextlib.suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(PATIENCE):
                await self.writer.wait_closed()

    def reset(self) -> None:
        """Close with RST."""
        sock = self.writer.get_extra_info("socket")
        if sock is not None and sock.fileno() >= 0:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


Handler = Callable[[Wire], Awaitable[None]]


class Upstream:
    """A server whose connections a test plays by hand, or a handler plays.

    Attributes:
        accepted: how many connections were accepted.
    """

    def __init__(self, handler: Handler | None = None) -> None:
        self._handler = handler
        self._waiting: asyncio.Queue[Wire] = asyncio.Queue()
        self._wires: list[Wire] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self.accepted = 0

    async def __aenter__(self) -> Upstream:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0, limit=2**20)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.close()
        for wire in self._wires:
            wire.reset()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    @property
    def target(self) -> Target:
        """Where it listens."""
        return Target("127.0.0.1", self.port)

    def stop_listening(self) -> None:
        """Accept no more connections; those that are open live on."""
        self._server.close()

    async def take(self) -> Wire:
        """Return the next connection."""
        async with asyncio.timeout(PATIENCE):
            return await self._waiting.get()

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        wire = Wire(reader, writer)
        self._wires.append(wire)
        if self._handler is None:
            self._waiting.put_nowait(wire)
            return
        task = asyncio.create_task(self._play(self._handler, wire), name="upstream")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _play(self, handler: Handler, wire: Wire) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await handler(wire)
        wire.writer.close()


async def echo(wire: Wire) -> None:
    """Answer each request with its own head and body."""
    while True:
        message = await wire.request()
        lines = [message.start, *(b"%b: %b" % field for field in message.headers)]
        body = b"\r\n".join(lines) + b"\r\n\r\n" + message.body
        body = b"" if message.start.startswith(b"HEAD") else body
        await wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))


def parsed(body: bytes) -> Message:
    """Return the request that `echo` answered with."""
    block, _, payload = body.partition(b"\r\n\r\n")
    start, *lines = block.split(b"\r\n")
    return Message(start, _fields(lines), payload)


class ScriptedGate:
    """A gate that does what the test says.

    Attributes:
        rule: decides; tests assign it.
        seen: every (head, client) that was asked about.
        awake: what awaken returns or raises, once set.
        awaiting: how many awaken calls wait now; `cancelled` how many were cancelled.
        suspects: entries reported; `replacement` is what suspect returns for the first.
    """

    def __init__(self, rule: Callable[[RequestHead, Client], Decision]) -> None:
        self.rule = rule
        self.seen: list[tuple[RequestHead, Client]] = []
        self.awake: asyncio.Future[Relay | Refuse] = asyncio.get_running_loop().create_future()
        self.awaiting = 0
        self.cancelled = 0
        self.suspects: list[RouteEntry] = []
        self.replacement: Hold | None = None

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


class Rig:
    """A running data path. Everything goes to `entry` unless the gate's rule is changed."""

    def __init__(
        self, folder: Path, target: Target | None, limits: ProxyLimits, trusted: Iterable[str]
    ) -> None:
        self.entry = RouteEntry("/", target)
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


async def _page(request: web.Request) -> web.Response:
    told = dict(request.headers.items())
    return web.json_response({"path": request.raw_path, "headers": told})


@contextlib.asynccontextmanager
async def pages_app(path: Path) -> AsyncIterator[None]:
    """Serve an application that tells what it was told, on a Unix socket."""
    application = web.Application()
    application.router.add_route("*", "/{rest:.*}", _page)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.UnixSite(runner, str(path)).start()
    try:
        yield
    finally:
        await runner.cleanup()


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
