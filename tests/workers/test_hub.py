"""Control and workers over a real socket, in one process: answers, fences, who is let in."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from random import Random
from typing import Any

import pytest

from gateway.errors import StartFailed
from gateway.proxy.interface import Activity, RouteEntry
from gateway.traffic import Traffic
from gateway.workers.feed import FedSessions, FedTable, Feed
from gateway.workers.frames import VERSION
from gateway.workers.hub import Hub
from gateway.workers.link import Source
from gateway.workers.remote import ControlAway, Refused, Remote, Told
from gateway.workers.replica import Replica
from gateway.workers.roll import Roll
from gateway.workers.tally import Reporter
from routes.keys import Target, parse_target
from tests.support.waiting import PATIENCE

DEADLINE = PATIENCE
KEY, SLUG = "/nb/x", "x"
PATIENCE_OF_HUB = 3.0
SOMEBODY = 2**22  # no process id is as large
COLD = RouteEntry(KEY, slug=SLUG, owner="alice")
HOT = RouteEntry(KEY, parse_target("127.0.0.1:9"), SLUG, owner="alice", secret="s", generation=1)


class Control:
    """A hub over tables of its own; starts and stops are the test's."""

    def __init__(self, folder: Path, before: tuple[int, ...] = ()) -> None:
        self.now = 0.0
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
            {KEY: self.activity}.get,
            Traffic(),
            lambda: self.now,
        )
        # All workers are in this process, so they have one process id.
        self.roll = Roll(before)
        self.hub = Hub(
            source, "f", self.roll, self._keep_only, patience=PATIENCE_OF_HUB, settle=PATIENCE
        )

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


@contextlib.asynccontextmanager
async def running(control: Control) -> AsyncIterator[Control]:
    """Serve `control`'s socket."""
    control.table.put(KEY, COLD)
    await control.hub.start(control.path)
    try:
        yield control
    finally:
        await control.hub.close()


