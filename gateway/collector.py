"""The garbage collector of a serving process: what it must not walk while requests wait."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator

_THRESHOLDS = 10_000, 20, 20


def collect_rarely() -> None:
    """Let young objects become more before they are looked at.

    Python begins at 700. What a hundred open calls hold is more than that, so that it is walked
    again and again, and what lives a moment longer soon is old, where walking takes milliseconds.
    """
    gc.set_threshold(*_THRESHOLDS)


@contextlib.contextmanager
def long_lived() -> Iterator[None]:
    """Load what lives as long as the process does.

    No collection runs meanwhile, and none walks it afterwards: with a million routes one takes a
    second or more, and finds nothing.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()
