"""Answers of the engine that go on: its events, the progress of a pull.

docker-py reads them by blocking, for hours perhaps, so each has a thread of its own, which ends
with the stream. What the lines mean is for others to know.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
from collections.abc import Callable
from typing import Any

import docker.errors
import requests
import urllib3.exceptions

from gateway.errors import EngineUnavailable

Json = dict[str, Any]

_JOIN_DEADLINE = 5.0
_IDLE_BEFORE_PROBES = 30
_BETWEEN_PROBES = 10
_PROBES = 3


class JsonStream:
    """The JSON lines of one answer; an asynchronous iterator, which ends where the answer does."""

    def __init__(self, ask: Callable[[], requests.Response], address: str, name: str) -> None:
        """Remember what to ask; `open` asks.

        Args:
            ask: sends the request and returns the answer, not read yet; blocks, within bounds.
            address: the engine's, for errors.
            name: the thread's.
        """
        self._ask = ask
        self._address = address
        self._loop = asyncio.get_running_loop()
        self._answered: asyncio.Future[None] = self._loop.create_future()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._lines: asyncio.Queue[Json | Exception | None] = asyncio.Queue()
        self._connection: socket.socket | None = None
        self._guard = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    async def open(self, deadline: float) -> None:
        """Ask, and return when the engine has begun to answer.

        Raises:
            docker.errors.APIError: the engine refused.
            EngineUnavailable: it does not answer within `deadline` seconds.
        """
        self._thread.start()
        try:
            async with asyncio.timeout(deadline):
                await self._answered
        except TimeoutError as error:
            raise EngineUnavailable(self._address) from error

    async def close(self) -> None:
        """End the stream and its thread; whoever waits for a line is told that it ended."""
        with self._guard:
            self._closed = True
            if self._connection is not None:
                with contextlib.suppress(OSError):
                    self._connection.shutdown(socket.SHUT_RDWR)
            reading = self._connection is not None
        if reading:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_JOIN_DEADLINE):
                    await asyncio.shield(self._ended)
                    self._thread.join()  # it has said its last word

    def __aiter__(self) -> JsonStream:
        return self

    async def __anext__(self) -> Json:
        line = await self._lines.get()
        if isinstance(line, dict):
            return line
        self._lines.put_nowait(line)  # for the next who asks
        if line is None:
            raise StopAsyncIteration
        raise EngineUnavailable(self._address) from line

    def _run(self) -> None:
        """Read the answer; in the thread."""
        trouble: Exception | None = None
        try:
            with contextlib.closing(self._ask()) as answer:
                self._read(answer)
        except (
            docker.errors.DockerException,
            requests.exceptions.RequestException,
            urllib3.exceptions.HTTPError,
            OSError,
            ValueError,
        ) as error:
            trouble = error
        self._tell(self._end, trouble)

    def _read(self, answer: requests.Response) -> None:
        with self._guard:
            if self._closed:
                return
            self._connection = connection_of(answer)
            self._connection.settimeout(None)  # it may be silent for hours and be fine
            keep_alive(self._connection)
        self._tell(self._begin)
        # As they come, in whatever pieces: nothing waits for a buffer to be full.
        for line in answer.iter_lines(chunk_size=None):
            if line:
                self._tell(self._lines.put_nowait, json.loads(line))

    def _tell(self, report: Callable[..., None], *what: object) -> None:
        with contextlib.suppress(RuntimeError):  # the event loop is closed
            self._loop.call_soon_threadsafe(report, *what)

    def _begin(self) -> None:
        if not self._answered.done():
            self._answered.set_result(None)

    def _end(self, trouble: Exception | None) -> None:
        if not self._answered.done():
            refused = isinstance(trouble, docker.errors.APIError)
            error = trouble if refused else EngineUnavailable(self._address)
            self._answered.set_exception(error or EngineUnavailable(self._address))
            self._answered.exception()  # nobody may be waiting any more
        self._lines.put_nowait(trouble)
        if not self._ended.done():
            self._ended.set_result(None)


def connection_of(answer: requests.Response) -> socket.socket:
    """Return the socket that an answer is read from.

    Raises:
        ValueError: it has none, as over SSH.
    """
    connection = getattr(getattr(answer.raw, "connection", None), "sock", None)
    if not isinstance(connection, socket.socket):
        raise ValueError("the engine's answer cannot be read in parts")
    return connection


def keep_alive(connection: socket.socket) -> None:
    """Have the kernel notice within a minute that the other machine is gone (tcp(7))."""
    if connection.family == socket.AF_UNIX:
        return  # the kernel knows at once
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _IDLE_BEFORE_PROBES)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _BETWEEN_PROBES)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _PROBES)
