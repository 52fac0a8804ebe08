"""The queue of starts: in order, one owner after the other, bounded, with memory to spare."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.activation.admission import (
    Admission,
    AdmissionLimits,
    Ticket,
    available_memory,
)
from gateway.errors import AllPlacesTaken, QueueFull, StartFailed, TooManyRunning
from tests.support.waiting import until

GIGABYTE = 2**30


class Queue:
    """An Admission, and the starts that a test made; they go on until they are ended."""

    def __init__(self, limits: AdmissionLimits) -> None:
        self.memory: int | None = 8 * GIGABYTE
        self.admission = Admission(limits, lambda: self.memory, lambda: None)
        self.order: list[str] = []
        self._ends: dict[str, asyncio.Event] = {}
        self._tickets: dict[str, Ticket] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def start(self, slug: str, owner: str = "", lock: asyncio.Lock | None = None) -> Ticket:
        """Let a start of `owner` (by default one of its own) come."""
        ticket = self.admission.enter(slug, owner or f"owner of {slug}")
        self._tickets[slug], self._ends[slug] = ticket, asyncio.Event()
        self._tasks[slug] = asyncio.create_task(self._run(ticket, lock or asyncio.Lock()))
        return ticket

    async def _run(self, ticket: Ticket, lock: asyncio.Lock) -> None:
        try:
            await self.admission.admit(ticket, lock)
            async with lock:
                self.order.append(ticket.slug)
                await self._ends[ticket.slug].wait()
        finally:
            self.admission.leave(ticket)

    async def settle(self) -> None:
        """Let everybody go as far as they can."""
        for _ in range(20):
            await asyncio.sleep(0)

    async def end(self, slug: str) -> None:
        """End a start, well or not."""
        self._ends[slug].set()
        await self._tasks.pop(slug)
        await self.settle()

    async def cancel(self, slug: str) -> None:
        """Cancel a start, wherever it is."""
        task = self._tasks.pop(slug)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await self.settle()

    def positions(self, *slugs: str) -> list[int]:
        """Return places in the queue."""
        return [self.admission.position(self._tickets[slug]) for slug in slugs]

    async def outcome(self, slug: str) -> BaseException | None:
        """Return what a start ended with."""
        return (await asyncio.gather(self._tasks.pop(slug), return_exceptions=True))[0]

    async def close(self) -> None:
        """Cancel all."""
        self.admission.close()
        for slug in list(self._tasks):
            await self.cancel(slug)


@pytest.fixture
async def queues() -> AsyncIterator[list[Queue]]:
    made: list[Queue] = []
    yield made
    for queue in made:
        await queue.close()


def queue_of(queues: list[Queue], places: int = 1, **limits: int) -> Queue:
    queues.append(Queue(AdmissionLimits(places, **limits)))
    return queues[-1]


async def test_starts_go_in_the_order_in_which_they_came(queues: list[Queue]) -> None:
    queue = queue_of(queues, places=2)
    slugs = [f"n{number}" for number in range(6)]
    for slug in slugs:
        queue.start(slug)
    await queue.settle()
    assert queue.order == slugs[:2]
    assert queue.positions(*slugs) == [0, 0, 1, 2, 3, 4]
    for slug in slugs:
        await queue.end(slug)
    assert queue.order == slugs
    assert (queue.admission.waiting, queue.admission.under_way) == (0, 0)


async def test_positions_move_up_when_others_leave_fail_or_are_cancelled(
    queues: list[Queue],
) -> None:
    queue = queue_of(queues)
    slugs = ["first", "cancelled", "withdrawn", "third", "last"]
    tickets = [queue.start(slug) for slug in slugs]
    await queue.settle()
    assert queue.positions(*slugs) == [0, 1, 2, 3, 4]
    await queue.cancel("cancelled")
    assert queue.positions("withdrawn", "third", "last") == [1, 2, 3]
    assert queue.admission.withdraw(tickets[2], StartFailed("withdrawn", "stopped"))
    assert queue.positions("third", "last") == [1, 2]
    assert isinstance(await queue.outcome("withdrawn"), StartFailed)
    await queue.cancel("first")
    assert queue.order == ["first", "third"]
    assert queue.positions("third", "last") == [0, 1]


async def test_one_that_has_begun_is_not_withdrawn(queues: list[Queue]) -> None:
    queue = queue_of(queues)
    ticket = queue.start("a")
    await queue.settle()
    assert not queue.admission.withdraw(ticket, StartFailed("a", "stopped"))
    await queue.end("a")
    assert queue.order == ["a"]


async def test_owners_take_turns(queues: list[Queue]) -> None:
    queue = queue_of(queues)
    for number in range(5):
        queue.start(f"eve{number}", "eve")
    await queue.settle()
    for slug in ("alice", "bob"):
        queue.start(slug)
    await queue.settle()
    assert queue.positions("eve1", "alice", "bob", "eve2") == [1, 2, 3, 4]
    for slug in ("eve0", "eve1"):
        await queue.end(slug)
    assert queue.order == ["eve0", "eve1", "alice"]
    for slug in ("alice", "bob", "eve2", "eve3", "eve4"):
        await queue.end(slug)
    assert queue.order == ["eve0", "eve1", "alice", "bob", "eve2", "eve3", "eve4"]


async def test_newcomers_hold_nobody_back_for_ever(queues: list[Queue]) -> None:
    queue = queue_of(queues)
    queue.start("eve0", "eve")
    queue.start("eve1", "eve")
    queue.start("other0")
    await queue.settle()
    served = "eve0"
    for number in range(1, 5):
        queue.start(f"other{number}")
        await queue.end(served)
        served = queue.order[-1]
    assert queue.order.index("eve1") <= 2


async def test_last_free_place_is_not_for_who_has_a_start_under_way(queues: list[Queue]) -> None:
    queue = queue_of(queues, places=2)
    queue.start("eve0", "eve")
    queue.start("eve1", "eve")
    await queue.settle()
    assert queue.order == ["eve0"]
    queue.start("alice")
    await queue.settle()
    assert queue.order == ["eve0", "alice"]
    await queue.end("eve0")
    assert queue.order == ["eve0", "alice", "eve1"]


async def test_notebook_that_is_still_stopping_holds_nobody_up(queues: list[Queue]) -> None:
    queue = queue_of(queues)
    lock = asyncio.Lock()
    await lock.acquire()
    queue.start("stopping", lock=lock)
    queue.start("behind")
    queue.start("last")
    await queue.settle()
    assert queue.order == ["behind"]
    assert queue.positions("stopping", "last") == [1, 2], "its place is kept"
    lock.release()
    await queue.settle()
    await queue.end("behind")
    assert queue.order == ["behind", "stopping"]


async def test_notebook_whose_lock_is_taken_when_its_turn_comes_lets_others_go(
    queues: list[Queue],
) -> None:
    queue = queue_of(queues)
    lock = asyncio.Lock()
    queue.start("first")
    queue.start("stopping", lock=lock)
    queue.start("behind")
    await queue.settle()
    await lock.acquire()
    await queue.end("first")
    assert queue.order == ["first", "behind"]
    assert queue.positions("stopping") == [1]
    lock.release()
    await queue.end("behind")
    assert queue.order == ["first", "behind", "stopping"]


async def test_full_queue_refuses_and_says_when_to_come_again(queues: list[Queue]) -> None:
    queue = queue_of(queues, queue_length=2)
    for slug in ("a", "b", "c"):
        queue.start(slug)
        await queue.settle()
    with pytest.raises(QueueFull) as refused:
        queue.start("d")
    assert refused.value.status == 429
    assert refused.value.retry_after
    await queue.end("a")
    queue.start("d")
    await queue.settle()
    assert queue.positions("c", "d") == [1, 2]


async def test_one_owner_cannot_fill_the_queue(queues: list[Queue]) -> None:
    queue = queue_of(queues, queue_length=3)
    for number in range(4):
        queue.start(f"eve{number}", "eve")
        await queue.settle()
    queue.start("alice")
    assert isinstance(await queue.outcome("eve3"), QueueFull)
    with pytest.raises(QueueFull):
        queue.start("eve4", "eve")
    assert queue.positions("eve1", "alice", "eve2") == [1, 2, 3]


async def test_starts_wait_until_there_is_memory(queues: list[Queue]) -> None:
    queue = queue_of(queues, places=2, memory_reserve=GIGABYTE)
    queue.memory = GIGABYTE - 1
    queue.start("a")
    await queue.settle()
    assert queue.order == []
    assert queue.admission.short_of_memory
    queue.memory = GIGABYTE
    await until(lambda: queue.order == ["a"])
    assert not queue.admission.short_of_memory
    queue.memory = None
    queue.start("b")
    await queue.settle()
    assert queue.order == ["a", "b"], "where the system does not tell, nobody waits"


async def test_nobody_who_waits_is_nobody_short_of_memory(queues: list[Queue]) -> None:
    queue = queue_of(queues, memory_reserve=GIGABYTE)
    queue.memory = 0
    queue.start("a")
    await queue.settle()
    await queue.cancel("a")
    assert not queue.admission.short_of_memory


def test_limits_of_running_notebooks_name_the_owners_own() -> None:
    limits = AdmissionLimits(1, per_owner=2, in_all=4)
    running = [("a1", "alice"), ("b1", "bob"), ("a2", "alice")]
    limits.check("bob", running)
    with pytest.raises(TooManyRunning, match="a1, a2") as own:
        limits.check("alice", running)
    assert own.value.status == 409
    with pytest.raises(AllPlacesTaken, match="yours are b1") as all_taken:
        limits.check("bob", [*running, ("c1", "carol")])
    assert "a1" not in str(all_taken.value)
    assert all_taken.value.retry_after


def test_available_memory_is_read_from_the_system(tmp_path: Path) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal:  4000 kB\nMemAvailable:    2000 kB\n")
    assert available_memory(meminfo) == 2_048_000
    meminfo.write_text("MemTotal:  4000 kB\n")
    assert available_memory(meminfo) is None
    assert available_memory(tmp_path / "nothing") is None
    assert available_memory()


async def test_who_steps_aside_comes_back_before_all_that_have_not_begun() -> None:
    admission = Admission(AdmissionLimits(1), lambda: None, lambda: None)
    order: list[str] = []
    pulled = asyncio.Event()

    async def run(slug: str, *, pulls: bool) -> None:
        ticket = admission.enter(slug, slug)
        try:
            await admission.admit(ticket, asyncio.Lock())
            if pulls:
                admission.step_aside(ticket)
                await pulled.wait()
                await admission.come_back(ticket)
            order.append(slug)
            assert admission.under_way == 1
            await asyncio.sleep(0)
        finally:
            admission.leave(ticket)

    async with asyncio.TaskGroup() as group:
        for slug in ("a", "b", "c"):
            group.create_task(run(slug, pulls=True))
        await asyncio.sleep(0)
        group.create_task(run("d", pulls=False))
        await until(lambda: order == ["d"] and not admission.waiting)
        pulled.set()
        group.create_task(run("e", pulls=False))
    assert order == ["d", "a", "b", "c", "e"]
    assert (admission.under_way, admission.waiting) == (0, 0)
