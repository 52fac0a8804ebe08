"""How this mode ends: what it says at a signal, and its exit code."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Callable

from gateway.loop import heed_signals

logger = logging.getLogger(__name__)

STOPPED = 2
"""The exit code after SIGTERM or SIGINT, as callers of configurable-http-proxy know it."""


def heed(stop: Callable[[], None]) -> None:
    """Call `stop` at SIGTERM and SIGINT, once; a second one ends the process at once."""
    seen = False

    def told(word: str) -> None:
        nonlocal seen
        logger.warning("%s", word)
        if seen:
            os._exit(STOPPED)
        seen = True
        stop()

    heed_signals(lambda: told("Terminated"))
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, told, "Interrupted")
