"""Waiting for a condition, never for a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

_ATTEMPTS = 30_000
_PAUSE = 0.001


async def until(condition: Callable[[], bool]) -> None:
    """Let other tasks run until the condition holds; some 30 s at most."""
    for _ in range(_ATTEMPTS):
        if condition():
            return
        await asyncio.sleep(_PAUSE)
    raise AssertionError("the condition never came true")
