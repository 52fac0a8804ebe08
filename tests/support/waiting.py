"""Waiting for a condition, never for a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

# Seconds until a test gives up on what must happen. Only what is broken takes so long: a loaded
# machine must not, and where giving up is what is tested, the test has a bound of its own.
PATIENCE = 180.0
_PAUSE = 0.001


async def until(condition: Callable[[], bool]) -> None:
    """Let other tasks run until the condition holds."""
    end = asyncio.get_running_loop().time() + PATIENCE
    while not condition():
        assert asyncio.get_running_loop().time() < end, "the condition never came true"
        await asyncio.sleep(_PAUSE)
