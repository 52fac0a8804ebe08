"""Takes connections from the sockets that all workers listen on, so that they share them evenly.

Whoever is awake could take all that wait. So a worker takes no more than bring it a little above
the one with the fewest; one that is ahead leaves the rest to others for a moment. What they did not
take by then it takes itself: a client never waits for a worker that is stuck.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from gateway.workers.board import Board

logger = logging.getLogger(__name__)

_AHEAD = 2  # so many connections, and one in sixteen, may a worker have more than another
_LEAVE_SECONDS = 0.001  # what a busy worker needs at most for a turn of its event loop
_MOST_AT_ONCE = 1024
_SHORT_SECONDS = 1.0
_SHORT = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


def room(own: int, least: int | None, vain: int) -> int:
    """Return how many connections a worker may take now.

    Args:
        own: how many it has.
        least: how many the worker with the fewest has; None when there is no other.
        vain: how often it has left connections to others that did not take them, in a row.
    """
    if least is None:
        return _MOST_AT_ONCE
    fair = least + _AHEAD + own // 16 - own
    return max(fair, min(vain, _MOST_AT_ONCE))


class Acceptor:
    """See the module's docstring.

    Args:
        listeners: the listening sockets, not blocking.
        take: serves an accepted connection; returns, or raises OSError, when it is set up.
        count: returns how many connections are open.
        board: of all workers.
        slot: of this one.
    """

    def __init__(
        self,
        listeners: Sequence[socket.socket],
        take: Callable[[socket.socket], Coroutine[Any, Any, None]],
        count: Callable[[], int],
        board: Board,
        slot: int,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._listeners = tuple(listeners)
        self._take = take
        self._count = count
        self._board = board
        self._slot = slot
        self._coming: set[asyncio.Task[None]] = set()
        self._vain = 0
        self._closed = False
        self._pause: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to accept."""
        self._listen()
        self.show()

    def show(self) -> None:
        """Tell the others how many connections are open here; to be called when one has ended."""
        if not self._closed:
            self._board.show(self._slot, self._own())

    async def close(self) -> None:
        """Accept no more; connections that are being set up are given up."""
        self._closed = True
        if self._pause is not None:
            self._pause.cancel()
        self._board.leave(self._slot)
        for listener in self._listeners:
            self._loop.remove_reader(listener)
            listener.close()
        for task in self._coming:
            task.cancel()
        await asyncio.gather(*self._coming, return_exceptions=True)

    def _own(self) -> int:
        return self._count() + len(self._coming)

    def _listen(self) -> None:
        self._pause = None
        for listener in self._listeners:
            self._loop.add_reader(listener, self._readable)

    def _pause_for(self, seconds: float, then: Callable[[], None]) -> None:
        for listener in self._listeners:
            self._loop.remove_reader(listener)
        self._pause = self._loop.call_later(seconds, then)

    def _readable(self) -> None:
        """Somebody may be waiting; another worker may take them first."""
        self._take_some(room(self._own(), self._board.least_beside(self._slot), 0))

    def _left(self) -> None:
        """Others had their moment."""
        self._listen()
        own, least = self._own(), self._board.least_beside(self._slot)
        fair = room(own, least, 0)
        self._vain = 0 if fair > 0 else self._vain + 1
        if self._take_some(room(own, least, self._vain)):
            self._vain = 0  # nobody waits any more

    def _take_some(self, most: int) -> bool:
        """Take so many of those that wait; return whether that was all."""
        taken = 0
        for listener in self._listeners:
            while taken < most:
                try:
                    connection, _ = listener.accept()
                except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                    break
                except OSError as error:
                    self._ran_short(error)
                    return False
                taken += 1
                self._begin(connection)
        if taken < most:
            return True
        if most <= 0:
            self._pause_for(_LEAVE_SECONDS, self._left)
        return False

    def _begin(self, connection: socket.socket) -> None:
        task = self._loop.create_task(self._take(connection), name="accept")
        self._coming.add(task)
        task.add_done_callback(self._taken)
        self.show()

    def _taken(self, task: asyncio.Task[None]) -> None:
        self._coming.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            # A handshake that failed, or a client that has gone.
            logger.debug("connection not set up reason=%r", error)
        self.show()

    def _ran_short(self, error: OSError) -> None:
        if error.errno not in _SHORT:
            raise error
        logger.error("no connection can be accepted, trying again soon reason=%s", error.strerror)
        self._pause_for(_SHORT_SECONDS, self._listen)
