"""The companion with JSON: where it is, what is wrong with it, and the two files as one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from routes import extras
from routes.apachedb import ApacheDB, read
from routes.content import Changes
from routes.pair import Kept, RoutePair, forget_kept, open_derived
from routes.publisher import Publisher
from tests.support.waiting import PATIENCE

JSON = json.dumps({"target": "http://a:1", "user": "é"})


@pytest.fixture
def companion(path: Path) -> Path:
    return extras.beside(path)


@pytest.fixture
async def publishers(path: Path, companion: Path) -> AsyncIterator[tuple[Publisher, Publisher]]:
    async with AsyncExitStack() as stack:
        made = []
        for database in (ApacheDB(path), open_derived(companion, extras.MODE, "companion")):
            stack.callback(database.close)
            made.append(Publisher(database))
            stack.push_async_callback(made[-1].close)
        yield made[0], made[1]


def test_it_stands_beside_the_route_file_under_its_name() -> None:
    assert extras.beside(Path("/x/routes.gdbm")) == Path("/x/routes.extras.gdbm")
    assert extras.beside(Path("/x/hub")) == Path("/x/hub.extras.gdbm")


async def test_both_files_are_written_and_the_companion_is_not_for_everybody(
    publishers: tuple[Publisher, Publisher], path: Path, companion: Path
) -> None:
    pair = RoutePair(*publishers)
    await pair.write({"/a": Kept(JSON, "/a", "a:1"), "/tls": Kept(JSON, "/tls")})
    assert read(path) == {b"/a": b"a:1"}
    assert read(companion) == {b"/a": JSON.encode(), b"/tls": JSON.encode()}
    assert extras.check(companion) == [], "its mode too"
    await pair.write({"/a": Kept(None, "/a"), "/tls": Kept(None)})
    assert read(path) == {} == read(companion)


async def test_a_crash_between_the_two_leaves_no_route_without_its_json(
    publishers: tuple[Publisher, Publisher],
    path: Path,
    companion: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pair, seen = RoutePair(*publishers), []
    original = Publisher.change

    async def watched(self: Publisher, changes: Changes) -> None:
        seen.append((set(read(path)), set(read(companion))))
        await original(self, changes)

    monkeypatch.setattr(Publisher, "change", watched)
    await pair.write({"/a": Kept(JSON, "/a", "a:1"), "/b": Kept(JSON, "/b", "b:1")})
    await pair.write({"/a": Kept(None, "/a"), "/c": Kept(JSON, "/c", "c:1")})
    seen.append((set(read(path)), set(read(companion))))
    assert all(in_file <= in_companion for in_file, in_companion in seen), seen
    assert len(seen) == 6


def test_damaged_companion_is_set_aside(companion: Path, caplog: pytest.LogCaptureFixture) -> None:
    companion.write_bytes(b"this is no GDBM file")
    (finding,) = [one for one in extras.check(companion) if "is damaged" in one]
    assert "rebuild" in finding
    open_derived(companion, extras.MODE, "companion").close()
    assert read(companion) == {}
    (kept,) = companion.parent.glob("*.damaged-*")
    assert kept.read_bytes() == b"this is no GDBM file"
    assert len(caplog.records) == 1


@pytest.mark.parametrize("text", ["nothing", "[]", "{}", '{"target": 1}', '"x"'])
def test_check_names_entries_that_are_no_route(companion: Path, text: str) -> None:
    with open_derived(companion, extras.MODE, "companion") as database:
        database["/a"] = text
    (finding,) = extras.check(companion)
    assert "b'/a'" in finding
    assert text not in finding.replace("b'/a'", "")


def test_check_tells_a_mode_that_lets_everybody_read(companion: Path) -> None:
    assert extras.check(companion) == [], "it may be missing"
    open_derived(companion, extras.MODE, "companion").close()
    companion.chmod(0o644)
    (finding,) = extras.check(companion)
    assert "chmod 640" in finding


def test_routes_that_are_not_to_be_kept_any_more_leave_the_route_file(
    path: Path, companion: Path
) -> None:
    with open_derived(companion, extras.MODE, "companion") as kept:
        kept["/a"] = kept["/changed"] = JSON
        kept["/tls"] = '{"target": "https://h"}'
    with ApacheDB(path) as database:
        database.publish({b"/a": b"a:1", b"/changed": b"b:2", b"/mine": b"a:1"})
        forget_kept(database, companion)
    assert read(path) == {b"/changed": b"b:2", b"/mine": b"a:1"}
    assert not companion.exists()
    with ApacheDB(path) as database:
        forget_kept(database, companion)


async def test_ten_thousand_changes_are_two_publishes(
    publishers: tuple[Publisher, Publisher], path: Path, companion: Path
) -> None:
    pair = RoutePair(*publishers)
    changes = {f"/user/u{n}": Kept(JSON, f"/user/u{n}", "a:1") for n in range(10_000)}
    async with asyncio.timeout(PATIENCE):
        await pair.write(changes)
    assert len(read(path)) == len(read(companion)) == 10_000
