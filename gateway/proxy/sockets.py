"""What the event loop does not offer, done on the descriptor below a transport."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import select
import socket
import struct
import sys
import termios
from collections.abc import Iterator

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_BLOCK = 64 * 1024


def _descriptor(transport: asyncio.BaseTransport) -> int:
    """Return the descriptor; -1 when it is closed (asyncio and uvloop both tell)."""
    sock = transport.get_extra_info("socket")
    return -1 if sock is None else int(sock.fileno())


def reset_on_close(transport: asyncio.BaseTransport) -> None:
    """Let closing send RST in place of FIN (`SO_LINGER` of 0 seconds, socket(7))."""
    descriptor = _descriptor(transport)
    if descriptor >= 0:
        with socket.socket(fileno=os.dup(descriptor)) as same:
            same.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)


def has_left(transport: asyncio.BaseTransport) -> bool:
    """Whether the peer has ended its direction, or the connection, be it behind unread bytes.

    For a connection that is not read from: the loop would tell otherwise. While the kernel's
    buffer is full, a peer's end cannot arrive, a reset can (`POLLRDHUP`, poll(2); Linux).
    """
    return bool(_polled(transport, select.POLLRDHUP))


def is_broken(transport: asyncio.BaseTransport) -> bool:
    """Whether the connection was reset: not one of which one direction or both have ended."""
    return bool(_polled(transport, 0) & select.POLLERR)


def unsent(transport: asyncio.WriteTransport) -> int:
    """Return how many bytes the peer has not taken: ours, and the kernel's (SIOCOUTQ, tcp(7)).

    Over TLS the loop does not count what waits below it; it waits there while the kernel's does.
    """
    descriptor = _descriptor(transport)
    if descriptor < 0:
        return 0
    told = fcntl.ioctl(descriptor, termios.TIOCOUTQ, bytes(4))
    return transport.get_write_buffer_size() + int.from_bytes(told, sys.byteorder)


def readable(transport: asyncio.BaseTransport) -> bool:
    """Whether there is something to read that the loop has not read yet, or the peer's end."""
    return bool(_polled(transport, select.POLLIN))


def _polled(transport: asyncio.BaseTransport, event: int) -> int:
    """Return which of `event`, POLLERR and POLLHUP are there; 0 when the descriptor is closed."""
    descriptor = _descriptor(transport)
    if descriptor < 0:
        return 0
    poll = select.poll()
    poll.register(descriptor, event)
    return sum(events for _, events in poll.poll(0))


def unread(transport: asyncio.BaseTransport) -> Iterator[bytes]:
    """Yield what the kernel holds of a connection that the loop has given up reading.

    To be used in connection_lost, where the descriptor is still open. The end of it tells
    nothing: after a reset was reported, reading ends as after a FIN.
    """
    # Below TLS there is ciphertext; upstreams are plain, so nothing is missed.
    encrypted = transport.get_extra_info("sslcontext") is not None
    descriptor = -1 if encrypted else _descriptor(transport)
    with contextlib.suppress(OSError):
        while descriptor >= 0 and (data := os.read(descriptor, _BLOCK)):
            yield data
