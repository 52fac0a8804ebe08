"""Maps by which httpd admits people, on a disk that can be full, or stuck."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from routes import secretmap
from routes.admission import AdmissionMap
from routes.apachedb import ApacheDB, read
from routes.content import Changes
from routes.errors import BuildFailed, DamagedDatabase
from routes.publisher import Publisher

EDGES = {name: letter * 48 for name, letter in (("alice", "a"), ("bob", "b"), ("carol", "c"))}


class Gate:
    """Where a thread stays until the test lets it go on, once for each time it comes."""

    def __init__(self) -> None:
        self.came = 0
        self._goes_on = threading.Semaphore(0)

    def hold(self) -> None:
        self.came += 1
        self._goes_on.acquire()

    def let_go(self, times: int = 1) -> None:
        self._goes_on.release(times)


class Disk(ApacheDB):
    """A map on a disk that can be full, or stuck."""

    full = False
    goes_on: threading.Event | None = None
    held = False
    rebuilds: Gate | None = None

    def __init__(self, path: Path) -> None:
        super().__init__(path, secretmap.MODE, str, derived=True)
        self.were_in: set[str] = set()  # whom what was written has let in, since this was cleared

    def let_go(self) -> None:
        """Hold nothing any more."""
        if self.goes_on is not None:
            self.goes_on.set()
        if self.rebuilds is not None:
            self.rebuilds.let_go(100)

    def change(self, changes: Changes) -> None:
        if self.goes_on is not None:
            self.held = True
            self.goes_on.wait()
        if self.full:
            raise BuildFailed(self.path, "No space left on device")
        super().change(changes)
        self._look()

    def rebuild(self, entries: Mapping[bytes, bytes]) -> Path | None:
        if self.rebuilds is not None:
            self.rebuilds.hold()
        kept = super().rebuild(entries)
        self._look()
        return kept

    def _look(self) -> None:
        self.were_in |= {value.decode() for value in read(self.path).values()}


class Made:
    """A map with alice and bob in it."""

    def __init__(self, disk: Disk, published: AdmissionMap) -> None:
        self.disk, self.map = disk, published

    def people(self) -> list[str]:
        """Return whom httpd would admit."""
        try:
            return sorted(value.decode() for value in read(self.map.path).values())
        except DamagedDatabase:
            assert not self.map.path.exists()
            return []


async def _never(_: float) -> None:
    """Nothing is tried again by itself."""
    await asyncio.Event().wait()


@asynccontextmanager
async def map_of_two(path: Path, patience: float) -> AsyncIterator[Made]:
    """Make a map with alice and bob in it; an end waits `patience` seconds until it is written."""
    async with AsyncExitStack() as stack:
        disk = Disk(path)
        stack.callback(disk.close)
        publisher = Publisher(disk)
        stack.push_async_callback(publisher.close)
        published = AdmissionMap(publisher, "map", _never, patience=patience)
        stack.push_async_callback(published.close)
        published.prepare()
        for name in ("alice", "bob"):
            published.put(EDGES[name], name)
        await published.flush()
        disk.were_in.clear()
        stack.callback(disk.let_go)
        yield Made(disk, published)


def spare_of(made: Made) -> Path:
    """Return where the empty map is that takes the place of one that cannot be written."""
    return made.map.path.with_name(f".{made.map.path.name}.empty")


def told(caplog: pytest.LogCaptureFixture, level: int) -> list[str]:
    """Return what the map itself has logged."""
    return [
        one.getMessage()
        for one in caplog.records
        if one.name == "routes.admission" and one.levelno == level
    ]
