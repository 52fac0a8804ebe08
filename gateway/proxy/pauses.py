"""A connection that is not read from: why, and whether its peer is still there.

Made with the first pause; one that is never paused pays nothing for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from gateway.proxy.deadline import Deadline
from gateway.proxy.sockets import has_left, is_broken

_LOOK_SECONDS: Final = 1.0

# Why a connection is not read from; a sum of these.
FOR_OTHER: Final = 1  # the other end has not taken what we have
AHEAD: Final = 2  # enough requests are waiting


class Pauses:
    """The pauses in reading from one peer.

    Args:
        transport: the connection.
        left: called when the peer went away in a pause: no EOF tells of it then.
        half_open: whether it may end its direction and stay.
    """

    __slots__ = ("_half_open", "_left", "_transport", "_watch", "_why")

    def __init__(
        self, transport: asyncio.Transport, left: Callable[[], None], *, half_open: bool = False
    ) -> None:
        self._transport = transport
        self._left = left
        self._half_open = half_open
        self._watch = Deadline(asyncio.get_running_loop(), self._look)
        self._why = 0

    def begin(self, why: int) -> None:
        """Stop reading, if it is not stopped yet, for one more reason."""
        if not self._why:
            self._transport.pause_reading()
            self._watch.set(_LOOK_SECONDS)
        self._why |= why

    def end(self, why: int) -> None:
        """Read again if there is no other reason than `why` to stop."""
        if not self._why:
            return
        self._why &= ~why
        if not self._why:
            self._watch.at = None
            self._transport.resume_reading()

    def close(self) -> None:
        """Look for the client no more."""
        self._watch.close()

    def _look(self) -> None:
        if is_broken(self._transport) if self._half_open else has_left(self._transport):
            self._left()
        else:
            self._watch.set(_LOOK_SECONDS)
