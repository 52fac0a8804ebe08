"""No room on the disk: while routes are published, and while the database is written."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from routes.apachedb import read
from tests.spawners.helpers import eventually
from tests.support.engine import EngineHandle
from tests.support.faults import PROJECT, StubGateway, fill, small_disk, stub_gateway


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk") as folder:
        yield folder


async def works(client: aiohttp.ClientSession, url: str) -> None:
    async with client.get(url) as answer:
        assert (answer.status, await answer.text()) == (200, "{}")


def refused(gateway: StubGateway, *words: str) -> str:
    """Run a command that fails; return the one line that it says."""
    result = gateway.run(*words)
    assert result.returncode == 1, result
    (line,) = result.stderr.strip().splitlines()
    return line


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


async def nothing_half_written(folder: Path) -> set[str]:
    """Return the names of what is there, once it is nothing half-written: it is tried again."""
    found: set[str] = set()

    async def is_so() -> bool:
        found.clear()
        found.update(await asyncio.to_thread(names_in, folder))
        return not any(name.endswith(".nbgate-new") for name in found)

    await eventually(is_so, "nothing is half-written")
    return found


async def test_routes_that_cannot_be_written_stay_as_they_were(
    disk: Path, tmp_path: Path, engine: EngineHandle, misbehaving_image: str
) -> None:
    file = disk / "routes" / "routes.gdbm"
    settings = {"route_file": str(file), "httpd_direct": "true"}
    with stub_gateway(tmp_path / "state", engine, misbehaving_image, **settings) as gateway:
        async with gateway.person() as client, gateway.person("hot") as hot:
            gateway.nbgate("route", "set", "/first", "127.0.0.1:9")
            await works(hot, gateway.page("hello", "hot"))
            before = read(file)
            filler = fill(disk)
            line = await asyncio.to_thread(refused, gateway, "route", "set", "/late", "127.0.0.1:9")
            assert "no space left" in line.lower()
            assert str(file.parent) in line
            assert read(file) == before
            assert gateway.nbgate("route", "check") == "the route file is sound"
            assert "/late" not in gateway.nbgate("route", "list")
            await works(hot, gateway.page("hello", "hot"))
            await works(client, gateway.page("hello"))  # the gateway serves it, not httpd
            assert read(file) == before
            left = await nothing_half_written(file.parent)
            filler.unlink()
            gateway.nbgate("route", "set", "/late", "127.0.0.1:9")
            async with gateway.person("next") as another:
                await works(another, gateway.page("hello", "next"))
            assert set(read(file)) == {
                *(b"/first", b"/late"),
                *(f"/nb/{PROJECT}-x-{name}".encode() for name in ("alice", "hot", "next")),
            }, "httpd is told of what it could not be told of"
            assert gateway.nbgate("route", "check") == "the route file is sound"
            assert left == await nothing_half_written(file.parent)


async def test_database_that_cannot_be_written_stops_no_notebook(
    disk: Path, tmp_path: Path, engine: EngineHandle, misbehaving_image: str
) -> None:
    settings = {"database_url": f"sqlite+aiosqlite:///{disk / 'nbgate.db'}"}
    with stub_gateway(tmp_path / "state", engine, misbehaving_image, **settings) as gateway:
        async with gateway.person("hot") as hot, gateway.person("cold") as cold:
            await works(hot, gateway.page("hello", "hot"))
            filler = fill(disk)
            line = await asyncio.to_thread(refused, gateway, "project", "add", "late")
            assert "full" in line
            assert "make room on its disk" in line
            await works(hot, gateway.page("hello", "hot"))
            await works(cold, gateway.page("hello", "cold"))
            await gateway.stop_notebook(f"{PROJECT}-x-hot")
            assert [item.name for item in gateway.containers()] == [f"{PROJECT}-x-cold"]
            filler.unlink()
            gateway.nbgate("project", "add", "late")
            await works(hot, gateway.page("hello", "hot"))

            async def true() -> bool:
                records = [await gateway.record(f"{PROJECT}-x-{name}") for name in ("hot", "cold")]
                return all(record["state"] == "running" for record in records)

            await eventually(true, "the records say what runs")
            gateway.kill()
            gateway.start()
            for name in ("hot", "cold"):
                assert (await gateway.record(f"{PROJECT}-x-{name}"))["state"] == "running"
            await works(cold, gateway.page("hello", "cold"))
