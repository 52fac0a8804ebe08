"""Short rests in long work, for a process whose work may wait.

A low priority alone is not enough: a system that has given the core to a process may leave it
there for milliseconds, whoever waits (seen with Linux 6.18, see docs/performance.md). One that
rests gives it back by itself.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_WORK_SECONDS = 0.0003
_REST_SECONDS = 0.00005
"""The system makes 0.13 ms of it; what counts is that others run first."""


@contextmanager
def resting() -> Iterator[None]:
    """Rest now and then while the block runs. It takes SIGALRM, in the main thread alone."""
    signal.signal(signal.SIGALRM, _rest)
    _rest()
    try:
        yield
    finally:
        signal.signal(signal.SIGALRM, signal.SIG_IGN)  # first: a rest sets the timer anew
        signal.setitimer(signal.ITIMER_REAL, 0.0)


def rest() -> None:
    """Give the core back for a moment."""
    time.sleep(_REST_SECONDS)


def _rest(_signal: int = signal.SIGALRM, _frame: FrameType | None = None) -> None:
    rest()
    signal.setitimer(signal.ITIMER_REAL, _WORK_SECONDS)
