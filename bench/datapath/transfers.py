"""Large bodies, both ways: blocking sockets, so that the generator costs next to nothing."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Callable, Mapping

_CHUNK_BYTES = 1 << 20
_READ_BYTES = 1 << 18
_HEAD_BYTES = 1 << 16
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]+)", re.IGNORECASE)


def download(port: int, head: str, connections: int, seconds: float) -> Mapping[str, float]:
    """Fetch a file again and again on each connection; return bytes of bodies and seconds."""
    request = head.encode()

    def once(sock: socket.socket, buffer: bytearray) -> int:
        sock.sendall(request)
        return receive(sock, buffer)

    return _at_once(port, connections, seconds, once)


def upload(
    port: int, head: str, size: int, connections: int, seconds: float
) -> Mapping[str, float]:
    """Send a body of `size` bytes again and again; return bytes of bodies and seconds.

    `head` is a whole head with the body's Content-Length.
    """
    request = head.encode()

    def once(sock: socket.socket, buffer: bytearray) -> int:
        block = memoryview(buffer)
        sock.sendall(request)
        for start in range(0, size, len(block)):
            sock.sendall(block[: size - start])
        receive(sock, bytearray(_HEAD_BYTES))
        return size

    return _at_once(port, connections, seconds, once)


def receive(sock: socket.socket, buffer: bytearray) -> int:
    """Read one answer into `buffer`, over and over; return the length of its body.

    Raises:
        ConnectionError: it is not a whole 200 with a Content-Length.
    """
    got, room = b"", memoryview(buffer)[:_READ_BYTES]
    while b"\r\n\r\n" not in got:
        data = sock.recv(_HEAD_BYTES)
        if not data or len(got) > _HEAD_BYTES:
            raise ConnectionError(f"no whole answer: {got[:200]!r}")
        got += data
    head, _, body = got.partition(b"\r\n\r\n")
    length = _LENGTH.search(head)
    if not head.startswith(b"HTTP/1.1 200 ") or length is None:
        raise ConnectionError(f"not a 200 with a length: {head[:200]!r}")
    size, left = int(length[1]), int(length[1]) - len(body)
    while left > 0:
        count = sock.recv_into(room, min(left, len(room)))
        if not count:
            raise ConnectionError(f"ended with {left} bytes missing")
        left -= count
    return size


def _at_once(
    port: int,
    connections: int,
    seconds: float,
    once: Callable[[socket.socket, bytearray], int],
) -> Mapping[str, float]:
    totals: list[int] = []
    began = time.perf_counter()

    def work() -> None:
        total, buffer = 0, bytearray(_CHUNK_BYTES)
        with socket.create_connection(("127.0.0.1", port), 60) as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while time.perf_counter() - began < seconds:
                total += once(sock, buffer)
        totals.append(total)

    threads = [threading.Thread(target=work) for _ in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if len(totals) < connections:
        raise ConnectionError("a transfer failed")
    return {"bytes": sum(totals), "seconds": time.perf_counter() - began}
