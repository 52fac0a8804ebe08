"""One upstream connection: reads responses, and nothing that is not asked for.

It parses the response heads, tracks the response body and hands both to the exchange it is lent
to. Decisions (retry, what the client is told) are exchange.py's; keeping is pool.py's.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Protocol, cast

from gateway.proxy.framing import BadFraming, Body, Truncated
from gateway.proxy.head import HEAD_END, BadHead, check_partial
from gateway.proxy.messages import COUNTED, ResponseHead
from gateway.proxy.repeated import ResponseReader
from gateway.proxy.sockets import unread
from gateway.proxy.transports import adapted

if TYPE_CHECKING:
    from gateway.proxy.exchange import Exchange

_HEAD_LIMIT: Final = 256 * 1024
# Interim answers to one request. Each is little work, but a connection may bring ten thousand at
# once, and nobody else has a turn meanwhile.
_MOST_INTERIM: Final = 1000


class Home(Protocol):
    """Where a connection goes when its request is done (pool.Slot)."""

    def opened(self, upstream: Upstream) -> None:
        """Note that a connection is open; it is lent."""
        ...

    def give_back(self, upstream: Upstream) -> None:
        """Take a connection that can carry another request."""
        ...

    def lost(self, upstream: Upstream) -> None:
        """Note that a connection is closed, or was taken for a tunnel."""
        ...


class Upstream:
    """A connection to an upstream: an asyncio.Protocol by its methods.

    Attributes:
        free: whether it waits in the pool; kept by the pool.
        idle_since: clock time when it became free; kept by the pool.
        reused: whether it has carried a request before the present one.
        closing: tells whether it is closed or about to be.
        heard: whether any byte of an answer to the present request came.
    """

    __slots__ = (
        "_body",
        "_buffer",
        "_exchange",
        "_gone",
        "_heads",
        "_home",
        "_interim",
        "_keep_alive",
        "_method",
        "_paused",
        "_transport",
        "closing",
        "free",
        "heard",
        "idle_since",
        "reused",
    )

    def __init__(self, home: Home, heads: ResponseReader) -> None:
        self._home = home
        self._heads = heads
        self._exchange: Exchange | None = None
        self._body: Body | None = None
        self._buffer = b""
        self._method = b""
        self._interim = 0
        self._keep_alive = False
        self._gone = False
        self._paused = False
        self.free = False
        self.heard = False
        self.reused = False
        self.idle_since = 0.0

    # -- for the exchange

    def begin(self, exchange: Exchange, method: bytes, head: bytes) -> None:
        """Send a request's head; what comes is told to `exchange` from now on."""
        self._exchange = exchange
        self._method = method
        self._body = None
        self._buffer = b""
        self._interim = 0
        self.heard = False
        self._transport.write(head)

    def write(self, data: bytes) -> None:
        """Send bytes of the request's body."""
        self._transport.write(data)

    def pause_reading(self) -> None:
        """Stop reading: the client is slower than the upstream."""
        self._paused = True
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read on."""
        self._paused = False
        self._transport.resume_reading()

    def abandon(self) -> None:
        """Leave the exchange in the middle of it; the connection cannot be used again."""
        self._exchange = None
        self.abort()

    def release_for_tunnel(self) -> asyncio.Transport:
        """Leave pool and exchange; the connection belongs to the caller."""
        self._exchange = None
        self._leave()
        return self._transport

    # -- for the pool

    def close(self) -> None:
        """Close a free connection."""
        self._leave()
        self._transport.close()

    def abort(self) -> None:
        """Close at once, lent or not."""
        self._transport.abort()

    # -- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio."""
        self._transport = adapted(cast("asyncio.Transport", transport), counted=False)
        self.closing = self._transport.is_closing
        self._home.opened(self)

    def data_received(self, data: bytes) -> None:
        """See asyncio."""
        if self._exchange is None:
            # Bytes that nobody asked for: the next answer would be off by them.
            self.abort()
            return
        self.heard = True
        if self._body is not None:
            self._relay(b"", data, self._body)
        elif self._buffer:
            checked = len(self._buffer)
            self._take_heads(self._buffer + data, checked)
        else:
            self._take_heads(data, 0)

    def eof_received(self) -> None:
        """See asyncio; the transport closes itself."""
        if self._exchange is None:
            return
        if self._body is None:
            self._fail(Truncated("the upstream closed without an answer"))
            return
        try:
            closing = self._body.at_eof()
        except Truncated as error:
            self._fail(error)
        else:
            self._keep_alive = False
            self._exchange.write(closing)
            self._finish(surplus=False)

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio."""
        if exc is not None and self._exchange is not None:
            self._salvage()
        if self._exchange is not None:
            self._fail(exc or Truncated("the connection to the upstream was closed"))
        self._leave()

    def pause_writing(self) -> None:
        """See asyncio."""
        if self._exchange is not None:
            self._exchange.pause_upload()

    def resume_writing(self) -> None:
        """See asyncio."""
        if self._exchange is not None:
            self._exchange.resume_upload()

    # -- reading

    def _take_heads(self, data: bytes, checked: int) -> None:
        """Read interim heads and the final one (RFC 9110, 15.2).

        Args:
            data: what has come of them.
            checked: so much of it is known to hold no whole head.
        """
        while self._exchange is not None:
            end = data.find(HEAD_END, max(0, checked - 3)) + 4
            if (end if end >= 4 else len(data)) > _HEAD_LIMIT:
                self._fail(BadHead(502, "the head of the upstream's answer is too large"))
                return
            try:
                if end < 4:
                    check_partial(data, checked)
                    self._buffer = data
                    return
                head = self._heads.read(data[:end], self._method)
            except BadHead as error:
                self._fail(error)
                return
            self._buffer, data, checked = b"", data[end:], 0
            self._take_head(self._exchange, head, data)
            if head.status >= 200 or head.status == 101:
                return

    def _take_head(self, exchange: Exchange, head: ResponseHead, rest: bytes) -> None:
        if head.status == 101:
            exchange.switch(self, head, rest)
        elif head.status < 200:
            self._interim += 1
            if self._interim > _MOST_INTERIM:
                self._fail(BadHead(502, "the upstream answers without end that it will answer"))
            else:
                exchange.interim(head)
        else:
            self._keep_alive = head.keep_alive
            prepared = exchange.respond(head)
            if head.length == len(rest) and head.framing in COUNTED:
                exchange.write(prepared + rest)
                self._finish(surplus=False)
                return
            self._body = exchange.body_of(head)
            if self._body is None:
                exchange.write(prepared)
                self._finish(surplus=bool(rest))
            else:
                self._relay(prepared, rest, self._body)

    def _relay(self, prepared: bytes, data: bytes, body: Body) -> None:
        """Send what has come of the body downstream, behind the `prepared` head if there is one."""
        exchange = self._exchange
        if exchange is None:
            return
        try:
            piece, used = body.feed(data)
        except BadFraming as error:
            if prepared:
                exchange.write(prepared)  # without a byte, browsers would send the request again
            self._fail(error)
            return
        if prepared or piece:
            exchange.write(prepared + piece if prepared else piece)
        if body.done:
            self._finish(surplus=used < len(data))

    def _finish(self, *, surplus: bool) -> None:
        """End of the response: give the connection back if it is in a known state, else close."""
        exchange, self._exchange, self._body = self._exchange, None, None
        if exchange is None:
            return
        clean = self._keep_alive and not surplus and exchange.request_complete
        if clean and not self.closing() and not self._transport.get_write_buffer_size():
            if self._paused:
                self.resume_reading()
            self._home.give_back(self)
        else:
            self.abort()
        exchange.finished()

    def _fail(self, error: Exception) -> None:
        exchange, self._exchange = self._exchange, None
        self.abort()
        if exchange is not None:
            exchange.upstream_lost(self, error)

    def _salvage(self) -> None:
        """Read what came before the connection broke.

        An upstream that answers early and closes makes our next write fail, and the event loop
        then drops the connection with the answer still unread.
        """
        for data in unread(self._transport):
            self.data_received(data)
            if self._exchange is None:
                return

    def _leave(self) -> None:
        if not self._gone:
            self._gone = True
            self._home.lost(self)
