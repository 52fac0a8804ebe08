"""Control and workers over a real socket, in one process: answers, fences, who is let in."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from random import Random

import pytest

from gateway.errors import StartFailed
from gateway.proxy.interface import Activity, RouteEntry
from gateway.traffic import Traffic
from gateway.workers.feed import FedSessions, FedTable, Feed
from gateway.workers.hub import Hub
from gateway.workers.link import Source
from gateway.workers.remote import ControlAway, Refused, Remote, Told
from gateway.workers.replica import Replica
from gateway.workers.tally import Reporter
from routes.keys import Target, parse_target
from tests.support.waiting import PATIENCE

DEADLINE = PATIENCE
KEY, SLUG = "/nb/x", "x"
COLD = RouteEntry(KEY, slug=SLUG, owner="alice")
HOT = RouteEntry(KEY, parse_target("127.0.0.1:9"), SLUG, "alice", secret="s", generation=1)


class Control:
    """A hub over tables of its own; starts and stops are the test's."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "control.sock"
        self.feed = Feed()
        self.table, self.sessions = FedTable(self.feed), FedSessions(self.feed)
        self.asked: list[str] = []
        self.suspected: list[RouteEntry] = []
        self.kept: list[set[int]] = []
        self.may_start = asyncio.Event()
        self.failure: Exception | None = None
        self.activity = Activity()
        source = Source(
            self.feed,
            self.table,
            self.sessions,
            self._ensure,
            self._suspect,
            {SLUG: self.activity}.get,
            Traffic(),
            time.monotonic,
        )
        # All workers are in this process, so they have one process id: one is expected.
        self.hub = Hub(source, "f", 1, self._keep_only, patience=0.2, settle=0.2)

    async def _ensure(self, slug: str) -> RouteEntry:
        self.asked.append(slug)
        await self.may_start.wait()
        if self.failure is not None:
            raise self.failure
        self.table.put(KEY, HOT)
        return HOT

    def _suspect(self, entry: RouteEntry) -> RouteEntry:
        self.suspected.append(entry)
        self.table.put(KEY, COLD)
        return COLD

    async def _keep_only(self, pids: set[int]) -> None:
        self.kept.append(pids)


