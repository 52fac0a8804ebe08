"""Edge ids: what httpd is told of sessions, and that it is told of their ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from gateway.errors import NotFound
from gateway.launch.edges import Edges
from gateway.launch.session_table import SessionTable
from gateway.launch.sessions import Sessions
from gateway.notebooks.database import Database, DatabaseError
from gateway.proxy.interface import RouteEntry
from routes.admission import AdmissionMap, is_edge, pair, person
from routes.apachedb import read
from routes.pair import publisher_of
from tests.launch.clock import Clock
from tests.support.waiting import PATIENCE, until

HOST = "nb.example.org"


class Ended:
    """A data path that notes which sessions were ended."""

    def __init__(self) -> None:
        self.sessions: list[str] = []

    async def settled(self) -> None:
        pass

    async def drained(self, entry: RouteEntry | None) -> None:
        del entry

    async def end_sessions(self, session_ids: Collection[str]) -> None:
        self.sessions.extend(session_ids)

    def end_use(self, key: str, people: frozenset[str]) -> None:
        raise AssertionError("nobody loses a notebook here")


@pytest.fixture
async def published(tmp_path: Path) -> AsyncIterator[AdmissionMap]:
    async with AsyncExitStack() as stack:
        publisher = publisher_of(tmp_path / "edges.gdbm", 0o640, "edges", stack)
        made = AdmissionMap(publisher, "edges", patience=PATIENCE)
        stack.push_async_callback(made.close)
        yield made


async def entries(published: AdmissionMap) -> dict[bytes, bytes]:
    """Return what httpd knows, once everything is written."""
    await published.flush()
    return at_httpd(published)


def at_httpd(published: AdmissionMap) -> dict[bytes, bytes]:
    """Return what httpd knows at this moment."""
    return read(published.path)


def sessions_of(database: Database, published: AdmissionMap, clock: Clock) -> Sessions:
    return Sessions(database, SessionTable(clock), 3600.0, clock, edges=Edges(published))


async def test_session_has_an_edge_id_that_is_no_token(
    database: Database, published: AdmissionMap
) -> None:
    sessions = sessions_of(database, published, Clock())
    token = await sessions.create("Zoë x", HOST)
    edge = sessions.edge(token, HOST)
    assert is_edge(edge)
    assert await entries(published) == {edge.encode(): b"Zo%C3%AB%20x"}
    assert sessions.table.lookup(edge.encode(), HOST) is None
    assert sessions.edge(token, "elsewhere.example.org") == ""


async def test_revoked_and_expired_sessions_are_taken_out_and_what_they_have_open_ends(
    database: Database, published: AdmissionMap
) -> None:
    clock, ended = Clock(), Ended()
    sessions = sessions_of(database, published, clock)
    sessions.attach(ended)
    tokens = [await sessions.create(name, HOST) for name in ("alice", "bob")]
    ids = [found.session for one in tokens if (found := sessions.table.lookup(one.encode(), HOST))]
    await entries(published)
    await sessions.revoke(ids[0])
    assert ended.sessions == ids[:1]
    assert list(at_httpd(published).values()) == [b"bob"]
    await sessions.expire_due()
    assert ended.sessions == ids[:1]
    clock.advance(3601.0)
    await sessions.expire_due()
    assert ended.sessions == ids
    assert at_httpd(published) == {}


async def test_sessions_that_ended_while_nobody_looked_are_taken_out_at_the_start(
    database: Database, published: AdmissionMap
) -> None:
    clock = Clock()
    before = sessions_of(database, published, clock)
    gone, kept = await before.create("gone", HOST), await before.create("kept", HOST)
    other = Sessions(database, SessionTable(clock), 3600.0, clock)
    await other.load()
    found = other.table.lookup(gone.encode(), HOST)
    assert found is not None
    await other.revoke(found.session)
    assert len(await entries(published)) == 2
    again = sessions_of(database, published, clock)
    await again.load()
    assert list(at_httpd(published).values()) == [b"kept"]
    assert again.edge(kept, HOST) == before.edge(kept, HOST)


async def test_what_another_gateway_ended_is_taken_out_and_ends_here(
    database: Database, published: AdmissionMap
) -> None:
    clock, ended = Clock(), Ended()
    here, there = (
        sessions_of(database, published, clock),
        Sessions(database, SessionTable(clock), 3600.0, clock),
    )
    here.attach(ended)
    token = await here.create("alice", HOST)
    found = here.table.lookup(token.encode(), HOST)
    assert found is not None
    assert await entries(published)
    await there.load()
    await there.revoke(found.session)
    await here.refresh([found.session])
    assert ended.sessions == [found.session]
    assert at_httpd(published) == {}


async def test_two_that_end_at_once_are_both_out_when_either_has_ended(
    database: Database, published: AdmissionMap
) -> None:
    sessions = sessions_of(database, published, Clock())
    tokens = [await sessions.create(name, HOST) for name in ("alice", "bob", "carol")]
    ids = [found.session for one in tokens if (found := sessions.table.lookup(one.encode(), HOST))]
    await entries(published)

    async def revoked(number: int) -> set[bytes]:
        await sessions.revoke(ids[number])
        return set(at_httpd(published).values())

    for left, name in zip(
        await asyncio.gather(revoked(0), revoked(1)), (b"alice", b"bob"), strict=True
    ):
        assert name not in left
    assert list(at_httpd(published).values()) == [b"carol"]


async def test_session_is_out_at_its_time_though_the_database_cannot_be_written(
    database: Database, published: AdmissionMap
) -> None:
    clock = Clock()
    sessions = sessions_of(database, published, clock)
    await sessions.create("alice", HOST)
    assert await entries(published)
    clock.advance(3601.0)
    await database.close()
    with pytest.raises(DatabaseError, match="is not open"):
        await sessions.expire_due()
    assert await entries(published) == {}


class Slow(Ended):
    """A data path that takes until it is told to end what a session has open."""

    def __init__(self) -> None:
        super().__init__()
        self.goes_on = asyncio.Event()

    async def end_sessions(self, session_ids: Collection[str]) -> None:
        await super().end_sessions(session_ids)
        await self.goes_on.wait()


@pytest.fixture
async def only_enforced(tmp_path: Path) -> AsyncIterator[AdmissionMap]:
    """A map into which nothing is written by itself."""

    async def never(_: float) -> None:
        await asyncio.Event().wait()

    async with AsyncExitStack() as stack:
        publisher = publisher_of(tmp_path / "edges.gdbm", 0o640, "edges", stack)
        made = AdmissionMap(publisher, "edges", never, patience=PATIENCE)
        stack.push_async_callback(made.close)
        yield made


async def test_end_reaches_httpd_though_whoever_asked_for_it_goes_away(
    database: Database, only_enforced: AdmissionMap
) -> None:
    sessions, data_path = sessions_of(database, only_enforced, Clock()), Slow()
    sessions.attach(data_path)
    found = sessions.table.lookup((await sessions.create("alice", HOST)).encode(), HOST)
    assert found is not None
    assert await entries(only_enforced)
    asked = asyncio.create_task(sessions.revoke(found.session))
    await until(lambda: bool(data_path.sessions))
    (ending,) = (one for one in asyncio.all_tasks() if one.get_name() == "session-revoke")
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    data_path.goes_on.set()
    await ending
    assert at_httpd(only_enforced) == {}


async def test_session_that_ends_for_its_many_hosts_is_out_at_httpd(
    database: Database, only_enforced: AdmissionMap, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever asked for one more is refused, and that is no reason to let the end wait."""
    monkeypatch.setattr("gateway.launch.sessions._MOST_TOKENS", 1)
    sessions = sessions_of(database, only_enforced, Clock())
    found = sessions.table.lookup((await sessions.create("alice", HOST)).encode(), HOST)
    assert found is not None
    assert await entries(only_enforced)
    with pytest.raises(NotFound):
        await sessions.add_origin(found.session, "elsewhere.example.org")
    assert at_httpd(only_enforced) == {}


async def test_nothing_is_kept_where_httpd_admits_nobody(database: Database) -> None:
    sessions = Sessions(database, SessionTable(Clock()), 3600.0, Clock())
    assert sessions.edge(await sessions.create("alice", HOST), HOST) == ""
    assert not sessions.at_httpd


@pytest.mark.parametrize("subject", ["a/b", "a|b", "a b", "${x}", "é", "a%b"])
def test_no_persons_name_says_something_else_in_a_key(subject: str) -> None:
    key = pair(subject, "demo")
    assert key is not None
    assert key.count("/") == 2
    assert not set("|$ {}") & set(key)
    assert person(subject).isascii()


@pytest.mark.parametrize("subject", [".", "..", ""])
def test_person_who_cannot_be_in_a_key_owns_nothing_at_httpd(subject: str) -> None:
    assert pair(subject, "demo") is None
