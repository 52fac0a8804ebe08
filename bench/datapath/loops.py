"""The event loop of the benchmark's own programs: uvloop where it is installed."""

from __future__ import annotations

import asyncio
import importlib.util


def new_loop() -> asyncio.AbstractEventLoop:
    """Return a new loop."""
    if importlib.util.find_spec("uvloop") is None:
        return asyncio.new_event_loop()
    import uvloop  # noqa: PLC0415 - an optional package

    return uvloop.new_event_loop()
