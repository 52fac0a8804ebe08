"""A client's connection below its requests: its transport, its pauses, and that it ends.

The base of Downstream, which knows requests: one class in two files, so that neither costs the
other a call. Everything here is about one transport.
"""

from __future__ import annotations

import asyncio
from typing import Final, cast

from gateway.proxy.context import Context
from gateway.proxy.deadline import Deadline
from gateway.proxy.ending import Ending
from gateway.proxy.forwarded import Peer
from gateway.proxy.pauses import AHEAD, FOR_OTHER, Pauses
from gateway.proxy.sockets import reset_on_close
from gateway.proxy.transports import adapted

# What the connection is doing. Plain numbers: members of an Enum cost a search at each use.
IDLE: Final = 0  # no byte of a request has come
HEAD: Final = 1  # a part of a head has come
BUSY: Final = 2  # a request is in flight
OVER: Final = 3  # all is said; what still comes is dropped


class Connection:
    """A client's connection: an asyncio.Protocol by its methods (no subclass, to be compiled).

    Attributes:
        write: sends to the client.
        write_paused: whether the client has not taken what we have.
    """

    __slots__ = (
        "_context",
        "_deadline",
        "_ending",
        "_pauses",
        "_peer",
        "_phase",
        "_reset_to_break",
        "_transport",
        "write",
        "write_paused",
    )

    def __init__(self, context: Context) -> None:
        self._context = context
        self._phase = IDLE
        self._pauses: Pauses | None = None  # made with the first one
        self._ending: Ending | None = None
        self._reset_to_break = False
        self.write_paused = False

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

    def eof_received(self) -> None:
        """See asyncio; the transport closes itself."""
        self._end().left()

    # -- for the exchange

    @property
    def transport(self) -> asyncio.Transport:
        """The client's connection."""
        return self._transport

    def pause_for_upstream(self) -> None:
        """Stop reading until the upstream has caught up."""
        self._pause(FOR_OTHER)

    def resume_for_upstream(self) -> None:
        """The upstream has caught up."""
        if self._pauses is not None:
            self._pauses.end(FOR_OTHER)

    # -- for the server

    def drain(self) -> None:
        """Close as soon as no request is in flight."""
        if self._phase is IDLE:
            self._end().close()
        elif self._ending is not None:
            self._ending.drain()

    def abort(self) -> None:
        """Close at once."""
        self._transport.abort()

    # -- for Downstream

    def _pause(self, why: int) -> None:
        if self._pauses is None:
            self._pauses = Pauses(self._transport, self._left)
        self._pauses.begin(why)

    def _read_again(self) -> None:
        """End all pauses."""
        if self._pauses is not None:
            self._pauses.end(AHEAD | FOR_OTHER)

    def _left(self) -> None:
        """Take notice of a client that went away while it was not read from."""
        self.eof_received()
        self._transport.abort()

    def _end(self) -> Ending:
        self._phase = OVER
        if self._ending is None:
            self._ending = Ending(self._context, self._transport, self._deadline)
        return self._ending

    def _cut_off(self) -> None:
        """Close at once, and never with what the client could take for the response's end."""
        self._phase = OVER
        if self._reset_to_break:
            reset_on_close(self._transport)
        self._transport.abort()

    def _let_go(self) -> None:
        """Do nothing more: the transport is closed, or somebody else's."""
        self._phase = OVER
        self._deadline.close()
        if self._pauses is not None:
            self._pauses.close()

    def _deadline_passed(self) -> None:
        if self._ending is not None:
            self._ending.deadline_passed()
        else:
            self._transport.abort()
