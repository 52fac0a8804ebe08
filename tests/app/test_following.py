"""What one gateway changes in the shared database is so at the other."""

from __future__ import annotations

import asyncio
import errno
from dataclasses import dataclass, field
from typing import Any

import pytest
import sqlalchemy as sa

from gateway.activation.following import Following
from gateway.launch.session_table import SessionTable
from gateway.launch.sessions import Sessions
from gateway.notebooks.catalogue import Catalogue
from gateway.notebooks.database import Database
from gateway.notebooks.model import Notebook, State
from gateway.notebooks.schema import changes
from gateway.notebooks.shared import ChangeRows, moment
from gateway.proxy.interface import RouteEntry
from routes.keys import Target
from tests.support.waiting import until

HOST = "gateway.example"
SLUG = "demo-x-mary"


@dataclass
class FakeLifecycle:
    """Notes what it is told to do."""

    done: list[tuple[str, str]] = field(default_factory=list)
    locks: dict[str, asyncio.Lock] = field(default_factory=dict)
    fails: Exception | None = None
    goes_on: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.goes_on.set()

    def lock(self, slug: str) -> asyncio.Lock:
        return self.locks.setdefault(slug, asyncio.Lock())

    async def sync_container(self, slug: str) -> str:
        if self.fails is not None:
            raise self.fails
        self.done.append(("sync", slug))
        await self.goes_on.wait()
        return "found"

    async def disable_proxying(self, slug: str) -> None:
        assert self.lock(slug).locked()
        self.done.append(("cool", slug))


class Gateway:
    """One of the two."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.catalogue = Catalogue(database)
        self.table = SessionTable()
        self.sessions = Sessions(database, self.table, 3600.0)
        self.lifecycle = FakeLifecycle()
        self.entries: dict[str, RouteEntry] = {}
        self.told: list[tuple[str, Notebook | None]] = []
        self.following = Following(
            database,
            self.catalogue,
            self.sessions,
            self.lifecycle,
            self.entries.get,
            lambda: True,
        )

    async def open(self) -> Gateway:
        await self.following.begin()
        await self.catalogue.load()
        await self.sessions.load()
        self.catalogue.subscribe(lambda slug, notebook: self.told.append((slug, notebook)))
        return self

    async def follow(self) -> None:
        await self.following.follow()
        await self.following.settled()

    def has(self, target: Target | None) -> None:
        """Have the notebook's route lead there."""
        self.entries[SLUG] = RouteEntry(f"/nb/{SLUG}", target, SLUG)


@pytest.fixture
async def here(database: Database) -> Gateway:
    gateway = await Gateway(database).open()
    await gateway.catalogue.add_project("demo")
    return gateway


@pytest.fixture
async def there(here: Gateway, second: Database) -> Gateway:
    return await Gateway(second).open()


async def test_records_are_followed(here: Gateway, there: Gateway) -> None:
    await here.catalogue.open_for("demo", "mary")
    await here.catalogue.add_project("late", title="Late")
    await there.follow()
    assert there.catalogue.notebook(SLUG) == here.catalogue.notebook(SLUG)
    assert there.catalogue.project("late").title == "Late"
    await here.catalogue.lock(SLUG, "mary", "an experiment runs")
    await here.catalogue.update_project("late", title="Later")
    await there.follow()
    assert there.catalogue.notebook(SLUG).lock is not None
    assert there.catalogue.project("late").title == "Later"
    await here.catalogue.unlock(SLUG, "mary")
    await here.catalogue.remove_notebook(SLUG)
    await here.catalogue.remove_project("late")
    await there.follow()
    assert there.catalogue.find(SLUG) is None
    assert [project.name for project in there.catalogue.projects()] == ["demo"]


async def test_nothing_is_told_twice_and_own_changes_are_not_told_again(
    here: Gateway, there: Gateway
) -> None:
    await here.catalogue.open_for("demo", "mary")
    await here.follow()
    assert [slug for slug, _ in here.told] == [SLUG]
    await there.follow()
    await there.follow()
    assert [slug for slug, _ in there.told] == [SLUG]


async def test_a_session_is_good_at_both_until_it_is_revoked_at_one(
    here: Gateway, there: Gateway
) -> None:
    token = await here.sessions.create("mary", HOST)
    await there.follow()
    who = there.table.lookup(token.encode(), HOST)
    assert who is not None
    assert who.subject == "mary"
    more = await there.sessions.add_origin(who.session, "other.example")
    await here.follow()
    assert here.table.lookup(more.encode(), "other.example") == who
    await there.sessions.revoke(who.session)
    await here.follow()
    assert here.table.lookup(token.encode(), HOST) is None
    assert here.table.lookup(more.encode(), "other.example") is None


RUNNING: dict[str, Any] = {"state": State.RUNNING, "port": 4711, "internal_url": None}


