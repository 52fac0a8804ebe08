"""One end of a raw connection, and the messages read from it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from types import TracebackType
from typing import cast

from tests.support.waiting import PATIENCE

Headers = list[tuple[bytes, bytes]]

GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def get(lines: bytes = b"", target: bytes = b"/") -> bytes:
    """Return a GET with header `lines`, each with its CR LF."""
    return b"GET %b HTTP/1.1\r\nHost: h\r\n%b\r\n" % (target, lines)


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


def fields_of(lines: Iterable[bytes]) -> Headers:
    """Return the headers in the lines of a head."""
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
        return Message(start, fields_of(lines))

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
                message.trailers += fields_of([line[:-2]])
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

    def buffer_nothing(self) -> None:
        """Let drain wait until the kernel has taken everything."""
        self.writer.transport.set_write_buffer_limits(high=0)

    async def stall(self, block: bytes = b"x" * 65536, limit: int = 64 * 2**20) -> int:
        """Send `block` until the peer takes no more; return how many bytes went out.

        Raises:
            AssertionError: it took `limit` bytes.
        """
        self.buffer_nothing()
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


async def served_first(client: Wire, server: Wire) -> None:
    """Answer the request under way."""
    await server.request()
    await server.send(OK)
    assert (await client.response()).body == b"ok"
