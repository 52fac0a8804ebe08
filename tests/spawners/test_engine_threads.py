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


class Calls:
    """Calls that take 0.4 of their deadline each, by the loop's clock, which this moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        loop = asyncio.get_running_loop()
        self.began = self.now = loop.time()
        self._all = threading.Barrier(COUNT + 1)
        monkeypatch.setattr(loop, "time", lambda: self.now)

    def ask(self) -> None:
        """Be taken up, and be answered; in a thread."""
        for _ in ("taken up", "answered"):
            self._all.wait(PATIENCE)

    async def answer(self, waves: int) -> None:
        """Answer so many times as many calls as there are threads."""
        for _ in range(waves):
            await asyncio.to_thread(self._all.wait, PATIENCE)
            self.now += 0.4 * DEADLINE
            await asyncio.to_thread(self._all.wait, PATIENCE)


async def test_waiting_for_a_thread_costs_no_deadline(
    threads: Threads, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = Calls(monkeypatch)

    await asyncio.gather(
        *(threads.run(calls.ask, DEADLINE) for _ in range(10 * COUNT)), calls.answer(10)
    )

    assert calls.now - calls.began > 2 * DEADLINE


async def test_answers_that_are_errors_keep_the_others_waiting(
    threads: Threads, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = Calls(monkeypatch)

    def ask() -> None:
        calls.ask()
        raise Answered

    *told, _ = await asyncio.gather(
        *(threads.run(ask, DEADLINE) for _ in range(10 * COUNT)),
        calls.answer(10),
        return_exceptions=True,
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
