"""One client connection: cuts requests out of the stream and keeps their answers in order.

It reads heads and bodies, holds what was pipelined, keeps the connection's deadlines and writes
the answers that the data path gives itself. What becomes of a request is exchange.py's; the
transport and its end are connection.py's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from gateway.errors import UpstreamTimeout
from gateway.problems import Problem
from gateway.proxy.answers import render
from gateway.proxy.connection import BUSY, HEAD, IDLE, Connection
from gateway.proxy.context import Context
from gateway.proxy.ending import may_say_more
from gateway.proxy.exchange import Exchange
from gateway.proxy.framing import BadFraming, Body, no_trailers, request_body
from gateway.proxy.head import HEAD_END, BadHead, check_partial, without_empty_lines
from gateway.proxy.interface import Hold, Local, Relay
from gateway.proxy.messages import Framing, RequestHead
from gateway.proxy.pauses import AHEAD
from gateway.proxy.repeated import RequestReader
from gateway.proxy.sockets import unsent

# Requests that are answered at once, one behind the other, before others have their turn: a client
# that nobody knows may send ten thousand that are refused.
_TURN: Final = 64


class Downstream(Connection):
    """A client's connection with the requests on it."""

    __slots__ = ("_ahead", "_body", "_checked", "_exchange", "_heads", "_pumping", "_waiting")

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._ahead = b""
        self._checked = 0  # so much of it is known to hold no whole head
        self._waiting = 0  # whole heads in it, about; it is not kept while they are taken
        self._body: Body | None = None
        self._heads = RequestReader()
        self._exchange: Exchange | None = None
        self._pumping = False

    # -- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio."""
        super().connection_made(transport)
        self._context.connections.add(self)

    def data_received(self, data: bytes) -> None:
        """See asyncio."""
        if self._phase is BUSY:
            if self._body is not None:
                self._take_body(self._body, data)
            else:
                self._read_ahead(data)
        elif self._phase <= HEAD:
            if self.write_paused:
                self._read_ahead(data)
            else:
                self._ahead = self._ahead + data if self._ahead else data
                self._pump()
        elif self._ending is not None:
            self._ending.hear()

    def eof_received(self) -> None:
        """See asyncio; the transport closes itself.

        A client that closes its direction while it waits for an answer is taken to have gone:
        nothing tells it apart from one that closed the connection, and the upstream's work for
        that one must end.
        """
        exchange, self._exchange = self._exchange, None
        super().eof_received()
        if exchange is not None:
            exchange.cancel()

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio."""
        exchange, self._exchange = self._exchange, None
        self._let_go()
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
            if self._pauses is not None:
                self._pauses.end(AHEAD)
            self._pump()

    # -- for the server

    def drain(self) -> None:
        """Close as soon as no request is in flight."""
        if self._exchange is not None:
            self._exchange.be_last()
        super().drain()

    def end_admitted(self, is_over: Callable[[Relay | Hold], bool], problem: Problem) -> None:
        """Break the request in flight off, and tell why, if what admitted it is over."""
        exchange = self._exchange
        if exchange is not None and exchange.admitted is not None and is_over(exchange.admitted):
            exchange.fail_with(problem)

    # -- for the exchange

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
        elif self._ahead or self._body is not None or may_say_more(self._context, self._transport):
            self._linger()
        else:
            self._end().close()

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
        self._cut_off()

    def release_for_tunnel(self) -> tuple[asyncio.Transport, bytes]:
        """Give the transport and what was read ahead away; this object is done."""
        self._exchange = None
        self._let_go()
        self._context.left(self)
        return self._transport, self._ahead

    # -- reading

    def _pump(self) -> None:
        """Begin as many requests as there are and may be: one at a time."""
        if self._pumping:
            return
        self._pumping = True
        turn = _TURN
        try:
            while self._ahead and not self.write_paused:
                if self._phase > HEAD or not self._take_head():
                    break
                turn -= 1
                if not turn:
                    self._bound_ahead()
                    asyncio.get_running_loop().call_soon(self._pump_on)
                    break
        finally:
            self._pumping = False

    def _pump_on(self) -> None:
        """Go on behind a turn of the others."""
        if self._phase <= HEAD:
            if self._pauses is not None:
                self._pauses.end(AHEAD)
            self._pump()

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
        if data and self._phase is IDLE:
            self._phase = HEAD
            self._deadline.set(self._context.limits.head_timeout)

    def _start(self, head: RequestHead) -> None:
        context = self._context
        self._phase = BUSY
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
        if self._ahead and not exchange.settled:
            self._read_on()

    def _read_on(self) -> None:
        """Take up what came behind the head: the request's body, or the next requests."""
        if self._body is None:
            self._bound_ahead()
        else:
            data, self._ahead = self._ahead, b""
            self._take_body(self._body, data)

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

    def _read_ahead(self, data: bytes) -> None:
        """Keep what came before its turn, and look at that alone."""
        before = len(self._ahead)
        self._ahead += data
        self._bound_ahead(before)

    def _bound_ahead(self, before: int = 0) -> None:
        """Stop reading when enough is waiting; so many bytes of it were looked at before."""
        limits = self._context.limits
        data = self._ahead
        if not before:
            self._waiting = 0
        self._waiting += data.count(HEAD_END, max(0, before - 3))
        if len(data) > limits.head_bytes or self._waiting >= limits.pipeline:
            self._pause(AHEAD)

    # -- what comes behind an answer

    def _next(self) -> None:
        self._phase = IDLE
        if self._pauses is not None:
            self._read_again()
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

    def _linger(self) -> None:
        """End behind the answer that was written, whatever else the client sends."""
        self._ahead, self._body = b"", None
        self._read_again()
        self._end().linger()

    def _deadline_passed(self) -> None:
        if self._phase is BUSY and self._exchange is not None:
            self._exchange.fail(UpstreamTimeout(self._context.limits.response_timeout or 0.0))
        elif self._phase is HEAD:
            self._refuse(408, "the head of the request was not complete in time")
        elif self._phase is IDLE:
            self._idle_for_long()
        else:
            super()._deadline_passed()

    def _idle_for_long(self) -> None:
        """Close, behind what the client has not taken yet of its answer."""
        if unsent(self._transport):
            self._linger()
        else:
            self._end().close()
