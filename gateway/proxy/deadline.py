"""One deadline of one connection, cheap to move: the timer is armed again only when it fires."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

_SLACK = 0.001


class Deadline:
    """A moment after which `passed` is called once.

    Moving the moment later costs an assignment, which is what happens several times with each
    request; the timer finds out when it fires.
    """

    __slots__ = ("_at", "_handle", "_loop", "_passed")

    def __init__(self, loop: asyncio.AbstractEventLoop, passed: Callable[[], None]) -> None:
        self._loop = loop
        self._passed = passed
        self._at: float | None = None
        self._handle: asyncio.TimerHandle | None = None

    def set(self, seconds: float | None) -> None:
        """Let the deadline be `seconds` from now, in place of any before; None for never."""
        if seconds is None:
            self._at = None
            return
        self._at = at = self._loop.time() + seconds
        if self._handle is None:
            self._handle = self._loop.call_at(at, self._fire)
        elif self._handle.when() > at:
            self._handle.cancel()
            self._handle = self._loop.call_at(at, self._fire)

    def clear(self) -> None:
        """Let there be no deadline; the timer may still be armed."""
        self._at = None

    def close(self) -> None:
        """Clear for good and free the timer."""
        self._at = None
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _fire(self) -> None:
        self._handle = None
        if self._at is None:
            return
        if self._loop.time() < self._at - _SLACK:
            self._handle = self._loop.call_at(self._at, self._fire)
            return
        self._at = None
        self._passed()