async def waiting_for(coming: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Return the task of a stop that has begun to wait."""
    task = asyncio.create_task(coming)
    for _ in range(5):
        await asyncio.sleep(0)
    assert not task.done()
    return task


@contextlib.asynccontextmanager
async def silent(control: Control, *, fresh: bool) -> AsyncIterator[None]:
    """Be a worker that gets its snapshot and never says a word again."""
    reader, writer = await asyncio.open_unix_connection(control.path)
    writer.write(_hello("f", fresh=fresh))
    await asyncio.wait_for(reader.readexactly(4), DEADLINE)
    try:
        yield
    finally:
        writer.transport.abort()


class Worker:
    """A worker's end."""

    def __init__(self, path: Path | str, fleet: str = "f") -> None:
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
    async with running(Control(tmp_path)) as control:
        yield control


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
        control.table.put(KEY, RouteEntry(KEY, target, SLUG, owner="alice", generation=number))
        if random.randrange(2):
            await control.hub.settled()
        control.table.put(KEY, COLD)
        await control.hub.drained()
        now = worker.replica.table.get(KEY)
        assert now is not None
        assert now.target is None
        # It may never have been hot there: then nothing was to be forgotten.
    assert control.kept == []


async def test_drained_means_that_what_was_sent_to_the_target_is_known(
    control: Control, worker: Worker
) -> None:
    for number in range(1, 20):
        control.table.put(KEY, HOT)
        await control.hub.settled()
        seen = worker.replica.activities[KEY]
        seen.last, seen.requests = float(number), number % 3
        control.table.put(KEY, COLD)
        await control.hub.drained()
        assert control.activity == Activity(float(number), number % 3, 0)


async def test_stop_does_not_wait_for_ever_for_who_is_not_there(tmp_path: Path) -> None:
    async with running(Control(tmp_path, before=(SOMEBODY,))) as control:
        stop = await waiting_for(control.hub.drained())
        control.now += PATIENCE_OF_HUB
        control.roll.ended(SOMEBODY + 1)
        await asyncio.wait_for(stop, DEADLINE)
        assert control.kept == [set()], "whoever is not connected may not go on"
        await asyncio.wait_for(control.hub.drained(), DEADLINE)
        assert len(control.kept) == 1, "and is not waited for again"


async def test_stop_does_not_wait_for_a_worker_that_has_ended(tmp_path: Path) -> None:
    async with running(Control(tmp_path, before=(SOMEBODY,))) as control:
        stop = await waiting_for(control.hub.drained())
        control.roll.ended(SOMEBODY)
        await asyncio.wait_for(stop, DEADLINE)
        await asyncio.wait_for(control.hub.drained(), DEADLINE)
    assert (control.kept, control.now) == ([], 0.0)


async def test_stop_does_not_wait_for_a_worker_that_has_just_started(control: Control) -> None:
    await asyncio.wait_for(control.hub.drained(), DEADLINE)  # none has come yet
    control.table.put(KEY, HOT)
    control.table.put(KEY, COLD)
    async with silent(control, fresh=True):
        await asyncio.wait_for(control.hub.drained(), DEADLINE)  # its first snapshot has it cold
        control.table.put(KEY, HOT)
        control.table.put(KEY, COLD)
        stop = await waiting_for(control.hub.drained())
        control.now += PATIENCE_OF_HUB
        control.roll.ended(SOMEBODY)
        await asyncio.wait_for(stop, DEADLINE)
    assert len(control.kept) == 1, "the snapshot was older than this change"


async def test_silent_worker_is_ended(control: Control, worker: Worker) -> None:
    async with silent(control, fresh=False):
        stop = await waiting_for(control.hub.drained())
        control.now += PATIENCE_OF_HUB
        control.roll.ended(SOMEBODY)
        await asyncio.wait_for(stop, DEADLINE)
    assert len(control.kept) == 1


@pytest.mark.parametrize("fleet", ["another"])
async def test_worker_of_another_supervisor_is_sent_away(control: Control, fleet: str) -> None:
    worker = Worker(control.path, fleet)
    with pytest.raises(Refused, match="another supervisor"):
        await asyncio.wait_for(worker.task, DEADLINE)


async def test_processes_of_another_user_are_let_go_unheard(
    control: Control, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    own = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: own + 1)
    for _ in range(20):
        reader, writer = await asyncio.open_unix_connection(control.path)
        async with asyncio.timeout(DEADLINE):
            assert await reader.read() == b""  # though it has not said a word
        writer.close()
        await writer.wait_closed()

    assert not control.hub._serving
    assert caplog.text.count("another user") == 1


async def test_socket_that_is_there_already_is_served(tmp_path: Path) -> None:
    """Its name may be in no directory."""
    with socket.socket(socket.AF_UNIX) as place:
        name = f"\0nbgate-test-{os.getpid()}"
        place.bind(name)
        place.listen()
        place.setblocking(False)
        made = Control(tmp_path)
        await made.hub.start(place)
        worker = Worker(name)
        # Nothing has ever changed, and what comes first is waited for all the same.
        await asyncio.wait_for(worker.remote.ready.wait(), DEADLINE)
        await _until(lambda: any(link.applied for link in made.hub._links))
        made.table.put(KEY, HOT)
        await made.hub.settled()
        assert worker.replica.table.get(KEY) is not None
        await worker.end()
        await made.hub.close()


async def test_new_control_is_followed_and_told_what_goes_on(
    control: Control, worker: Worker, tmp_path: Path
) -> None:
    worker.replica.activities[KEY].websockets = 2
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


def _hello(fleet: str, *, fresh: bool = False) -> bytes:
    hello = {"t": "hello", "version": VERSION, "pid": 1, "fleet": fleet, "fresh": fresh}
    body = json.dumps(hello).encode()
    return len(body).to_bytes(4, "big") + body


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE):
        while not condition():  # noqa: ASYNC110 - conditions of many kinds, without events
            await asyncio.sleep(0.005)
