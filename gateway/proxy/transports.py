"""Transports of clients that need more than the event loop's: over TLS, and with an access log.

A plain connection without an access log is used as the loop made it, at no cost.
"""

from __future__ import annotations

import asyncio
from typing import Any


class Wrapped(asyncio.Transport):
    """A transport that hands everything on."""

    __slots__ = ("_inner",)

    def __init__(self, inner: asyncio.Transport) -> None:
        super().__init__()
        self._inner = inner

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return what is known of the connection."""
        return self._inner.get_extra_info(name, default)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Let `protocol` be told from now on."""
        self._inner.set_protocol(protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Return who is told."""
        return self._inner.get_protocol()

    def is_closing(self) -> bool:
        """Whether it is closed, or about to be."""
        return self._inner.is_closing()

    def close(self) -> None:
        """Close when everything is sent."""
        self._inner.close()

    def abort(self) -> None:
        """Close at once; what is not sent is dropped."""
        self._inner.abort()

    def is_reading(self) -> bool:
        """Whether it is read from."""
        return self._inner.is_reading()

    def pause_reading(self) -> None:
        """Stop reading."""
        self._inner.pause_reading()

    def resume_reading(self) -> None:
        """Read on."""
        self._inner.resume_reading()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set when writing is paused and resumed, in bytes."""
        self._inner.set_write_buffer_limits(high, low)

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Return the bytes below which writing is resumed, and above which it is paused."""
        return self._inner.get_write_buffer_limits()

    def get_write_buffer_size(self) -> int:
        """Return the bytes that wait to be sent."""
        return self._inner.get_write_buffer_size()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send `data`."""
        self._inner.write(data)

    def writelines(self, list_of_data: Any) -> None:
        """Write all of them at once."""
        self.write(b"".join(list_of_data))

    def write_eof(self) -> None:
        """End this direction when everything is sent."""
        self._inner.write_eof()

    def can_write_eof(self) -> bool:
        """Whether one direction can be ended alone."""
        return self._inner.can_write_eof()


class OverTls(Wrapped):
    """A TLS transport that may be closed twice.

    asyncio's forgets its connection when it is closed a second time, or after it was lost: then
    nothing works any more, `abort` included, and it stays open.
    """

    __slots__ = ()

    def close(self) -> None:
        """Close once."""
        if not self._inner.is_closing():
            self._inner.close()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Write, or drop what comes after closing."""
        if not self._inner.is_closing():
            self._inner.write(data)


class Counted(Wrapped):
    """A transport that counts.

    Attributes:
        sent: bytes that were written so far.
    """

    __slots__ = ("sent",)

    def __init__(self, inner: asyncio.Transport) -> None:
        super().__init__(inner)
        self.sent = 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Write and count."""
        self.sent += len(data)
        self._inner.write(data)


def adapted(transport: asyncio.Transport, *, counted: bool) -> asyncio.Transport:
    """Return what a client's connection is to be used through; a Counted if it shall count."""
    if transport.get_extra_info("sslcontext"):
        transport = OverTls(transport)
    return Counted(transport) if counted else transport
