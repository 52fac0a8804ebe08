from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from routes import publishing
from routes.apachedb import ApacheDB, read
from routes.content import Content
from routes.errors import BuildFailed, DamagedDatabase
from routes.keys import InvalidKey, InvalidTarget
from routes.publisher import Publisher
from tests.routes.foreign import write_with_httxt2dbm
from tests.routes.test_gdbm import many
from tests.support.waiting import PATIENCE


class Gate:
    """Stands before each publish: holds it, counts it, lets it fail."""

    def __init__(self) -> None:
        self.published: list[dict[bytes, bytes]] = []
        self.reached = threading.Semaphore(0)
        self.open = threading.Event()
        self.open.set()
        self.error: Exception | None = None

    def pass_through(self, entries: Mapping[bytes, bytes]) -> None:
        self.reached.release()
        assert self.open.wait(PATIENCE)
        if self.error is not None:
            raise self.error
        self.published.append(dict(entries))

    @contextmanager
    def closed(self) -> Iterator[None]:
        self.open.clear()
        try:
            yield
        finally:
            self.open.set()

    async def until_reached(self) -> None:
        assert await asyncio.to_thread(self.reached.acquire, timeout=PATIENCE)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    """The gate before the real publish."""
    gate, original = Gate(), publishing.publish

    def gated(path: Path, content: Content, *rest: Any) -> publishing.Stamp:
        gate.pass_through(content)
        return original(path, content, *rest)

    monkeypatch.setattr(publishing, "publish", gated)
    return gate


@pytest.fixture
async def publisher(database: ApacheDB) -> AsyncIterator[Publisher]:
    publisher = Publisher(database)
    yield publisher
    await publisher.close()


async def test_publishes_that_follow_each_other_leave_time_to_requests(
    database: ApacheDB, path: Path, gate: Gate
) -> None:
    pauses, over = [], asyncio.Event()

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        await over.wait()

    publisher = Publisher(database, pause=pause)
    with gate.closed():
        first = asyncio.create_task(publisher.put("/a", "localhost:1"))
        await gate.until_reached()
        second = asyncio.create_task(publisher.put("/b", "localhost:1"))
        await asyncio.sleep(0)
    await first
    assert len(gate.published) == 1
    third = asyncio.create_task(publisher.put("/c", "localhost:1"))
    over.set()
    await asyncio.gather(second, third)
    assert len(gate.published) == 2, "what comes in a pause goes out with the next publish"
    assert len(pauses) == 1
    assert 0 < pauses[0] <= 0.1
    await publisher.put("/d", "localhost:1")
    assert len(pauses) == 1, "a change that comes alone waits for nothing"
    assert len(read(path)) == 4
    await publisher.close()


async def test_awaited_change_is_in_the_file(publisher: Publisher, path: Path) -> None:
    await publisher.put("/a", "localhost:1")
    assert read(path) == {b"/a": b"localhost:1"}
    await publisher.update({"/b": "localhost:2"}, ["/a"])
    assert read(path) == {b"/b": b"localhost:2"}
    await publisher.delete("/b")
    assert read(path) == {}


async def test_deleting_what_is_not_there_publishes_nothing(
    publisher: Publisher, gate: Gate
) -> None:
    await publisher.delete("/a")
    assert gate.published == []


async def test_deleting_what_is_not_there_waits_for_no_publish(
    publisher: Publisher, gate: Gate
) -> None:
    with gate.closed():
        busy = asyncio.create_task(publisher.put("/a", "localhost:1"), name="busy")
        await gate.until_reached()
        await asyncio.wait_for(publisher.delete("/b"), PATIENCE)
        assert not busy.done()
    await busy


async def test_deleting_what_is_about_to_be_there_waits_for_it(
    publisher: Publisher, gate: Gate, path: Path
) -> None:
    with gate.closed():
        tasks = [asyncio.create_task(publisher.put("/a", "localhost:1"), name="under way")]
        await gate.until_reached()
        tasks.append(asyncio.create_task(publisher.put("/b", "localhost:1"), name="waiting"))
        await asyncio.wait(tasks, timeout=0)
        deletes = [asyncio.create_task(publisher.delete(key), name=key) for key in ("/a", "/b")]
        await asyncio.wait(deletes, timeout=0)
        assert not any(delete.done() for delete in deletes)
    await asyncio.gather(*tasks, *deletes)
    assert read(path) == {}


