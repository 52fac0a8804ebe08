"""A child's tie to the supervisor: while the other end is open, the supervisor lives.

An inherited socket is closed by the kernel however the supervisor ends, on every system and
whichever thread started the child. Control also speaks through it, in lines: `ready`, once it
serves, and `keep <pid> …`, which is answered with `kept` when all other workers have ended. It is
told `ended <pid>` of each worker that has ended, and `stopping` when a stop begins: workers end
first, and what they wait for of control's must not last until their drain is over.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable
from typing import Self

logger = logging.getLogger(__name__)

_KEEP_SECONDS = 10.0


def _nothing(pid: int) -> None:
    """Workers are not told of each other."""


class Lifeline:
    """A child's end.

    Args:
        reader: from the supervisor.
        writer: to it.
        ended: called when the supervisor is gone.
        worker_ended: called with the process id of each worker that has ended.
    """

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        ended: Callable[[], None],
        worker_ended: Callable[[int], None],
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._ended = ended
        self._worker_ended = worker_ended
        self._stop_begins: Callable[[], None] = lambda: None
        self._kept = asyncio.Event()
        self._turn = asyncio.Lock()
        self._task = asyncio.create_task(self._listen(), name="lifeline")

    @classmethod
    async def open(
        cls,
        descriptor: int,
        ended: Callable[[], None],
        worker_ended: Callable[[int], None] = _nothing,
    ) -> Self:
        """Take over an inherited descriptor; children of this process must not inherit it."""
        os.set_inheritable(descriptor, False)
        end = socket.socket(fileno=descriptor)
        return cls(*await asyncio.open_unix_connection(sock=end), ended, worker_ended)

    def heed_stop(self, begins: Callable[[], None]) -> None:
        """Have `begins` called when the supervisor says that all are going to be stopped."""
        self._stop_begins = begins

    def ready(self) -> None:
        """Say that this child serves."""
        self._writer.write(b"ready\n")

    async def keep_only(self, pids: set[int]) -> None:
        """Have the supervisor end all workers but these; return when they have ended."""
        async with self._turn:
            self._kept.clear()
            self._writer.write(f"keep {' '.join(map(str, sorted(pids)))}\n".encode())
            try:
                async with asyncio.timeout(_KEEP_SECONDS):
                    await self._kept.wait()
            except TimeoutError:
                logger.error("the supervisor does not say that it ended workers")

    def close(self) -> None:
        """Listen no more."""
        self._task.cancel()
        self._writer.transport.abort()

    async def _listen(self) -> None:
        try:
            while line := await self._reader.readline():
                if line == b"kept\n":
                    self._kept.set()
                elif line.startswith(b"ended "):
                    self._worker_ended(int(line.split()[1]))
                elif line == b"stopping\n":
                    self._stop_begins()
        except OSError as error:
            logger.debug("lifeline broke reason=%s", error)
        logger.warning("the supervisor is gone")
        self._ended()
