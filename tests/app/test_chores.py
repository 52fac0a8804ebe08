"""What goes on until the gateway ends goes on whatever fails."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

import pytest

from gateway.app.chores import each, lasting
from tests.support.waiting import until


@pytest.mark.parametrize("error", [ValueError("a row of a newer version"), OSError("disk full")])
async def test_chore_that_fails_begins_anew_and_is_said_to_have_failed(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    begun: list[int] = []

    async def work() -> None:
        begun.append(1)
        if len(begun) < 3:
            raise error
        await asyncio.Event().wait()

    with caplog.at_level(logging.ERROR):
        chore = lasting("following", work, again=0.0)
        await until(lambda: len(begun) == 3)
    assert not chore.done()
    told = [record.getMessage() for record in caplog.records]
    assert told == ["following failed; it begins anew"] * 2
    chore.cancel()
    with suppress(asyncio.CancelledError):
        await chore
    assert chore.cancelled()


async def test_housework_that_fails_keeps_none_behind_it_from_being_done() -> None:
    done: list[str] = []

    async def work() -> None:
        done.append("done")

    async def full() -> None:
        raise OSError("disk full")

    async def odd() -> None:
        raise ValueError("odd")

    await each([("one", full), ("two", odd), ("three", work)])
    assert done == ["done"]
