"""Connections that come and go: requests of several kinds and WebSockets, in a fixed mixture."""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from bench.datapath.sockets import client_frame, server_frame_bytes

T = TypeVar("T")

LIVE, DEAD, UNKNOWN = "/user/live", "/user/dead", "/nobody"
PER_CONNECTION = 10
_AT_ONCE = 50
_PATIENCE = 120.0
_FRAME_BYTES = 200
_BODY = bytes(10_000)
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]+)", re.IGNORECASE)
_HANDSHAKE = (
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    f"Sec-WebSocket-Key: {base64.b64encode(bytes(16)).decode()}\r\n"
)


class WrongAnswer(Exception):
    """A proxy answered otherwise than it had to; the text says how."""


@dataclass(frozen=True, slots=True)
class Mixture:
    """How much of what.

    Attributes:
        requests: in all, ten on a connection; some connections carry one: to a target that is
            down, to no route at all, or of a client that leaves before its answer.
        sockets: WebSockets that are opened, used once and closed, each second one without a word.
    """

    requests: int
    sockets: int

    def part(self, parts: int) -> Mixture:
        """Return one of `parts` equal parts."""
        return Mixture(self.requests // parts, self.sockets // parts)


async def churn(port: int, mixture: Mixture) -> None:
    """Send it all.

    Raises:
        WrongAnswer: see there.
        OSError, EOFError: a connection was refused, or ended too early.
        TimeoutError: it took longer than anything that works.
    """
    sockets = iter(range(mixture.sockets))
    requests = kinds(mixture.requests)
    workers = [_each(sockets, lambda number: _websocket(port, number)) for _ in range(_AT_ONCE)]
    workers += [_each(requests, lambda kind: _requests(port, kind)) for _ in range(_AT_ONCE)]
    try:
        async with asyncio.timeout(_PATIENCE), asyncio.TaskGroup() as group:
            for worker in workers:
                group.create_task(worker)
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from failed


def kinds(requests: int) -> Iterator[str]:
    """Yield what each connection is for, until `requests` requests are told."""
    number = 0
    while requests > 0:
        kind = {0: "dead", 1: "unknown", 2: "leaves"}.get(number % 20, "live")
        number += 1
        requests -= PER_CONNECTION if kind == "live" else 1
        yield kind


async def _each(things: Iterator[T], work: Callable[[T], Awaitable[None]]) -> None:
    for thing in things:
        await work(thing)


async def _requests(port: int, kind: str) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        if kind == "live":
            for number in range(PER_CONNECTION):
                await _live(reader, writer, _BODY if number == 0 else b"")
        elif kind == "leaves":
            writer.write(_head("GET", f"{LIVE}/x"))
        else:
            path, status = {"dead": (DEAD, 503), "unknown": (UNKNOWN, 404)}[kind]
            writer.write(_head("GET", f"{path}/x"))
            _expect(await reader.readuntil(b"\r\n\r\n"), status)
    finally:
        writer.transport.abort()


async def _live(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: bytes) -> None:
    head = _head("POST", f"{LIVE}/x", f"Content-Length: {len(body)}\r\n") if body else b""
    writer.write((head or _head("GET", f"{LIVE}/x")) + body)
    answer = await reader.readuntil(b"\r\n\r\n")
    _expect(answer, 200)
    length = _LENGTH.search(answer)
    if length is None:
        raise WrongAnswer(f"no length: {answer[:200]!r}")
    await reader.readexactly(int(length[1]))


async def _websocket(port: int, number: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(_head("GET", f"{LIVE}/ws", _HANDSHAKE))
        _expect(await reader.readuntil(b"\r\n\r\n"), 101)
        writer.write(client_frame(_FRAME_BYTES))
        await reader.readexactly(server_frame_bytes(_FRAME_BYTES))
        if number % 2:
            writer.close()
            await writer.wait_closed()
    finally:
        writer.transport.abort()


def _head(method: str, path: str, more: str = "") -> bytes:
    return f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{more}\r\n".encode()


def _expect(answer: bytes, status: int) -> None:
    if not answer.startswith(b"HTTP/1.1 %d " % status):
        raise WrongAnswer(f"not a {status}: {answer[:200]!r}")
