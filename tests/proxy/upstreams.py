"""Servers behind the data path: played by hand or by a handler, and a small pages app."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from types import TracebackType

from aiohttp import web

from routes.keys import Target
from tests.proxy.wire import Message, Wire, fields_of
from tests.support.waiting import PATIENCE

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


class UnixUpstream(Upstream):
    """An upstream on a Unix socket."""

    def __init__(self, path: Path, *, echoing: bool = True) -> None:
        super().__init__(echo if echoing else None)
        self.path = path

    async def __aenter__(self) -> UnixUpstream:
        self.path.parent.mkdir(exist_ok=True)
        self._server = await asyncio.start_unix_server(self._connected, self.path, limit=2**20)
        return self

    @property
    def target(self) -> Target:
        return Target("localhost", 80, socket=str(self.path))


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
    return Message(start, fields_of(lines), payload)


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
