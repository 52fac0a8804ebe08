"""The garbage collector of a serving process: what it must not walk while requests wait."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator


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
