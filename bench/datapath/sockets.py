"""WebSocket load: an echo that is measured, and sockets that are only open."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import cast

from bench.datapath.loops import new_loop
from bench.datapath.turns import ready

_OPENING_AT_ONCE = 64
_WARM_SOCKETS = 1000
_OPEN_SECONDS = 120.0


def client_frame(size: int) -> bytes:
    """Return a binary frame of `size` bytes as a client sends it, masked with zeros (RFC 6455)."""
    length = bytes((0x80 | size,)) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
    return b"\x82" + length + bytes(4) + bytes(index % 251 for index in range(size))


def server_frame_bytes(size: int) -> int:
    """Return how long the echo of such a frame is."""
    return size + (2 if size < 126 else 4)


class Client(asyncio.Protocol):
    """One WebSocket: sends a frame, and the next one when it has come back whole.

    Attributes:
        opened: done when the handshake is over.
        messages: echoes so far.
        lost: whether the connection ended.
    """

    def __init__(self, handshake: bytes, frame: bytes, expected: int) -> None:
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.messages = 0
        self.lost = False
        self._handshake, self._frame, self._expected = handshake, frame, expected
        self._head = b""
        self._missing = 0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the handshake."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass
        self._transport.write(self._handshake)

    def send(self) -> None:
        """Send the next frame."""
        assert self._transport is not None
        self._missing = self._expected
        self._transport.write(self._frame)

    def data_received(self, data: bytes) -> None:
        """Count the echo's bytes."""
        if not self.opened.done():
            self._take_head(data)
            return
        self._missing -= len(data)
        if self._missing == 0:
            self.messages += 1
            self.send()
        elif self._missing < 0:
            raise AssertionError("the echo is longer than what was sent")

    def connection_lost(self, exc: Exception | None) -> None:
        """Note that it ended."""
        self.lost = True
        if not self.opened.done():
            self.opened.set_exception(exc or ConnectionError(f"closed: {self._head[:200]!r}"))

    def _take_head(self, data: bytes) -> None:
        self._head += data
        if b"\r\n\r\n" not in self._head:
            return
        if self._head.startswith(b"HTTP/1.1 101 "):
            self.opened.set_result(None)
        else:
            self.opened.set_exception(ConnectionError(f"refused: {self._head[:200]!r}"))


def echo(
    port: int, handshake: str, size: int, connections: int, seconds: float
) -> Mapping[str, float]:
    """Echo messages of `size` bytes, one in flight on each connection; return how many came."""
    with asyncio.Runner(loop_factory=new_loop) as runner:
        return runner.run(_echo(port, handshake.encode(), size, connections, seconds))


async def _echo(
    port: int, handshake: bytes, size: int, connections: int, seconds: float
) -> Mapping[str, float]:
    clients = await _open(port, handshake, connections, size)
    await asyncio.to_thread(ready)
    began = time.perf_counter()
    for client in clients:
        client.send()
    await asyncio.sleep(seconds)
    elapsed, messages = time.perf_counter() - began, sum(client.messages for client in clients)
    if any(client.lost or not client.messages for client in clients):
        raise ConnectionError("a WebSocket was lost, or had no echo")
    return {"messages": messages, "seconds": elapsed}


def idle(port: int, handshake: str, connections: int) -> Mapping[str, float]:
    """Hold WebSockets open: some to fill what memory the proxy has free, then `connections`."""
    with asyncio.Runner(loop_factory=new_loop) as runner:
        return runner.run(_idle(port, handshake.encode(), connections))


async def _idle(port: int, handshake: bytes, connections: int) -> Mapping[str, float]:
    clients = await _open(port, handshake, _WARM_SOCKETS, 0)
    await asyncio.to_thread(ready)
    clients += await _open(port, handshake, connections, 0)
    await asyncio.to_thread(ready)
    lost = sum(client.lost for client in clients)
    return {"open": len(clients) - lost, "lost": lost}


async def _open(port: int, handshake: bytes, count: int, size: int) -> list[Client]:
    loop = asyncio.get_running_loop()
    frame, expected = client_frame(size), server_frame_bytes(size)
    turns = asyncio.Semaphore(_OPENING_AT_ONCE)

    async def one() -> Client:
        async with turns:
            _, client = await loop.create_connection(
                lambda: Client(handshake, frame, expected), "127.0.0.1", port
            )
            await client.opened
            return client

    async with asyncio.timeout(_OPEN_SECONDS):
        return list(await asyncio.gather(*(one() for _ in range(count))))