class Worker:
    """A worker's end."""

    def __init__(self, path: Path, fleet: str = "f") -> None:
        self.forgotten: list[Target] = []
        self.replica = Replica(self.forgotten.append)
        self.reporter = Reporter(Traffic(), self.replica.activities)
        self.remote = Remote(path, fleet, self.replica, self.reporter, lambda slug: f"/nb/{slug}")
        self.task = asyncio.create_task(self.remote.run())

    async def end(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


@pytest.fixture
async def control(tmp_path: Path) -> AsyncIterator[Control]:
    control = Control(tmp_path)
    control.table.put(KEY, COLD)
    await control.hub.start(control.path)
    yield control
    await control.hub.close()


@pytest.fixture
async def worker(control: Control) -> AsyncIterator[Worker]:
    worker = Worker(control.path)
    await asyncio.wait_for(worker.remote.ready.wait(), DEADLINE)
    await control.hub.drained()
    yield worker
    await worker.end()


async def test_the_socket_is_its_owners_alone(control: Control) -> None:
    assert control.path.stat().st_mode & 0o777 == 0o600


async def test_many_that_wait_are_one_question_and_get_the_hot_entry(
    control: Control, worker: Worker
) -> None:
    waits = [asyncio.create_task(worker.remote.ensure(SLUG)) for _ in range(20)]
    await _until(lambda: bool(control.asked))
    waits[0].cancel()
    control.may_start.set()
    found = await asyncio.gather(*waits, return_exceptions=True)
    assert isinstance(found[0], asyncio.CancelledError)
    assert {entry.target for entry in found[1:] if isinstance(entry, RouteEntry)} == {HOT.target}
    assert len([entry for entry in found if isinstance(entry, RouteEntry)]) == 19
    assert control.asked == [SLUG]
    assert (await worker.remote.ensure(SLUG)).secret == "s"
    assert control.asked == [SLUG], "it is hot here: nobody is asked"


async def test_a_failed_start_keeps_its_problem(control: Control, worker: Worker) -> None:
    control.failure = StartFailed(SLUG, "no room", "log", 7.0)
    control.may_start.set()
    with pytest.raises(Told) as told:
        await worker.remote.ensure(SLUG)
    error = told.value
    assert (error.status, error.code, error.retry_after) == (503, "start-failed", 7)
    assert str(error) == str(control.failure)


async def test_who_waits_is_told_when_control_goes(control: Control, worker: Worker) -> None:
    wait = asyncio.create_task(worker.remote.ensure(SLUG))
    await _until(lambda: bool(control.asked))
    await control.hub.close()
    with pytest.raises(ControlAway):
        await wait
    with pytest.raises(ControlAway):
        await worker.remote.ensure(SLUG)


async def test_suspect_goes_to_control_and_its_word_counts(
    control: Control, worker: Worker
) -> None:
    control.may_start.set()
    hot = await worker.remote.ensure(SLUG)
    cold = worker.remote.suspected(hot)
    assert cold is not None
    assert cold.waking
    assert worker.forgotten == [HOT.target]
    await _until(lambda: bool(control.suspected))
    await control.hub.drained()
    now = worker.replica.table.get(KEY)
    assert now is not None
    assert (now.target, now.waking) == (None, False)
    assert (await worker.remote.ensure(SLUG)).target == HOT.target


async def test_suspect_stays_in_use_while_nobody_could_wake_it(
    control: Control, worker: Worker
) -> None:
    control.may_start.set()
    hot = await worker.remote.ensure(SLUG)
    await control.hub.close()
    await _until(lambda: not worker.remote.connected)
    assert worker.remote.suspected(hot) is None
    assert worker.replica.table.get(KEY) is hot


async def test_suspicion_that_control_may_not_have_heard_is_taken_back(
    control: Control, worker: Worker
) -> None:
    control.may_start.set()
    hot = await worker.remote.ensure(SLUG)
    assert worker.remote.suspected(hot) is not hot
    await worker.end()
    assert worker.replica.table.get(KEY) is hot


async def test_drained_means_that_the_target_is_forgotten(control: Control, worker: Worker) -> None:
    random = Random(3)
    for number in range(200):
        target = Target("127.0.0.1", 1 + random.randrange(60_000))
        control.table.put(KEY, RouteEntry(KEY, target, SLUG, "alice", generation=number))
        if random.randrange(2):
            await control.hub.settled()
        control.table.put(KEY, COLD)
        await control.hub.drained()
        now = worker.replica.table.get(KEY)
        assert now is not None
        assert now.target is None
        # It may never have been hot there: then nothing was to be forgotten.
    assert control.kept == []


async def test_stop_does_not_wait_for_ever_for_who_is_not_there(control: Control) -> None:
    await asyncio.wait_for(control.hub.drained(), DEADLINE)
    assert control.kept == [set()], "whoever is not connected may not go on"


async def test_silent_worker_is_ended_and_delays_changes_once(
    control: Control, worker: Worker
) -> None:
    reader, writer = await asyncio.open_unix_connection(control.path)
    writer.write(_hello("f"))
    await reader.readexactly(4)
    await asyncio.wait_for(control.hub.drained(), DEADLINE)
    assert len(control.kept) == 1
    writer.transport.abort()


@pytest.mark.parametrize("fleet", ["another"])
async def test_worker_of_another_supervisor_is_sent_away(control: Control, fleet: str) -> None:
    worker = Worker(control.path, fleet)
    with pytest.raises(Refused, match="another supervisor"):
        await asyncio.wait_for(worker.task, DEADLINE)


async def test_new_control_is_followed_and_told_what_goes_on(
    control: Control, worker: Worker, tmp_path: Path
) -> None:
    worker.replica.activities[SLUG].websockets = 2
    await _until(lambda: control.activity.websockets == 2)
    await control.hub.close()
    assert control.activity.websockets == 0
    again = Control(tmp_path)
    again.table.put(KEY, HOT)
    again.table.put("/new", RouteEntry("/new"))
    await again.hub.start(again.path)
    await _until(lambda: worker.replica.epoch == again.feed.epoch)
    assert len(worker.replica.table) == 2
    await _until(lambda: again.activity.websockets == 2)
    await again.hub.close()


async def test_who_says_nothing_sensible_is_let_go(control: Control, worker: Worker) -> None:
    for data in (b"\xff" * 8, b"\0\0\0\x0b" + b'{"t":"bye"}', _hello("f")[:-1] + b"!"):
        reader, writer = await asyncio.open_unix_connection(control.path)
        writer.write(data)
        with contextlib.suppress(ConnectionError):
            await asyncio.wait_for(reader.read(), DEADLINE)
        writer.transport.abort()
    control.table.put("/still", RouteEntry("/still"))
    await _until(lambda: worker.replica.table.get("/still") is not None)


def _hello(fleet: str) -> bytes:
    body = b'{"t":"hello","version":1,"pid":1,"fleet":"%b"}' % fleet.encode()
    return len(body).to_bytes(4, "big") + body


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE):
        while not condition():  # noqa: ASYNC110 - conditions of many kinds, without events
            await asyncio.sleep(0.005)
