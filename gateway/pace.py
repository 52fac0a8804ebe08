"""One piece of an API's work now and then, on the event loop that it shares with the data path.

Of a hundred calls that come at once each would be read, parsed and begun in the same turn, and a
proxied request would wait for all of them. So what comes on an API's connections is handed over
one read at a time, in the order of its coming, and then some turns of the loop are left to others:
a request that comes between two reads is answered as if there were none.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import cast

from aiohttp import web

TURNS, SECONDS = 8, 0.002
"""What is left to others between two reads: so many turns, and no longer than that."""


class PacedAppRunner(web.AppRunner):
    """An AppRunner whose listeners are paced."""

    @property
    def server(self) -> web.Server | None:
        """What a site gives to the event loop to make protocols with."""
        return _paced(super().server)


class PacedServerRunner(web.ServerRunner):
    """A ServerRunner whose listeners are paced."""

    @property
    def server(self) -> web.Server | None:
        """What a site gives to the event loop to make protocols with."""
        return _paced(super().server)


def _paced(server: web.Server | None) -> web.Server | None:
    if server is None:
        return None
    pace = Pace(asyncio.get_running_loop().call_soon)
    # Sites do nothing with it but have the loop call it.
    return cast("web.Server", lambda: Paced(pace, server()))


class Pace:
    """Gives turns to all connections of a listener.

    A turn in which nothing is to be done takes some microseconds, a busy one a millisecond.

    Args:
        call_soon: calls what it is given in the next turn; the event loop's.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        call_soon: Callable[[Callable[[], None]], object],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._call_soon = call_soon
        self._clock = clock
        self._waiting: deque[Paced] = deque()
        self._others, self._until = 0, 0.0  # how many turns are others', and until when
        self._turning = False

    def await_turn(self, connection: Paced) -> None:
        """Call `connection.deliver` when those that asked before have had their turns."""
        self._waiting.append(connection)
        if not self._turning:
            self._turning = True
            self._call_soon(self._turn)

    def _turn(self) -> None:
        if not (self._others or self._waiting):
            self._turning = False
            return
        self._call_soon(self._turn)
        if self._others:
            self._others = self._others - 1 if self._clock() < self._until else 0
        else:
            self._others = TURNS
            self._waiting.popleft().deliver()
            self._until = self._clock() + SECONDS


class Paced(asyncio.Protocol):
    """A connection: the transport's protocol, before the one that does the work.

    Args:
        pace: gives turns.
        inner: does the work.
    """

    def __init__(self, pace: Pace, inner: asyncio.Protocol) -> None:
        self._pace = pace
        self._inner = inner
        self._received: list[bytes] = []
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The client has connected."""
        self._transport = cast("asyncio.Transport", transport)
        self._inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Keep it until it is our turn; nothing more is read meanwhile."""
        self._received.append(data)
        if len(self._received) == 1:
            assert self._transport is not None
            self._transport.pause_reading()
            self._pace.await_turn(self)

    def deliver(self) -> None:
        """Hand over what came."""
        data = b"".join(self._received)
        self._received.clear()
        if not data:
            return
        if self._transport is not None:
            self._transport.resume_reading()  # first: the inner protocol may pause it again
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        """The client sends no more."""
        self.deliver()
        return self._inner.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is closed; what came before is handed over."""
        self._transport = None
        self.deliver()
        self._inner.connection_lost(exc)

    def pause_writing(self) -> None:
        """The client reads too slowly."""
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """The client has caught up."""
        self._inner.resume_writing()
