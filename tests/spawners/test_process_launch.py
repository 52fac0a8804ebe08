"""How the process spawner hears from its child."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

import pytest
import uvloop

from gateway.spawners.process_launch import read_pipe
from tests.support.waiting import PATIENCE

_LOOPS = (asyncio.new_event_loop, uvloop.new_event_loop)


def is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


async def some_turns() -> None:
    """Let the loop carry out what it put off, closing descriptors above all."""
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.mark.parametrize("loop_factory", _LOOPS)
def test_pipe_is_read_to_its_end_and_closed_once(
    loop_factory: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    async def listen() -> None:
        reader, writer = os.pipe()
        os.write(writer, b"claimed\n")
        os.close(writer)
        assert await read_pipe(reader, PATIENCE) == b"claimed\n"
        # Whoever opens a file next gets the lowest number that is free: the pipe's, if it is.
        others = [os.open(os.devnull, os.O_RDONLY) for _ in range(3)]
        await some_turns()
        closed = [descriptor for descriptor in others if not is_open(descriptor)]
        assert not closed, "somebody else's file was closed"
        for descriptor in others:
            os.close(descriptor)
        assert not is_open(reader)

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(listen())


@pytest.mark.parametrize("loop_factory", _LOOPS)
def test_pipe_that_is_never_closed_is_given_up(
    loop_factory: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    async def listen() -> None:
        reader, writer = os.pipe()
        os.write(writer, b"half")
        assert await read_pipe(reader, 0.01) == b""
        await some_turns()
        assert not is_open(reader)
        os.close(writer)

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(listen())
