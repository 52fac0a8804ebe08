"""Who waits for a thread, and for how long; no engine."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from gateway.spawners.engine_threads import Threads
from tests.support.waiting import PATIENCE

DEADLINE = 0.5
COUNT = 2


class Answered(Exception):
    """An answer that is an error."""


@pytest.fixture
def threads() -> Iterator[Threads]:
    made = Threads(COUNT, "test", lambda error: isinstance(error, Answered))
    yield made
    made.close()


async def test_waiting_for_a_thread_costs_no_deadline(threads: Threads) -> None:
    began = asyncio.get_running_loop().time()
    never = threading.Event()

    def ask() -> None:
        never.wait(0.4 * DEADLINE)

    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(*(threads.run(ask, DEADLINE) for _ in range(10 * COUNT)))

    assert asyncio.get_running_loop().time() - began > 2 * DEADLINE


async def test_answers_that_are_errors_keep_the_others_waiting(threads: Threads) -> None:
    never = threading.Event()

    def ask() -> None:
        never.wait(0.4 * DEADLINE)
        raise Answered

    told = await asyncio.gather(
        *(threads.run(ask, DEADLINE) for _ in range(10 * COUNT)), return_exceptions=True
    )

    assert [type(one) for one in told] == [Answered] * 10 * COUNT


async def test_who_waits_is_told_when_nothing_is_answered(threads: Threads) -> None:
    release = threading.Event()
    try:
        async with asyncio.timeout(PATIENCE):
            told = await asyncio.gather(
                *(threads.run(lambda: release.wait(PATIENCE), DEADLINE) for _ in range(5 * COUNT)),
                return_exceptions=True,
            )
        assert [type(one) for one in told] == [TimeoutError] * 5 * COUNT
        again = asyncio.create_task(threads.run(lambda: "answer", PATIENCE), name="again")
    finally:
        release.set()
    assert await again == "answer"


async def test_thread_of_a_call_that_was_given_up_is_not_given_away(threads: Threads) -> None:
    """Else the deadline of the next one would count its wait."""
    release, taken = threading.Event(), threading.Event()
    for _ in range(COUNT):
        with pytest.raises(TimeoutError):
            await threads.run(lambda: release.wait(PATIENCE), DEADLINE)
    waiting = asyncio.create_task(threads.run(taken.set, PATIENCE), name="waiting")
    await asyncio.sleep(0)
    assert not taken.is_set()

    release.set()

    await waiting
    assert taken.is_set()


async def test_cancelled_waiter_takes_no_thread(threads: Threads) -> None:
    release = threading.Event()
    holding = [
        asyncio.create_task(threads.run(lambda: release.wait(PATIENCE), PATIENCE), name=f"{turn}")
        for turn in range(COUNT)
    ]
    waiting = asyncio.create_task(threads.run(lambda: "never", PATIENCE), name="waiting")
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])
    release.set()
    await asyncio.gather(*holding)

    told = await asyncio.gather(*(threads.run(lambda: "answer", PATIENCE) for _ in range(COUNT)))

    assert told == ["answer"] * COUNT


async def test_closed_threads_take_up_nothing(threads: Threads) -> None:
    threads.close()

    with pytest.raises(TimeoutError):
        await threads.run(lambda: "answer", DEADLINE)
