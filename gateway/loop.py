"""The event loop of every serving process: uvloop where it is installed, else asyncio's own.

And the signals that it heeds, and a watch over its file descriptors.
"""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import os
import signal
from collections.abc import Callable, Coroutine
from typing import TypeVar

from gateway.collector import collect_rarely
from gateway.descriptors import Watch, raise_limit
from routes import timeslice

T = TypeVar("T")

logger = logging.getLogger(__name__)


def run(main: Coroutine[None, None, T]) -> T:
    """Run `main` to its end, as asyncio.run does."""
    collect_rarely()
    raise_limit()
    timeslice.shorten()
    if importlib.util.find_spec("uvloop") is None:
        return asyncio.run(_watched(main))
    import uvloop  # noqa: PLC0415 - not on every platform

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_watched(main))


async def _watched(main: Coroutine[None, None, T]) -> T:
    watch = asyncio.create_task(Watch().run(), name="descriptors")
    try:
        return await main
    finally:
        watch.cancel()


def heed_signals(stop: Callable[[], None]) -> None:
    """Call `stop` at SIGTERM and SIGINT, and at SIGHUP when the terminal has hung up.

    Without a terminal SIGHUP asks a server to look at its files again. This one does so by itself,
    so that it only must not be ended by it, as it would be by default.
    """
    loop = asyncio.get_running_loop()
    at_terminal = os.isatty(0)
    loop.add_signal_handler(signal.SIGTERM, stop)
    loop.add_signal_handler(signal.SIGINT, stop)
    loop.add_signal_handler(signal.SIGHUP, stop if at_terminal else _say_that_nothing_is_needed)


def _say_that_nothing_is_needed() -> None:
    logger.info("SIGHUP: certificate and access log are renewed without it; settings at a restart")