async def test_deleting_during_a_rebuild_deletes_what_that_brings(
    publisher: Publisher, gate: Gate, path: Path
) -> None:
    with gate.closed():
        rebuild = asyncio.create_task(publisher.replace({"/a": "localhost:1"}), name="rebuild")
        await gate.until_reached()
        delete = asyncio.create_task(publisher.delete("/a"), name="delete")
        await asyncio.wait([delete], timeout=0)
        assert not delete.done()
    await asyncio.gather(rebuild, delete)
    assert read(path) == {}


async def test_changes_that_come_during_a_publish_go_out_together(
    publisher: Publisher, gate: Gate, path: Path
) -> None:
    with gate.closed():
        first = asyncio.create_task(publisher.put("/first", "localhost:1"), name="first")
        await gate.until_reached()
        later = [
            asyncio.create_task(publisher.put(f"/later{n}", "localhost:2"), name=f"later {n}")
            for n in range(50)
        ]
        await asyncio.wait(later, timeout=0)
        assert not any(task.done() for task in later)
    await asyncio.gather(first, *later)
    assert [len(entries) for entries in gate.published] == [1, 51]
    assert len(read(path)) == 51


async def test_later_change_of_a_key_wins(publisher: Publisher, gate: Gate, path: Path) -> None:
    with gate.closed():
        tasks = [asyncio.create_task(publisher.put("/x", "localhost:1"), name="busy")]
        await gate.until_reached()
        changes = [publisher.put("/a", "localhost:1"), publisher.delete("/a")]
        changes.append(publisher.put("/a", "localhost:3"))
        tasks += [asyncio.create_task(change, name="change") for change in changes]
        await asyncio.wait(tasks, timeout=0)
    await asyncio.gather(*tasks)
    assert read(path)[b"/a"] == b"localhost:3"


async def test_changes_one_after_the_other_leave_time_to_requests(database: ApacheDB) -> None:
    pauses = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    publisher = Publisher(database, pause=pause)
    for number in range(5):
        await publisher.put(f"/{number}", "localhost:1")
    assert len(pauses) == 4
    await publisher.close()


async def test_event_loop_runs_while_a_publish_hangs(publisher: Publisher, gate: Gate) -> None:
    with gate.closed():
        task = asyncio.create_task(publisher.put("/a", "localhost:1"), name="slow")
        await gate.until_reached()
        for _ in range(100):
            await asyncio.sleep(0)
        assert not task.done()
    await task


@pytest.mark.parametrize(("seconds", "apart"), [(0.0, 9), (0.0015, 4)])
async def test_those_who_wait_are_told_in_different_turns_of_the_loop(
    database: ApacheDB, gate: Gate, seconds: float, apart: int
) -> None:
    """Each turn takes `seconds`."""
    turn, told = 0, []
    publisher = Publisher(database, clock=lambda: turn * seconds)

    async def put(number: int) -> None:
        await publisher.put(f"/a{number}", "localhost:1")
        told.append((turn, number))

    with gate.closed():
        first = asyncio.create_task(publisher.put("/first", "localhost:1"), name="first")
        await gate.until_reached()
        later = [asyncio.create_task(put(number), name="later") for number in range(20)]
        await asyncio.wait(later, timeout=0)
    while not all(task.done() for task in later):
        turn += 1
        await asyncio.sleep(0)
    await asyncio.gather(first, *later)
    assert [number for _, number in told] == list(range(20))
    turns = [turn for turn, _ in told]
    assert {later - before for before, later in pairwise(turns)} == {apart}, turns
    await publisher.close()


async def test_invalid_change_fails_alone(publisher: Publisher, gate: Gate, path: Path) -> None:
    results = await asyncio.gather(
        publisher.put("/a", "localhost:1"),
        publisher.put("/b c", "localhost:1"),
        publisher.put("/d", "nowhere"),
        return_exceptions=True,
    )
    assert [type(result) for result in results] == [type(None), InvalidKey, InvalidTarget]
    assert read(path) == {b"/a": b"localhost:1"}


