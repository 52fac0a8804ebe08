"""One client connection: cuts requests out of the stream and keeps their answers in order.

It reads heads and bodies, holds what was pipelined, keeps the connection's deadlines and writes
the answers that the data path gives itself. What becomes of a request is exchange.py's.
"""

from __future__ import annotations

import asyncio
from typing import cast

from gateway.errors import Problem, UpstreamTimeout
from gateway.proxy.answers import render
from gateway.proxy.context import Context
from gateway.proxy.deadline import Deadline
from gateway.proxy.exchange import Exchange
from gateway.proxy.forwarded import Peer
from gateway.proxy.framing import BadFraming, Body, no_trailers, request_body
from gateway.proxy.head import (
    HEAD_END,
    BadHead,
    check_partial,
    without_empty_lines,
)
from gateway.proxy.interface import Local
from gateway.proxy.messages import Framing, RequestHead
from gateway.proxy.repeated import RequestReader
from gateway.proxy.sockets import has_left, readable, reset_on_close
from gateway.proxy.transports import adapted

_LINGER_SECONDS = 5.0
_DRAINING_LINGER_SECONDS = 1.0
_QUIET_SECONDS = 1.0
_QUIET_LOOKS = 5
_FLUSH_SECONDS = 30.0
_LOOK_SECONDS = 1.0


# What the connection is doing. Plain numbers: members of an Enum cost a search at each use.
_IDLE = 0  # no byte of a request has come
_HEAD = 1  # a part of a head has come
_BUSY = 2  # a request is in flight
_LINGER = 3  # all is said; what still comes is dropped
_CLOSED = 4

# Why the client is not read from; a sum of these.
_FOR_UPSTREAM = 1  # the upstream has not taken what we have
_AHEAD = 2  # enough requests are waiting


