"""Upstreams that answer with their own port, and a client that keeps its connection."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Self

from tests.support.waiting import PATIENCE


@contextlib.asynccontextmanager
async def upstreams(count: int) -> AsyncIterator[list[int]]:
    """Yield the ports of `count` HTTP servers on 127.0.0.1."""
    async with contextlib.AsyncExitStack() as stack:
        servers = [await asyncio.start_server(_serve, "127.0.0.1", 0) for _ in range(count)]
        for server in servers:
            stack.callback(server.close)
        yield [server.sockets[0].getsockname()[1] for server in servers]


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    body = str(writer.get_extra_info("sockname")[1]).encode()
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            await writer.drain()
    writer.close()


class Client:
    """One connection to httpd, kept alive, opened again when httpd closes it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._drop()

    async def get(self, host: str) -> tuple[int, bytes]:
        """Return status and body of `GET /` on `host`."""
        async with asyncio.timeout(PATIENCE):
            if self._streams is None:
                self._streams = await asyncio.open_connection("127.0.0.1", self._port)
            reader, writer = self._streams
            writer.write(b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % host.encode())
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            body = await reader.readexactly(int(head.partition("content-length: ")[2].split()[0]))
            # httpd says so before it closes; a request sent after that would be lost by us.
            if "connection: close" in head:
                self._drop()
            return int(head.split()[1]), body

    def _drop(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None
