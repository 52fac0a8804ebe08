"""The signals that every serving process heeds."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from collections.abc import AsyncIterator

import pytest

from gateway.loop import heed_signals, run
from tests.proxy.wire import until

HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@pytest.fixture(autouse=True)
async def handlers() -> AsyncIterator[None]:
    """Leave the process's handlers as they were."""
    yield
    for number in HANDLED:
        asyncio.get_running_loop().remove_signal_handler(number)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_stop(number: signal.Signals) -> None:
    stopping = asyncio.Event()
    heed_signals(stopping.set)
    os.kill(os.getpid(), number)
    await until(stopping.is_set)


async def test_a_terminal_that_has_hung_up_stops_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.isatty", lambda descriptor: descriptor == 0)
    stopping = asyncio.Event()
    heed_signals(stopping.set)
    os.kill(os.getpid(), signal.SIGHUP)
    await until(stopping.is_set)


async def test_without_a_terminal_hang_up_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("os.isatty", lambda descriptor: False)
    caplog.set_level("INFO")
    stopping = asyncio.Event()
    heed_signals(stopping.set)
    os.kill(os.getpid(), signal.SIGHUP)
    await until(lambda: "SIGHUP" in caplog.text)
    assert not stopping.is_set()


def test_a_serving_process_collects_rarely() -> None:
    before = gc.get_threshold()
    try:
        assert run(asyncio.sleep(0, gc.get_threshold()))
        assert gc.get_threshold()[0] > before[0]
    finally:
        gc.set_threshold(*before)
