"""The maps by which httpd admits people: who is out is out of the file, or else everybody is."""

from __future__ import annotations

import asyncio
import logging
import shutil
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gateway.activation.following import FOLLOW_SECONDS
from gateway.app.admission import LOOK_SECONDS
from routes import secretmap
from routes.admission import WITHHOLD_SECONDS, WRITE_SECONDS
from routes.apachedb import ApacheDB
from routes.errors import BuildFailed
from routes.stopgap import Stopgap
from tests.routes.maps import EDGES, Gate, Made, map_of_two, spare_of, told
from tests.support.waiting import PATIENCE, until

SPARES: dict[str, Callable[[Made], None]] = {
    "spare": lambda _: None,
    "no spare": lambda made: spare_of(made).unlink(),
}


@pytest.fixture
async def made(path: Path) -> AsyncIterator[Made]:
    async with map_of_two(path, patience=PATIENCE) as made:
        yield made


async def test_who_was_dropped_is_out_of_the_file_on_return(made: Made) -> None:
    made.map.drop(EDGES["alice"])
    assert made.people() == ["alice", "bob"]
    await made.map.enforce()
    assert made.people() == ["bob"]


def test_an_end_reaches_httpd_in_two_seconds_whatever_the_disk_does() -> None:
    seen = max(LOOK_SECONDS, FOLLOW_SECONDS)  # here, or at another gateway
    assert seen + WRITE_SECONDS + WITHHOLD_SECONDS <= 2.0


@pytest.mark.parametrize("spare", SPARES)
async def test_map_without_room_is_emptied_until_there_is(
    made: Made, spare: str, caplog: pytest.LogCaptureFixture
) -> None:
    SPARES[spare](made)
    made.disk.full = True
    for name in ("alice", "carol"):
        made.map.put(EDGES["carol"], "carol")
        made.map.drop(EDGES[name])
        await made.map.enforce()
        assert made.people() == []
        assert made.map.withheld
    (line,) = told(caplog, logging.ERROR)
    assert "make room on its disk" in line
    assert "No space left on device" in line
    made.disk.full = False
    made.map.put(EDGES["carol"], "carol")
    await made.map.flush()
    assert made.people() == ["bob", "carol"]
    assert not made.map.withheld
    assert len(told(caplog, logging.WARNING)) == 1
    made.disk.full = True
    made.map.drop(EDGES["bob"])
    await made.map.enforce()
    assert made.people() == []
    assert made.map.path.exists(), "httpd does not start without it"
    assert secretmap.check(made.map.path, wanted=True) == []
    made.disk.full = False


async def test_next_gateway_goes_on_from_an_emptied_map(made: Made, tmp_path: Path) -> None:
    made.disk.full = True
    made.map.drop(EDGES["alice"])
    await made.map.enforce()
    copy = shutil.copy(made.map.path, tmp_path / "next.gdbm")
    with ApacheDB(copy, secretmap.MODE, str, derived=True) as again:
        assert again.entries == {}
    made.disk.full = False


async def test_who_comes_and_cannot_be_written_puts_nobody_out(made: Made) -> None:
    made.disk.full = True
    made.map.put(EDGES["carol"], "carol")
    with pytest.raises(BuildFailed):
        await made.map.flush()
    assert made.people() == ["alice", "bob"]
    assert not made.map.withheld
    made.disk.full = False


async def test_map_that_can_neither_be_written_nor_removed_is_told(
    made: Made, caplog: pytest.LogCaptureFixture
) -> None:
    """As on a disk that has become read-only; here a folder is in the way."""
    made.map.path.unlink()
    made.map.path.mkdir()
    (made.map.path / "something").touch()
    for _ in range(2):
        made.map.drop(EDGES["alice"])
        await made.map.enforce()
        assert made.map.stale
        assert not made.map.withheld
    (line,) = told(caplog, logging.ERROR)
    assert "stop httpd" in line
    (made.map.path / "something").unlink()
    made.map.path.rmdir()
    await made.map.flush()
    assert made.people() == ["bob"]
    assert not made.map.stale


async def test_rebuilding_lets_in_nobody_who_is_out(made: Made) -> None:
    made.disk.full = True
    made.map.drop(EDGES["alice"])
    await made.map.enforce()
    await made.map.rebuild({EDGES[name]: name for name in ("alice", "bob")})
    assert made.people() == ["bob"]
    assert not made.map.withheld
    made.disk.full = False


async def test_emptying_waits_for_no_other_work_in_threads(made: Made) -> None:
    busy, over = ThreadPoolExecutor(1), threading.Event()
    asyncio.get_running_loop().set_default_executor(busy)
    busy.submit(over.wait)
    try:
        made.disk.full = True
        made.map.drop(EDGES["alice"])
        await made.map.enforce()
        assert made.people() == []
        assert made.map.withheld
    finally:
        made.disk.full = False
        over.set()


async def test_emptying_that_takes_too_long_is_told_and_happens(
    made: Made, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    gate, placed = Gate(), Stopgap.put_in_place

    def held(stopgap: Stopgap) -> None:
        gate.hold()
        placed(stopgap)

    monkeypatch.setattr("routes.admission.WITHHOLD_SECONDS", 0.01)
    monkeypatch.setattr(Stopgap, "put_in_place", held)
    made.disk.full = True
    made.map.drop(EDGES["alice"])
    await made.map.enforce()
    assert made.map.stale
    assert made.people() == ["alice", "bob"]
    gate.let_go()
    await until(lambda: not made.map.stale)
    assert made.people() == []
    assert made.map.withheld
    stale, emptied = told(caplog, logging.ERROR)
    assert "stop httpd" in stale
    assert "emptied" in emptied
    gate.let_go(10)
    made.disk.full = False
    await made.map.flush()
    assert made.people() == ["bob"]
