"""Waiting for what a hub does by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from tests.support.waiting import PATIENCE

_PAUSE = 0.05


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    """Ask again until the condition holds."""
    async with asyncio.timeout(PATIENCE):
        while True:
            if await condition():
                return
            await asyncio.sleep(_PAUSE)