@pytest.mark.parametrize(
    ("target", "record", "done"),
    [
        (None, RUNNING, "sync"),
        (Target("127.0.0.1", 4710), RUNNING, "sync"),
        (Target("127.0.0.1", 4711), RUNNING, None),
        (None, {"state": State.STARTING}, None),
        (Target("127.0.0.1", 4711), {"state": State.STARTING}, None),
        (Target("127.0.0.1", 4711), {"state": State.STOPPING}, "cool"),
        (Target("127.0.0.1", 4711), {"state": State.FAILED}, "sync"),
        (None, {"state": State.FAILED}, None),
        (Target("10.0.0.2", 8888), {**RUNNING, "port": None, "internal_url": "x"}, "sync"),
        (
            Target("10.0.0.2", 8888),
            {**RUNNING, "port": None, "internal_url": "http://10.0.0.2:8888"},
            None,
        ),
    ],
)
async def test_route_follows_what_the_other_gateway_did(
    here: Gateway,
    there: Gateway,
    target: Target | None,
    record: dict[str, Any],
    done: str | None,
) -> None:
    await here.catalogue.open_for("demo", "mary")
    await there.follow()
    there.has(target)
    await here.catalogue.update_notebook(SLUG, **record)
    await there.follow()
    assert there.lifecycle.done == ([(done, SLUG)] if done else [])


async def test_what_this_gateway_does_itself_is_left_alone(here: Gateway, there: Gateway) -> None:
    await here.catalogue.open_for("demo", "mary")
    await there.follow()
    there.has(None)
    async with there.lifecycle.lock(SLUG):
        await here.catalogue.update_notebook(SLUG, **RUNNING)
        await there.following.follow()
        there.has(Target("127.0.0.1", 4711))
    await there.following.settled()
    assert there.lifecycle.done == []


async def test_change_is_followed_once_this_gateway_has_done_its_own(
    here: Gateway, there: Gateway
) -> None:
    await here.catalogue.open_for("demo", "mary")
    await there.follow()
    there.has(Target("127.0.0.1", 4711))
    async with there.lifecycle.lock(SLUG):
        await here.catalogue.update_notebook(SLUG, state=State.STOPPING)
        await there.following.follow()
        assert there.lifecycle.done == []
    await there.following.settled()
    assert there.lifecycle.done == [("cool", SLUG)]


async def test_change_that_comes_while_one_is_followed_is_followed_too(
    here: Gateway, there: Gateway
) -> None:
    await here.catalogue.open_for("demo", "mary")
    await there.follow()
    there.has(None)
    there.lifecycle.goes_on.clear()
    await here.catalogue.update_notebook(SLUG, **RUNNING)
    await there.following.follow()
    await until(lambda: there.lifecycle.done == [("sync", SLUG)])
    there.has(Target("127.0.0.1", 4711))
    await here.catalogue.update_notebook(SLUG, state=State.STOPPING)
    await there.following.follow()
    there.lifecycle.goes_on.set()
    await there.following.settled()
    assert there.lifecycle.done == [("sync", SLUG), ("cool", SLUG)]


async def test_notebook_that_was_started_here_meanwhile_is_not_made_cold(
    here: Gateway, there: Gateway
) -> None:
    await here.catalogue.open_for("demo", "mary")
    await there.follow()
    there.has(Target("127.0.0.1", 4711))
    await here.catalogue.update_notebook(SLUG, state=State.STOPPING)
    await there.following.follow()
    async with there.lifecycle.lock(SLUG):
        await there.catalogue.update_notebook(SLUG, **RUNNING)
    await there.following.settled()
    assert there.lifecycle.done == []


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left"), KeyError("ours")])
async def test_change_that_cannot_be_followed_is_said(
    here: Gateway, there: Gateway, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    await here.catalogue.open_for("demo", "mary")
    await there.follow()
    there.has(None)
    there.lifecycle.fails = error
    await here.catalogue.update_notebook(SLUG, **RUNNING)
    await there.follow()
    (said,) = [one for one in caplog.records if "not followed" in one.getMessage()]
    assert (said.exc_info is None) == isinstance(error, OSError)
    there.lifecycle.fails = None
    await here.catalogue.update_notebook(SLUG, port=4712)
    await there.follow()
    assert there.lifecycle.done == [("sync", SLUG)]


async def test_change_that_is_committed_late_is_not_missed(here: Gateway, there: Gateway) -> None:
    await here.catalogue.open_for("demo", "mary")
    await here.catalogue.open_for("demo", "john")
    async with here.database.writing() as connection:
        found = await ChangeRows(connection).after(0)
        late = next(one for one in found if one.name == SLUG)
        await connection.execute(sa.delete(changes).where(changes.c.number == late.number))
    await there.follow()
    assert there.catalogue.find(SLUG) is None
    assert there.catalogue.find("demo-x-john") is not None
    async with here.database.writing() as connection:
        await connection.execute(
            sa.insert(changes).values(
                number=late.number, kind=late.kind, name=late.name, moment=moment(connection)
            )
        )
    await there.follow()
    assert there.catalogue.find(SLUG) is not None


async def test_who_was_away_for_long_reads_everything(here: Gateway, there: Gateway) -> None:
    await there.follow()
    await here.catalogue.open_for("demo", "mary")
    token = await here.sessions.create("mary", HOST)
    async with here.database.writing() as connection:
        await ChangeRows(connection).forget(-3600.0)
    await here.catalogue.open_for("demo", "john")
    await there.follow()
    assert there.catalogue.find(SLUG) is not None
    assert there.table.lookup(token.encode(), HOST) is not None


async def test_changes_while_the_database_was_away_are_read_then(
    here: Gateway, there: Gateway
) -> None:
    await there.database.close()
    await here.catalogue.open_for("demo", "mary")
    with pytest.raises(Exception, match="not open"):
        await there.follow()
    await there.database.open()
    await there.follow()
    assert there.catalogue.find(SLUG) is not None
