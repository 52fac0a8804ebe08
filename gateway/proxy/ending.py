"""How a client's connection ends: the last answer arrives whole, and then the end comes soon.

A client may read as slowly as it likes; one that takes nothing for long is cut off.
An `Ending` is made when a connection ends; one that lives pays nothing for it. Requests are not
known here.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

from gateway.proxy.context import Context
from gateway.proxy.deadline import Deadline
from gateway.proxy.sockets import readable, unsent

_DRAINING_LINGER_SECONDS: Final = 1.0
_QUIET_LOOKS: Final = 5


def may_say_more(context: Context, transport: asyncio.Transport) -> bool:
    """Whether closing at once could meet bytes of the client, and so end in a reset.

    Where one direction can be closed alone, waiting for the client's end costs next to
    nothing. TLS closes both at once: there a client that has announced its end is believed
    unless something has come, and one that is cut off by our stop is not.
    """
    return transport.can_write_eof() or context.draining or readable(transport)


class Ending:
    """The end of one client's connection.

    Args:
        context: what connections share.
        transport: the connection.
        deadline: the connection's; its owner calls `deadline_passed` and frees it.
    """

    __slots__ = (
        "_context",
        "_deadline",
        "_heard",
        "_lingers",
        "_looks",
        "_taken_at",
        "_transport",
        "_unsent",
    )

    def __init__(self, context: Context, transport: asyncio.Transport, deadline: Deadline) -> None:
        self._context = context
        self._transport = transport
        self._deadline = deadline
        self._heard = False  # something that is dropped
        self._lingers = False  # our direction is closed, the client's is not
        self._looks = 0  # so often yet, at most, is quiet waited for
        self._unsent = 0  # when it was looked last, and since when it is so much
        self._taken_at = 0.0

    def hear(self) -> None:
        """Drop what the client says though all is said."""
        self._heard = True

    def linger(self) -> None:
        """Close without a reset that could overtake the answer (RFC 9112, 9.6)."""
        if not self._transport.can_write_eof():
            self._looks = _QUIET_LOOKS
            self._deadline.set(self._context.limits.quiet_timeout)
            return
        self._lingers = True
        if not self._transport.is_closing():
            # A client that is gone resets it when the answer comes; the loop tells of it later.
            with contextlib.suppress(OSError):
                self._transport.write_eof()
        self._deadline.set(self._linger_seconds())

    def close(self) -> None:
        """Close when everything is sent."""
        self._lingers, self._looks = False, 0
        self._transport.close()
        self._deadline.set(self._context.limits.flush_interval)

    def left(self) -> None:
        """The client's end has come: the transport closes itself when everything is sent."""
        self._lingers, self._looks = False, 0
        self._deadline.set(self._context.limits.flush_interval)

    def drain(self) -> None:
        """Wait for the client's end no longer than a stop allows."""
        if self._lingers:
            self._deadline.set(self._linger_seconds())

    def deadline_passed(self) -> None:
        """Go on with the end."""
        if self._looks:
            self._look_for_quiet()
        else:
            self._look()

    def _look_for_quiet(self) -> None:
        """Close TLS when nothing came for a while: what came behind our end would reset it."""
        self._looks -= 1
        if self._heard and self._looks:
            self._heard = False
            self._deadline.set(self._context.limits.quiet_timeout)
        else:
            self.close()

    def _look(self) -> None:
        """Close at once what is taken, or what nothing has been taken of for long."""
        limits, now = self._context.limits, asyncio.get_running_loop().time()
        before, self._unsent = self._unsent, unsent(self._transport)
        if self._unsent != before:
            self._taken_at = now
        if self._unsent and now - self._taken_at < limits.stall_timeout:
            self._deadline.set(limits.flush_interval)
        elif before and not self._unsent and self._lingers:
            self._deadline.set(self._linger_seconds())  # from now on it can know that it is over
        else:
            self._transport.abort()

    def _linger_seconds(self) -> float:
        if self._transport.get_write_buffer_size():
            return self._context.limits.flush_interval
        if self._context.draining:
            return _DRAINING_LINGER_SECONDS
        return self._context.limits.linger_timeout
