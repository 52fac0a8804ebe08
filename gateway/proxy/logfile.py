"""A file of lines that the event loop never waits for: a thread writes them, in batches."""

from __future__ import annotations

import logging
import os
import queue
import stat
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

logger = logging.getLogger(__name__)

_FLUSH_SECONDS = 0.5
_MOST_BYTES = 16 * 2**20
_PIPE_BYTES = 4096  # PIPE_BUF: other writers' lines cannot get between, pipe(7)
_FILE_BYTES = 256 * 1024
_STOP_SECONDS = 5.0


class LogFile:
    """Appends lines. A file that was moved away is made anew, as logrotate expects.

    What cannot be written is dropped, with one warning until it works again.

    Args:
        path: the file; None for standard output.
        flush_seconds: a line waits no longer than this, if the disk is quick.
        sleep: waits for that time, or until the event is set; for tests.

    Raises:
        OSError: it cannot be opened.
    """

    def __init__(
        self,
        path: Path | None,
        *,
        flush_seconds: float = _FLUSH_SECONDS,
        wait: Callable[[threading.Event, float], object] = threading.Event.wait,
    ) -> None:
        self._path = path
        self._flush_seconds = flush_seconds
        self._wait = wait
        self._descriptor = self._open()
        self._lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._waiting = 0
        self._failing = False
        self._stopping = threading.Event()
        # A daemon: a pipe that nobody reads must not keep the process from ending.
        self._thread = threading.Thread(target=self._work, name="access log", daemon=True)
        self._thread.start()

    def append(self, line: bytes) -> None:
        """Write `line`, which ends with a line feed, soon."""
        if self._waiting < _MOST_BYTES:
            self._waiting += len(line)
            self._lines.put(line)
        else:
            self._failed("it is written too slowly")

    def close(self) -> None:
        """Write what is left, within a bounded time, and close."""
        self._stopping.set()
        self._thread.join(_STOP_SECONDS)

    def _work(self) -> None:
        stopping = False
        while not stopping:
            self._wait(self._stopping, self._flush_seconds)
            stopping = self._stopping.is_set()
            self._flush()
        if self._path is not None:
            os.close(self._descriptor)

    def _flush(self) -> None:
        batch = [self._lines.get() for _ in range(self._lines.qsize())]
        if not batch:
            return
        self._waiting = 0
        try:
            self._reopen_if_moved()
            for piece in self._pieces(batch):
                self._write(piece)
        except OSError as error:
            self._failed(error.strerror or str(error))
        else:
            self._failing = False

    def _pieces(self, batch: list[bytes]) -> list[bytes]:
        """Join lines to pieces that are written at once."""
        regular = stat.S_ISREG(os.fstat(self._descriptor).st_mode)
        limit = _FILE_BYTES if regular else _PIPE_BYTES
        pieces = [b""]
        for line in batch:
            if pieces[-1] and len(pieces[-1]) + len(line) > limit:
                pieces.append(b"")
            pieces[-1] += line
        return pieces

    def _write(self, piece: bytes) -> None:
        while piece:
            try:
                piece = piece[os.write(self._descriptor, piece) :]
            except BlockingIOError:  # somebody made standard output non-blocking
                time.sleep(0.01)

    def _open(self) -> int:
        if self._path is None:
            return sys.__stdout__.fileno() if sys.__stdout__ is not None else 1
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        return os.open(self._path, flags, 0o640)

    def _reopen_if_moved(self) -> None:
        if self._path is None:
            return
        opened = os.fstat(self._descriptor)
        try:
            there = self._path.stat()
            moved = (there.st_dev, there.st_ino) != (opened.st_dev, opened.st_ino)
        except FileNotFoundError:
            moved = True
        if moved:
            descriptor = self._open()
            os.close(self._descriptor)
            self._descriptor = descriptor

    def _failed(self, reason: str) -> None:
        if not self._failing:
            self._failing = True
            where = self._path or "standard output"
            logger.warning("access log cannot be written file=%s reason=%s", where, reason)
