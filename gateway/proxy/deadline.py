"""One deadline of one connection, cheap to move: the timer is armed again only when it fires."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Final

_SLACK: Final = 0.001


class Deadline:
    """A moment after which `passed` is called once.

    Moving the moment later costs an assignment, which is what happens several times with each
    request; the timer finds out when it fires.

    Attributes:
        at: loop time of the deadline; None for none. May be set to None, else by `set` alone.
    """

    __slots__ = ("_armed", "_handle", "_loop", "_passed", "at")

    def __init__(self, loop: asyncio.AbstractEventLoop, passed: Callable[[], None]) -> None:
        self._loop = loop
        self._passed = passed
        self.at: float | None = None
        self._handle: asyncio.TimerHandle | None = None
        self._armed = math.inf  # when the timer fires

    def set(self, seconds: float | None) -> None:
        """Let the deadline be `seconds` from now, in place of any before; None for never."""
        if seconds is None:
            self.at = None
            return
        self.at = at = self._loop.time() + seconds
        if at < self._armed:
            if self._handle is not None:
                self._handle.cancel()
            self._arm(at)

    def close(self) -> None:
        """Clear for good and free the timer."""
        self.at = None
        if self._handle is not None:
            self._handle.cancel()
            self._handle, self._armed = None, math.inf

    def _arm(self, at: float) -> None:
        self._handle, self._armed = self._loop.call_at(at, self._fire), at

    def _fire(self) -> None:
        self._handle, self._armed = None, math.inf
        if self.at is None:
            return
        if self._loop.time() < self.at - _SLACK:
            self._arm(self.at)
            return
        self.at = None
        self._passed()
