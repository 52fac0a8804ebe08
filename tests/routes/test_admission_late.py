"""A map that was emptied: what was being written then, or waited to be, lets nobody in again."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from routes import publishing
from tests.routes.maps import EDGES, Gate, map_of_two, spare_of
from tests.support.waiting import until


async def test_stuck_disk_is_not_waited_for(path: Path) -> None:
    async with map_of_two(path, patience=0.01) as made:
        goes_on = made.disk.goes_on = threading.Event()
        made.map.drop(EDGES["alice"])
        await made.map.enforce()
        assert made.people() == []
        assert made.map.withheld
        goes_on.set()
        await made.map.flush()
        assert made.people() == ["bob"]
        assert not made.map.withheld


async def test_what_was_stuck_brings_back_nobody_who_is_out_by_then(path: Path) -> None:
    """The file that is put in place at last is of a moment before the second end."""
    async with map_of_two(path, patience=0.01) as made:
        spare_of(made).unlink()
        goes_on = made.disk.goes_on = threading.Event()
        made.map.drop(EDGES["alice"])
        await made.map.enforce()
        made.map.drop(EDGES["bob"])
        await made.map.enforce()
        goes_on.set()
        await made.map.flush()
        assert made.people() == []


async def test_file_on_its_way_is_not_put_over_the_emptied_one(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was begun before the end, is written already, and takes long to sync."""
    gate, dated = Gate(), publishing._date

    def hold_first(handle: int, last: int) -> None:
        if not gate.came:
            gate.hold()
        dated(handle, last)

    async with map_of_two(path, patience=0.01) as made:
        monkeypatch.setattr(publishing, "_date", hold_first)
        made.map.put(EDGES["carol"], "carol")
        earlier = asyncio.create_task(made.map.flush())
        await until(lambda: gate.came == 1)
        made.map.drop(EDGES["alice"])
        await made.map.enforce()
        assert made.people() == []
        assert made.map.withheld
        gate.let_go()
        await earlier
        await made.map.flush()
        assert made.people() == ["bob", "carol"]
        assert made.disk.were_in == {"bob", "carol"}
        assert not made.map.withheld


async def test_earlier_change_that_comes_late_lets_nobody_in_again(path: Path) -> None:
    """It was not even begun when the file was emptied."""
    async with map_of_two(path, patience=0.01) as made:
        goes_on = made.disk.goes_on = threading.Event()
        rebuilds = made.disk.rebuilds = Gate()
        made.map.put(EDGES["carol"], "carol")
        earlier = asyncio.create_task(made.map.flush())
        await until(lambda: made.disk.held)
        made.map.drop(EDGES["alice"])
        await made.map.enforce()
        await until(lambda: spare_of(made).exists())
        goes_on.set()
        await until(lambda: rebuilds.came == 1)
        assert made.disk.were_in == {"bob", "carol"}, "alice was not in, even for a moment"
        assert made.map.path.exists(), "httpd does not start without it"
        rebuilds.let_go()
        await earlier
        assert made.people() == ["bob", "carol"], "the end is written without a pause"
        await made.map.flush()
        assert made.people() == ["bob", "carol"]
        assert made.disk.were_in == {"bob", "carol"}
        assert not made.map.withheld


async def test_end_while_people_are_put_back_lets_nobody_in_again(path: Path) -> None:
    async with map_of_two(path, patience=0.01) as made:
        goes_on = made.disk.goes_on = threading.Event()
        rebuilds = made.disk.rebuilds = Gate()
        made.map.drop(EDGES["alice"])
        await made.map.enforce()
        goes_on.set()
        await until(lambda: rebuilds.came == 1)
        made.map.drop(EDGES["bob"])
        await made.map.enforce()
        await until(lambda: spare_of(made).exists())
        rebuilds.let_go()
        await until(lambda: rebuilds.came == 2)
        assert made.people() == []
        assert made.map.withheld
        rebuilds.let_go()
        await made.map.flush()
        assert made.people() == []
        assert not made.map.withheld
