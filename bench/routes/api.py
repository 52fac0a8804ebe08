"""A client of the REST API that costs little itself: one connection, one call at a time."""

from __future__ import annotations

import json
import re
import socket
import time
from dataclasses import dataclass

_PATIENCE = 120.0
_READ_BYTES = 1 << 20
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:[ \t]*chunked", re.IGNORECASE)
_LAST_CHUNK = b"0\r\n\r\n"


class Unexpected(Exception):
    """A proxy does not do what is to be measured; the text says what it did."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back.

    Attributes:
        status: of the answer.
        body: without its chunks' lengths.
        seconds: from sending the request to the last byte.
    """

    status: int
    body: bytes
    seconds: float


class Incoming:
    """An answer that is being received. JSON has no line ends, so the last chunk shows."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._head = b""
        self._begin = 0
        self._length: int | None = None

    def feed(self, data: bytes) -> bool:
        """Take bytes; return whether the answer is whole."""
        self._data += data
        if not self._head and not self._has_head():
            return False
        size = len(self._data) - self._begin
        if self._length is not None:
            return size >= self._length
        wanted = _LAST_CHUNK if size == len(_LAST_CHUNK) else b"\r\n" + _LAST_CHUNK
        return self._data.endswith(wanted, self._begin)

    def answer(self, seconds: float) -> Answer:
        """Return what was received."""
        body = bytes(self._data[self._begin :])
        if self._length is None:
            body = _joined(body)
        return Answer(int(self._head.split(b" ")[1]), body, seconds)

    def _has_head(self) -> bool:
        end = self._data.find(b"\r\n\r\n")
        if end < 0:
            return False
        self._head, self._begin = bytes(self._data[:end]), end + 4
        length = _LENGTH.search(self._head)
        if length is not None:
            self._length = int(length[1])
        elif not _CHUNKED.search(self._head):
            self._length = 0
        return True


def _joined(chunks: bytes) -> bytes:
    parts: list[bytes] = []
    place = 0
    while True:
        end = chunks.index(b"\r\n", place)
        size = int(chunks[place:end], 16)
        if not size:
            return b"".join(parts)
        parts.append(chunks[end + 2 : end + 2 + size])
        place = end + 2 + size + 2


class Api:
    """A connection to a proxy's API on this machine."""

    def __init__(self, port: int, token: str) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), _PATIENCE)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._fixed = f"Host: 127.0.0.1:{port}\r\nAuthorization: token {token}\r\n"

    def close(self) -> None:
        """Close it."""
        self._socket.close()

    def call(self, method: str, path: str, data: object = None) -> Answer:
        """Call the API; `path` comes behind /api/routes, `data` is sent as JSON unless None.

        Raises:
            ConnectionError: the connection ended before the answer did.
        """
        body = b"" if data is None else json.dumps(data).encode()
        kind = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n" if body else ""
        request = f"{method} /api/routes{path} HTTP/1.1\r\n{self._fixed}{kind}\r\n".encode() + body
        incoming = Incoming()
        began = time.perf_counter()
        self._socket.sendall(request)
        while not incoming.feed(self._received()):
            pass
        return incoming.answer(time.perf_counter() - began)

    def expect(self, status: int, method: str, path: str, data: object = None) -> Answer:
        """Call the API and return the answer. Raises Unexpected for another status."""
        answer = self.call(method, path, data)
        if answer.status != status:
            raise Unexpected(f"{method} {path}: {answer.status} {answer.body[:200]!r}")
        return answer

    def _received(self) -> bytes:
        data = self._socket.recv(_READ_BYTES)
        if not data:
            raise ConnectionError("the API closed the connection")
        return data
