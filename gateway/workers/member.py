"""A worker's life: it follows control, then serves, until it is told to stop or is alone."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import ssl
from collections.abc import Awaitable, Callable

from gateway.loop import heed_signals
from gateway.proxy.server import ProxyServer
from gateway.workers.acceptor import Acceptor
from gateway.workers.board import Board
from gateway.workers.lifeline import Lifeline
from gateway.workers.remote import Remote
from gateway.workers.supervisor import WorkerSeat

logger = logging.getLogger(__name__)

_ORPHAN_SECONDS = 1.0

OpenTls = Callable[[contextlib.AsyncExitStack], Awaitable[ssl.SSLContext | None]]
"""Returns what speaks TLS with clients until the stack is left; None for plain HTTP."""


class Member:
    """See the module's docstring.

    Args:
        seat: where it stands among the supervisor's children.
        workers: how many there are.
        remote: control, as this worker sees it.
        server: its data path.
        tls: see OpenTls.
        grace: seconds that requests in flight have at a stop.
    """

    def __init__(
        self,
        seat: WorkerSeat,
        workers: int,
        remote: Remote,
        server: ProxyServer,
        tls: OpenTls,
        grace: float,
    ) -> None:
        self._seat = seat
        self._board = Board(seat.board, workers)
        self._remote = remote
        self._server = server
        self._tls = tls
        self._grace = grace
        self._stopping = asyncio.Event()

    async def work(self) -> None:
        """Serve until told to stop, or the supervisor is gone.

        Raises:
            Refused: control sent this worker away; other errors are defects.
        """
        heed_signals(self._stopping.set)
        lifeline = await Lifeline.open(self._seat.lifeline, self._orphaned)
        following = asyncio.create_task(self._remote.run(), name="control")
        following.add_done_callback(lambda _: self._stopping.set())
        try:
            # Before the first snapshot every route would be unknown.
            if await self._first(self._remote.ready):
                async with contextlib.AsyncExitStack() as stack:
                    await self._accept(stack)
                    await self._stopping.wait()
            await self._server.stop(self._grace)
            await self._remote.report()
        finally:
            lifeline.close()
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
        if not following.cancelled() and (error := following.exception()) is not None:
            raise error

    async def _accept(self, stack: contextlib.AsyncExitStack) -> None:
        seat, server = self._seat, self._server
        tls = await self._tls(stack)
        for descriptor in (*seat.listeners, seat.board):
            os.set_inheritable(descriptor, False)
        listeners = [socket.socket(fileno=descriptor) for descriptor in seat.listeners]
        for listener in listeners:
            listener.setblocking(False)
        acceptor = Acceptor(
            listeners,
            lambda connection: server.take(connection, tls),
            lambda: server.connections,
            self._board,
            seat.slot,
        )
        server.on_left(acceptor.show)
        stack.push_async_callback(acceptor.close)
        acceptor.start()
        logger.info("worker serves")

    async def _first(self, event: asyncio.Event) -> bool:
        """Wait for `event` or the stop; return whether it was `event`."""
        waits = [asyncio.create_task(one.wait()) for one in (event, self._stopping)]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        return event.is_set() and not self._stopping.is_set()

    def _orphaned(self) -> None:
        self._grace = min(self._grace, _ORPHAN_SECONDS)
        self._stopping.set()
