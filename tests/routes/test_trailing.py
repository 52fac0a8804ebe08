"""Writes that trail: coalesced, in time, tried again; nothing is real time here."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from pathlib import Path

import pytest

from routes.errors import BuildFailed
from routes.trailing import DELAY, Trailing
from tests.support.waiting import until

FULL = OSError(28, "No space left on device")


class Disk:
    """What is written, a clock, and sleeps that end when the test moves the clock."""

    def __init__(self) -> None:
        self.content: dict[str, str] = {}
        self.writes = 0
        self.error: Exception | None = None
        self.takes = 0.0
        self.now = 100.0
        self.sleeping: list[tuple[float, asyncio.Event]] = []
        self.trailing = Trailing(self.write, "the file", self.sleep, lambda: self.now)

    async def write(self, changes: Mapping[str, str]) -> None:
        self.writes += 1
        await asyncio.sleep(0)
        self.now += self.takes
        if self.error is not None:
            raise self.error
        self.content.update(changes)

    async def sleep(self, seconds: float) -> None:
        over = asyncio.Event()
        self.sleeping.append((self.now + seconds, over))
        await over.wait()

    async def pass_by(self, seconds: float) -> None:
        """Let time pass, and what is due then happen."""
        await until(lambda: bool(self.sleeping))
        self.now += seconds
        due = [one for one in self.sleeping if one[0] <= self.now]
        self.sleeping = [one for one in self.sleeping if one not in due]
        before = self.writes
        for _, over in due:
            over.set()
        if due:
            await until(lambda: self.writes > before and not self.trailing._writing.locked())


async def test_many_changes_are_one_writing_within_the_delay() -> None:
    disk = Disk()
    for number in range(1000):
        disk.trailing.note(f"/{number % 10}", str(number))
    await disk.pass_by(DELAY - 0.01)
    assert disk.writes == 0
    await disk.pass_by(0.01)
    assert disk.writes == 1
    assert disk.content == {f"/{number}": str(990 + number) for number in range(10)}
    assert not disk.sleeping, "nothing is left to do"


async def test_a_file_that_takes_long_is_not_written_all_the_time() -> None:
    disk = Disk()
    disk.takes = 5.0
    disk.trailing.note("/a", "1")
    await disk.pass_by(DELAY)
    disk.trailing.note("/b", "1")
    await disk.pass_by(4.9)
    assert disk.writes == 1
    await disk.pass_by(0.1)
    assert disk.content == {"/a": "1", "/b": "1"}


@pytest.mark.parametrize("error", [FULL, BuildFailed(Path("/f"), "full"), KeyError("a fault")])
async def test_what_fails_is_told_once_and_tried_again_with_what_came_meanwhile(
    caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    disk = Disk()
    disk.error = error
    disk.trailing.note("/a", "old")
    disk.trailing.note("/b", "1")
    with caplog.at_level(logging.WARNING):
        await disk.pass_by(DELAY)
        disk.trailing.note("/a", "new")
        assert disk.trailing.get("/a") == "new"
        for _ in range(20):
            await disk.pass_by(30.0)
        told = [record.getMessage() for record in caplog.records]
        assert disk.writes == 21, "the pause has a bound"
        assert len(told) == 1
        assert "\n" not in told[0]
        expected = isinstance(error, (OSError, BuildFailed))
        assert bool(caplog.records[0].exc_info) is not expected, "a fault of ours is told in full"
        disk.error = None
        await disk.pass_by(30.0)
    assert disk.content == {"/a": "new", "/b": "1"}
    assert disk.trailing.get("/a") is None
    assert caplog.records[-1].getMessage() == "the file: written again"


async def test_flush_writes_at_once_and_says_when_it_cannot() -> None:
    disk = Disk()
    disk.trailing.note("/a", "1")
    await disk.trailing.flush()
    assert disk.content == {"/a": "1"}
    await disk.trailing.flush()
    assert disk.writes == 1
    disk.error = FULL
    disk.trailing.note("/a", "2")
    with pytest.raises(OSError, match="No space"):
        await disk.trailing.flush()
    disk.error = None
    await disk.pass_by(60.0)
    assert disk.content == {"/a": "2"}, "it was not forgotten"


async def test_flush_waits_for_a_writing_that_is_under_way() -> None:
    disk = Disk()
    disk.trailing.note("/a", "1")
    first = asyncio.create_task(disk.trailing.flush())
    await asyncio.sleep(0)
    assert not disk.content
    disk.trailing.note("/b", "1")
    await disk.trailing.flush()
    assert first.done()
    assert disk.content == {"/a": "1", "/b": "1"}


@pytest.mark.parametrize("error", [FULL, KeyError("a fault")])
async def test_close_writes_what_is_left_or_says_that_it_is_lost(
    caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    disk = Disk()
    disk.trailing.note("/a", "1")
    await disk.trailing.close()
    assert disk.content == {"/a": "1"}
    disk.error = error
    disk.trailing.note("/b", "1")
    await disk.trailing.close()
    assert "changes of 1 routes are lost" in caplog.text
    names = {task.get_name() for task in asyncio.all_tasks()}
    assert "trail" not in names


async def test_writing_goes_on_though_who_waited_for_it_left() -> None:
    disk = Disk()
    disk.trailing.note("/a", "1")
    waiting = asyncio.create_task(disk.trailing.flush())
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert disk.trailing.get("/a") == "1"
    await disk.pass_by(DELAY)
    assert disk.content == {"/a": "1"}
