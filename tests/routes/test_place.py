"""The place of a map is reopened when nothing is on its way there any more."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from routes.stopgap import Stopgap
from tests.routes.maps import EDGES, Gate, map_of_two
from tests.support.waiting import PATIENCE, until


async def test_rebuilding_that_nobody_waits_for_any_more_lets_nobody_in_again(path: Path) -> None:
    """Who asked for it has gone, so the next writing begins while it is still under way."""
    async with map_of_two(path, patience=0.01) as made:
        rebuilds = made.disk.rebuilds = Gate()
        asked = asyncio.create_task(made.map.rebuild({EDGES["alice"]: "alice"}))
        await until(lambda: rebuilds.came == 1)
        made.map.drop(EDGES["alice"])
        await made.map.enforce()
        assert made.people() == []
        asked.cancel()
        await asyncio.wait({asked})
        for _ in range(20):  # so that what waited for its turn has it
            await asyncio.sleep(0)
        rebuilds.let_go(3)
        await made.map.flush()
        assert made.disk.were_in <= {"bob"}
        assert not made.map.withheld


async def test_rebuilding_is_done_though_the_map_is_emptied_meanwhile(path: Path) -> None:
    async with map_of_two(path, patience=0.01) as made:
        rebuilds = made.disk.rebuilds = Gate()
        asked = asyncio.create_task(
            made.map.rebuild({EDGES[name]: name for name in ("alice", "bob")})
        )
        await until(lambda: rebuilds.came == 1)
        made.map.drop(EDGES["alice"])
        await made.map.enforce()
        assert made.people() == []
        rebuilds.let_go(10)
        await asked
        assert made.people() == ["bob"]
        assert made.disk.were_in == {"bob"}
        assert not made.map.withheld


async def test_rebuilding_does_not_hold_the_gateway_up_while_a_map_is_being_emptied(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, goes_on, in_time = threading.Event(), threading.Event(), []
    empty = Stopgap._empty

    def held(stopgap: Stopgap) -> None:
        begun.set()
        in_time.append(goes_on.wait(PATIENCE))
        empty(stopgap)

    async with map_of_two(path, patience=0.01) as made:
        monkeypatch.setattr(Stopgap, "_empty", held)
        monkeypatch.setattr("routes.admission.WITHHOLD_SECONDS", 0.01)
        made.disk.full = True
        made.map.drop(EDGES["alice"])
        await made.map.enforce()
        await until(begun.is_set)
        made.disk.full = False
        asked = asyncio.create_task(made.map.rebuild({EDGES["bob"]: "bob"}))
        for _ in range(20):
            await asyncio.sleep(0)
        goes_on.set()
        await asked
        assert in_time[0], "the gateway's own loop was held"
        await made.map.flush()
        assert made.people() == ["bob"]