async def test_failed_publish_reaches_all_who_wait_and_is_rolled_back(
    publisher: Publisher, gate: Gate, database: ApacheDB, path: Path
) -> None:
    await publisher.put("/a", "localhost:1")
    await gate.until_reached()
    gate.error = BuildFailed(path, "No space left on device")
    with gate.closed():
        busy = asyncio.create_task(publisher.put("/b", "localhost:2"), name="busy")
        await gate.until_reached()
        waiting = [asyncio.create_task(publisher.delete("/a"), name="a") for _ in range(3)]
        await asyncio.wait(waiting, timeout=0)
    results = await asyncio.gather(busy, *waiting, return_exceptions=True)
    assert [type(result) for result in results] == [BuildFailed] * 4
    assert database.entries == read(path) == {b"/a": b"localhost:1"}
    gate.error = None
    await publisher.put("/c", "localhost:3")
    assert read(path) == {b"/a": b"localhost:1", b"/c": b"localhost:3"}


async def test_unexpected_error_reaches_the_caller_too(publisher: Publisher, gate: Gate) -> None:
    gate.error = RuntimeError("what nobody thought of")
    with pytest.raises(RuntimeError, match="nobody thought of"):
        await publisher.put("/a", "localhost:1")
    gate.error = None
    await publisher.put("/a", "localhost:1")


async def test_cancelled_caller_does_not_cancel_its_change(
    publisher: Publisher, gate: Gate, path: Path
) -> None:
    with gate.closed():
        task = asyncio.create_task(publisher.put("/a", "localhost:1"), name="cancelled")
        await gate.until_reached()
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
    await publisher.put("/b", "localhost:2")
    assert set(read(path)) == {b"/a", b"/b"}


async def test_close_finishes_what_was_asked_for(
    publisher: Publisher, gate: Gate, path: Path
) -> None:
    with gate.closed():
        tasks = [asyncio.create_task(publisher.put("/a", "localhost:1"), name="first")]
        await gate.until_reached()
        tasks.append(asyncio.create_task(publisher.put("/b", "localhost:1"), name="second"))
        await asyncio.wait(tasks, timeout=0)
        closing = asyncio.create_task(publisher.close(), name="closing")
        await asyncio.wait([closing], timeout=0)
    await asyncio.gather(closing, *tasks)
    assert set(read(path)) == {b"/a", b"/b"}
    with pytest.raises(RuntimeError, match="is closed"):
        await publisher.put("/c", "localhost:1")


async def test_seconds_of_each_publish_are_told(database: ApacheDB) -> None:
    told: list[float] = []
    publisher = Publisher(database, told.append)
    await publisher.put("/a", "localhost:1")
    await publisher.delete("/nothing")
    await publisher.close()
    assert len(told) == 1
    assert 0 < told[0] < 60


async def test_large_map_is_published_through_the_helper(publisher: Publisher, path: Path) -> None:
    entries = {key.decode(): value.decode() for key, value in many(1200).items()}
    await publisher.update(entries)
    assert read(path) == many(1200)


async def test_reload_takes_in_what_others_added(
    publisher: Publisher, database: ApacheDB, path: Path
) -> None:
    await publisher.put("/ours", "localhost:1")
    write_with_httxt2dbm(path, {b"/theirs": b"localhost:2"})
    await publisher.reload()
    assert database.entries == {b"/ours": b"localhost:1", b"/theirs": b"localhost:2"}


def scribble(path: Path) -> None:
    path.write_bytes(b"scribble")


async def test_replace_mends_a_damaged_file_that_publishes_refuse(
    publisher: Publisher, path: Path
) -> None:
    await publisher.put("/a", "localhost:1")
    scribble(path)
    with pytest.raises(DamagedDatabase):
        await publisher.put("/b", "localhost:2")
    kept = await publisher.replace({"/a": "localhost:1"})
    assert kept is not None
    assert kept.read_bytes() == b"scribble"
    await publisher.put("/b", "localhost:2")
    assert read(path) == {b"/a": b"localhost:1", b"/b": b"localhost:2"}