class Downstream(asyncio.Protocol):
    """A client's connection.

    Attributes:
        write: sends to the client.
        write_paused: whether the client has not taken what we have.
    """

    __slots__ = (
        "_ahead",
        "_body",
        "_checked",
        "_context",
        "_deadline",
        "_exchange",
        "_heads",
        "_heard",
        "_looks",
        "_paused",
        "_peer",
        "_phase",
        "_pumping",
        "_reset_to_break",
        "_transport",
        "_unsent",
        "_watch",
        "write",
        "write_paused",
    )

    def __init__(self, context: Context) -> None:
        self._context = context
        self._phase = _IDLE
        self._ahead = b""
        self._checked = 0  # so much of it is known to hold no whole head
        self._body: Body | None = None
        self._heads = RequestReader()
        self._heard = False  # something that is dropped
        self._looks = 0  # so often yet, at most, is quiet waited for
        self._exchange: Exchange | None = None
        self._paused = 0
        self._pumping = False
        self._reset_to_break = False
        self._unsent = 0
        self._watch: Deadline | None = None  # of a client that is not read from
        self.write_paused = False

    # -- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio."""
        self._transport = adapted(
            cast("asyncio.Transport", transport), counted=self._context.access_log is not None
        )
        self.write = self._transport.write
        name = transport.get_extra_info("peername")
        address = str(name[0]) if isinstance(name, tuple) else ""
        scheme = "https" if transport.get_extra_info("sslcontext") else "http"
        self._peer = Peer(self._context.forwarding, address, scheme)
        self._deadline = Deadline(asyncio.get_running_loop(), self._deadline_passed)
        self._deadline.set(self._context.limits.head_timeout)
        self._context.connections.add(self)

    def data_received(self, data: bytes) -> None:
        """See asyncio."""
        if self._phase is _BUSY:
            if self._body is not None:
                self._take_body(self._body, data)
            else:
                self._ahead += data
                self._bound_ahead()
        elif self._phase <= _HEAD:
            self._ahead = self._ahead + data if self._ahead else data
            if self.write_paused:
                self._bound_ahead()
            else:
                self._pump()
        else:
            self._heard = True

    def eof_received(self) -> None:
        """See asyncio; the transport closes itself.

        A client that closes its direction while it waits for an answer is taken to have gone:
        nothing tells it apart from one that closed the connection, and the upstream's work for
        that one must end.
        """
        exchange, self._exchange = self._exchange, None
        self._phase = _CLOSED
        self._deadline.set(_FLUSH_SECONDS)
        if exchange is not None:
            exchange.cancel()

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio."""
        exchange, self._exchange = self._exchange, None
        self._phase = _CLOSED
        self._deadline.close()
        if self._watch is not None:
            self._watch.close()
        if exchange is not None:
            exchange.cancel()
        self._context.left(self)

    def pause_writing(self) -> None:
        """See asyncio."""
        self.write_paused = True
        if self._exchange is not None:
            self._exchange.pause_download()

    def resume_writing(self) -> None:
        """See asyncio."""
        self.write_paused = False
        if self._exchange is not None:
            self._exchange.resume_download()
        else:
            if self._paused:
                self._resume(_AHEAD)
            self._pump()

    # -- for the exchange

    @property
    def transport(self) -> asyncio.Transport:
        """The client's connection."""
        return self._transport

    def pause_for_upstream(self) -> None:
        """Stop reading until the upstream has caught up."""
        self._pause(_FOR_UPSTREAM)

    def resume_for_upstream(self) -> None:
        """The upstream has caught up."""
        if self._paused:
            self._resume(_FOR_UPSTREAM)

    def await_response(self) -> None:
        """The whole request is sent: from now on the upstream's time counts."""
        self._deadline.set(self._context.limits.response_timeout)

    def response_began(self, *, delimited: bool) -> None:
        """The final head is there; the body may take as long as it likes.

        Args:
            delimited: whether its framing shows the client where the body ends; if not, only a
                reset can tell it that the body was cut off.
        """
        self._deadline.at = None
        self._reset_to_break = not delimited

    def response_complete(self, *, keep_alive: bool) -> None:
        """The response was written; go on with the next request or close."""
        self._exchange = None
        if keep_alive and self._body is None:
            self._next()
        elif self._ahead or self._body is not None or self._may_say_more():
            self._linger()
        else:
            self._close()

    def answer(self, problem: Problem, head: RequestHead, request_id: bytes) -> bool:
        """Give the data path's own answer to the request in flight.

        Returns:
            Whether the connection lives on: for response_complete, which is to be called next.
        """
        keep_alive = head.keep_alive and self._body is None and not self._context.draining
        self._transport.write(
            render(problem, keep_alive=keep_alive, request=head, request_id=request_id)
        )
        return keep_alive

    def break_off(self) -> None:
        """Show the client that the response is cut off: never a clean end."""
        self._exchange = None
        self._phase = _CLOSED
        if self._reset_to_break:
            reset_on_close(self._transport)
        self._transport.abort()

    def release_for_tunnel(self) -> tuple[asyncio.Transport, bytes]:
        """Give the transport and what was read ahead away; this object is done."""
        self._exchange = None
        self._phase = _CLOSED
        self._deadline.close()
        if self._watch is not None:
            self._watch.close()
        self._context.left(self)
        return self._transport, self._ahead

    # -- for the server

    def drain(self) -> None:
        """Close as soon as no request is in flight."""
        if self._phase is _IDLE:
            self._close()
        elif self._phase is _LINGER and not self._looks:
            self._close_within(self._linger_seconds())

    def abort(self) -> None:
        """Close at once."""
        self._transport.abort()

    # -- reading

    def _pump(self) -> None:
        """Begin as many requests as there are and may be: one at a time."""
        if self._pumping:
            return
        self._pumping = True
        try:
            while self._ahead and not self.write_paused:
                if self._phase > _HEAD or not self._take_head():
                    break
        finally:
            self._pumping = False

    def _take_head(self) -> bool:
        """Begin the request at the front of what is read; False when it is not complete."""
        data = self._ahead
        if data.startswith(b"\r\n"):
            data = without_empty_lines(data)
        limit = self._context.limits.head_bytes
        end = data.find(HEAD_END, max(0, self._checked - 3)) + 4
        try:
            if (end if end >= 4 else len(data)) > limit:
                raise BadHead(431, f"the head of a request may have {limit} bytes")
            if end < 4:
                check_partial(data, self._checked)
                self._await_head(data)
                return False
            head = self._heads.read(data[:end])
        except BadHead as error:
            self._refuse(error.status, error.reason)
            return False
        self._ahead, self._checked = data[end:], 0
        self._start(head)
        return True

    def _await_head(self, data: bytes) -> None:
        self._ahead, self._checked = data, len(data)
        if data and self._phase is _IDLE:
            self._phase = _HEAD
            self._deadline.set(self._context.limits.head_timeout)

    def _start(self, head: RequestHead) -> None:
        context = self._context
        self._phase = _BUSY
        self._deadline.at = None
        context.observer.request_started()
        client, forwarding = self._peer.introduce(head)
        decision = context.gate.decide(head, client)
        if head.framing is not Framing.NONE:
            local = isinstance(decision, Local)
            trailers = no_trailers if local else context.rules.request_trailers
            self._body = request_body(head.framing, head.length, trailers)
        exchange = context.exchange(context, self, head, client, forwarding)
        self._exchange = exchange
        exchange.begin(decision)
        if self._exchange is not exchange:
            return
        if self._body is not None and self._ahead:
            data, self._ahead = self._ahead, b""
            self._take_body(self._body, data)
        elif self._ahead:
            self._bound_ahead()

    def _take_body(self, body: Body, data: bytes) -> None:
        exchange = self._exchange
        if exchange is None:
            return
        try:
            piece, used = body.feed(data)
        except BadFraming as error:
            exchange.fail_with(Problem(400, "bad-request", str(error)))
            return
        if piece:
            exchange.send(piece)
        if body.done:
            self._body = None
            self._ahead = data[used:]
            self._bound_ahead()
            exchange.complete()

    def _bound_ahead(self) -> None:
        limits = self._context.limits
        data = self._ahead
        if data and (len(data) > limits.head_bytes or data.count(HEAD_END) >= limits.pipeline):
            self._pause(_AHEAD)

    def _pause(self, why: int) -> None:
        if not self._paused:
            self._transport.pause_reading()
            if self._watch is None:
                self._watch = Deadline(asyncio.get_running_loop(), self._look_for_client)
            self._watch.set(_LOOK_SECONDS)
        self._paused |= why

    def _resume(self, why: int) -> None:
        self._paused &= ~why
        if not self._paused:
            if self._watch is not None:
                self._watch.at = None
            self._transport.resume_reading()

    def _look_for_client(self) -> None:
        """Notice a client that went away while it is not read from: no EOF tells of it then."""
        if has_left(self._transport):
            self.eof_received()
            self._transport.abort()
        elif self._watch is not None:
            self._watch.set(_LOOK_SECONDS)

    # -- the ends

    def _next(self) -> None:
        self._phase = _IDLE
        if self._paused:
            self._resume(_AHEAD | _FOR_UPSTREAM)
        self._deadline.set(self._context.limits.keepalive_timeout)
        if self._ahead:
            self._pump()

    def _refuse(self, status: int, reason: str) -> None:
        """Answer a head that cannot be read, and close."""
        problem = Problem(status, "bad-request", reason)
        request_id = self._context.request_ids.next()
        answer = render(problem, keep_alive=False, request_id=request_id)
        self._transport.write(answer)
        if self._context.access_log is not None:
            self._context.access_log.record_refused(
                self._transport, status, len(answer), request_id
            )
        self._linger()

    def _may_say_more(self) -> bool:
        """Whether closing at once could meet bytes of the client, and so end in a reset.

        Where one direction can be closed alone, waiting for the client's end costs next to
        nothing. TLS closes both at once: there a client that has announced its end is believed
        unless something has come, and one that is cut off by our stop is not.
        """
        transport = self._transport
        return transport.can_write_eof() or self._context.draining or readable(transport)

    def _linger(self) -> None:
        """Close without a reset that could overtake the answer (RFC 9112, 9.6)."""
        self._phase = _LINGER
        self._ahead, self._body = b"", None
        if self._paused:
            self._resume(_AHEAD | _FOR_UPSTREAM)
        if not self._transport.can_write_eof():
            self._looks = _QUIET_LOOKS
            self._deadline.set(_QUIET_SECONDS)
            return
        if not self._transport.is_closing():
            self._transport.write_eof()
        self._close_within(self._linger_seconds())

    def _linger_seconds(self) -> float:
        if self._transport.get_write_buffer_size():
            return _FLUSH_SECONDS
        return _DRAINING_LINGER_SECONDS if self._context.draining else _LINGER_SECONDS

    def _look_for_quiet(self) -> None:
        """Close TLS when nothing came for a while: what came behind our end would reset it."""
        self._looks -= 1
        if self._heard and self._looks:
            self._heard = False
            self._deadline.set(_QUIET_SECONDS)
        else:
            self._close()

    def _close(self) -> None:
        self._phase = _CLOSED
        self._transport.close()
        self._close_within(_FLUSH_SECONDS)

    def _close_within(self, seconds: float) -> None:
        self._unsent = self._transport.get_write_buffer_size()
        self._deadline.set(seconds)

    def _deadline_passed(self) -> None:
        if self._phase is _BUSY and self._exchange is not None:
            self._exchange.fail(UpstreamTimeout(self._context.limits.response_timeout or 0.0))
        elif self._phase is _HEAD:
            self._refuse(408, "the head of the request was not complete in time")
        elif self._phase is _IDLE:
            self._close()
        elif self._phase is _LINGER and self._looks:
            self._look_for_quiet()
        elif 0 < self._transport.get_write_buffer_size() < self._unsent:
            self._close_within(_FLUSH_SECONDS)  # slow, but it reads
        else:
            self._transport.abort()
