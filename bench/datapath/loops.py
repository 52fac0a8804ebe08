"""The event loop: uvloop where it is installed."""

from __future__ import annotations

import asyncio
import importlib.util


def new_loop(choice: str = "auto") -> asyncio.AbstractEventLoop:
    """Return a new loop; `choice` is `uvloop`, `asyncio`, or `auto` for the first one there is."""
    if choice == "asyncio" or (choice == "auto" and not has_uvloop()):
        return asyncio.new_event_loop()
    import uvloop  # noqa: PLC0415 - an optional package

    return uvloop.new_event_loop()


def has_uvloop() -> bool:
    """Whether uvloop is installed."""
    return importlib.util.find_spec("uvloop") is not None
