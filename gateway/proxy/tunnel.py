"""What a connection is after a 101: bytes both ways, with backpressure and half-close.

WebSocket frames are not parsed; only the first byte of what a client sends is looked at, to tell
a person's traffic from a ping. There is no idle cut. A tunnel that is half closed lives while bytes
move, and longer while the client has some to take.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final, cast

from gateway.proxy.accesslog import Entry
from gateway.proxy.activity import only_control_frames
from gateway.proxy.context import Context
from gateway.proxy.interface import Activity, Hold, Relay
from gateway.proxy.pauses import FOR_OTHER, Pauses
from gateway.proxy.sockets import unsent

# RFC 6455, 5.5.1 and 7.4.1: a close frame with code 1001, going away; masked from a client.
_GOING_AWAY: Final = b"\x88\x02\x03\xe9"
_GOING_AWAY_MASKED: Final = b"\x88\x82\x00\x00\x00\x00\x03\xe9"


class Tunnel:
    """Two connections that are one.

    Args:
        context: shared.
        client: the client's transport.
        upstream: the upstream's transport.
        activity: the notebook's; None when it is not a notebook's.
        entry: what to tell the access log when it ends; None when there is none.

    Attributes:
        admitted: by what it was let through; None for what nobody asks for.
        moved: whether a byte has come since it was last looked at.
    """

    def __init__(
        self,
        context: Context,
        client: asyncio.Transport,
        upstream: asyncio.Transport,
        activity: Activity | None,
        entry: Entry | None = None,
    ) -> None:
        self._context = context
        self._entry = entry
        self._activity = activity
        self._giving_up: asyncio.TimerHandle | None = None
        self._leaving = False  # it was told to go away
        self._untaken = 0, 0  # by client and upstream, when it was last looked at
        self._moved_at = 0.0
        self._lost = 0
        self.moved = False
        self.admitted: Relay | Hold | None = None
        self._client = _Side(self, client, of_client=True)
        self._upstream = _Side(self, upstream, of_client=False)
        self._client.other, self._upstream.other = self._upstream, self._client

    def start(self, *, from_client: bytes, from_upstream: bytes) -> None:
        """Take the transports over and pass on what was read too early."""
        self._context.tunnels.add(self)
        self._context.observer.websocket_opened()
        if self._activity is not None:
            self._activity.websockets += 1
        sides = (self._client, self._upstream)
        for side in sides:
            side.transport.set_protocol(cast("asyncio.Protocol", side))
            side.transport.resume_reading()
        for side in sides:
            if side.congested():
                side.pause_writing()
        if from_upstream:
            self._upstream.data_received(from_upstream)
        if from_client:
            self._client.data_received(from_client)

    def go_away(self) -> None:
        """Close with 1001, best effort: in the middle of a frame the peer sees a broken one."""
        self._leaving = True
        self._client.finish(_GOING_AWAY)
        self._upstream.finish(_GOING_AWAY_MASKED)
        self.watch()

    def abort(self) -> None:
        """Close at once what is not closed yet."""
        for side in (self._client, self._upstream):
            if not side.lost:  # asyncio's transports may fail when they are aborted behind that
                side.transport.abort()

    def person_sent(self) -> None:
        """Note a sign of a person."""
        if self._activity is not None:
            self._activity.last = self._context.clock()

    def half_closed(self) -> bool:
        """One side has ended its direction; return whether both have. The other may talk on."""
        self.watch()
        return self._client.at_eof and self._upstream.at_eof

    def lost_one(self) -> None:
        """Note that one of the connections is lost: the other has what it is owed, and closes."""
        self._lost += 1
        if self._lost > 1:
            if self._entry is not None:
                self._entry.end(101)
            self._context.ended(self)
            if self._giving_up is not None:
                self._giving_up.cancel()
            return
        self.watch()
        if self._activity is not None:
            self._activity.websockets -= 1
        self._context.observer.websocket_closed()

    def watch(self) -> None:
        """Look from now on whether anything moves."""
        self.moved, self._untaken = False, self._waiting()
        self._moved_at = asyncio.get_running_loop().time()
        self._look_later()

    def _look_later(self) -> None:
        if self._giving_up is not None:
            self._giving_up.cancel()
        seconds = self._context.limits.half_open_timeout
        self._giving_up = asyncio.get_running_loop().call_later(seconds, self._look)

    def _look(self) -> None:
        """Close at once where nothing moves any more. What a client has to take waits longer."""
        still = asyncio.get_running_loop().time() - self._moved_at
        to_client, _ = waiting = self._waiting()
        if self._leaving:
            self.abort()
        elif self.moved or waiting != self._untaken:
            self.watch()
        elif to_client and still < self._context.limits.stall_timeout:
            self._look_later()
        else:
            self.abort()

    def _waiting(self) -> tuple[int, int]:
        """Return how many bytes client and upstream have not taken."""
        return self._client.untaken(), self._upstream.untaken()


class _Side:
    """One end of the tunnel: an asyncio.Protocol by its methods.

    Attributes:
        transport: its connection.
        other: the end that its bytes go to.
        at_eof: whether it has sent all it had.
        lost: whether its connection is closed.
    """

    __slots__ = ("_of_client", "_pauses", "_tunnel", "at_eof", "lost", "other", "transport")

    other: _Side

    def __init__(self, tunnel: Tunnel, transport: asyncio.Transport, *, of_client: bool) -> None:
        self._tunnel = tunnel
        self._of_client = of_client
        self._pauses: Pauses | None = None
        self.transport = transport
        self.at_eof = False
        self.lost = False

    def congested(self) -> bool:
        """Whether more waits to be sent than should: then pause_writing was told to nobody."""
        high = self.transport.get_write_buffer_limits()[1]
        return self.transport.get_write_buffer_size() > high

    def untaken(self) -> int:
        """Return how many bytes it has not taken."""
        return 0 if self.lost else unsent(self.transport)

    def finish(self, last: bytes) -> None:
        """Send `last` behind what waits, and close."""
        if not self.other.at_eof and not self.transport.is_closing():
            self.transport.write(last)
        self.transport.close()

    def data_received(self, data: bytes) -> None:
        """See asyncio."""
        tunnel = self._tunnel
        tunnel.moved = True
        if self._of_client and not only_control_frames(data):
            tunnel.person_sent()
        self.other.transport.write(data)

    def eof_received(self) -> bool:
        """See asyncio; returns whether this side stays open for writing."""
        self.at_eof = True
        onward = self.other.transport
        # TLS cannot be closed in one direction (asyncio: can_write_eof), on either side.
        both = onward.can_write_eof() and self.transport.can_write_eof()
        if self._tunnel.half_closed() or not both:
            onward.close()
            return False
        if not onward.is_closing():
            with contextlib.suppress(OSError):  # it was reset, of which it is told later
                onward.write_eof()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio."""
        self.lost = True
        if self._pauses is not None:
            self._pauses.close()
        self.other.transport.close()
        self._tunnel.lost_one()

    def pause_writing(self) -> None:
        """See asyncio."""
        self.other.pause()

    def resume_writing(self) -> None:
        """See asyncio."""
        if not self.other.transport.is_closing():
            self.other.resume()

    def pause(self) -> None:
        """Stop reading. That it was cut off, or has ended, is noticed all the same.

        An upstream is not closed for that: what it has said before is still owed to the client.
        """
        if self._pauses is None:
            gone = self.transport.abort if self._of_client else self._tunnel.watch
            self._pauses = Pauses(self.transport, gone, half_open=self._of_client)
        self._pauses.begin(FOR_OTHER)

    def resume(self) -> None:
        """Read on."""
        if self._pauses is None:
            self.transport.resume_reading()
        else:
            self._pauses.end(FOR_OTHER)
