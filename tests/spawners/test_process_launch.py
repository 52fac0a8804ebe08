"""How the process spawner hears from its child."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import uvloop

from gateway.spawners.process_launch import read_all
from tests.support.waiting import PATIENCE

_LOOPS = (asyncio.new_event_loop, uvloop.new_event_loop)
_THREADS, _STARTS = 3, 1000


def broken_files(stop: threading.Event) -> list[OSError]:
    """Open and close files until `stop`; return what went wrong, as when others close them."""
    broken = []
    while not stop.is_set():
        try:
            with Path(os.devnull).open("rb") as file:
                file.read()
        except OSError as error:
            broken.append(error)
    return broken


@pytest.mark.parametrize("loop_factory", _LOOPS)
def test_reading_closes_no_file_of_another_thread(
    loop_factory: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    async def listen() -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            theirs.send(b"claimed\n")
        assert await read_all(ours, PATIENCE) == b"claimed\n"
        assert ours.fileno() == -1

    stop = threading.Event()
    with (
        ThreadPoolExecutor(_THREADS) as threads,
        asyncio.Runner(loop_factory=loop_factory) as runner,
    ):
        others = [threads.submit(broken_files, stop) for _ in range(_THREADS)]
        try:
            for _ in range(_STARTS):
                runner.run(listen())
        finally:
            stop.set()
        assert [one.result() for one in others] == [[]] * _THREADS


@pytest.mark.parametrize("loop_factory", _LOOPS)
def test_child_that_never_ends_what_it_says_is_given_up(
    loop_factory: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    async def listen() -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            theirs.send(b"half")
            assert await read_all(ours, 0.01) == b""
            assert theirs.recv(1) == b"", "it is closed"

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(listen())
