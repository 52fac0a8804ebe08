"""Ends of sessions as the gateway writes them, and what real httpd does with the next request."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from gateway.launch.cookies import edge_cookie_name
from gateway.launch.edges import Edges
from gateway.launch.session_table import SessionTable
from gateway.launch.sessions import Sessions
from gateway.notebooks.database import Database
from routes import admission, secretmap
from routes.admission import AdmissionMap
from routes.pair import publisher_of
from tests.front.conftest import StartFront
from tests.front.people import PAGE, cookie, publish
from tests.front.upstream import Upstream, told
from tests.launch.clock import Clock
from tests.support.front import Front, RouteFiles

pytestmark = pytest.mark.asyncio(loop_scope="package")

HOST = "nb.example.org"
LIFETIME = 3600.0


@dataclass(frozen=True)
class Site:
    """Real httpd that admits by a map which real sessions are written to."""

    front: Front
    sessions: Sessions
    edges: AdmissionMap
    clock: Clock

    async def come(self) -> tuple[str, dict[str, str]]:
        """Begin a session of alice's; return its id, and the header with its edge cookie."""
        token = await self.sessions.create("alice", HOST)
        principal = self.sessions.table.lookup(token.encode(), HOST)
        assert principal is not None
        await self.edges.flush()
        name = edge_cookie_name(https=False)
        return principal.session, {"Cookie": f"{name}={self.sessions.edge(token, HOST)}"}

    async def served_by(self, who: dict[str, str]) -> str:
        return told(await self.front.ask(PAGE, headers=who)).by


async def _never(_: float) -> None:
    """Let nothing be written by itself."""
    await asyncio.Event().wait()


@pytest_asyncio.fixture(loop_scope="package")
async def site(
    start_front: StartFront, routes: RouteFiles, notebook: Upstream, tmp_path: Path
) -> AsyncIterator[Site]:
    publish(routes, notebook, people=())
    async with AsyncExitStack() as stack:
        path, _ = admission.beside(routes.folder / "routes.gdbm")
        publisher = publisher_of(path, secretmap.MODE, "edges", stack)
        edges = AdmissionMap(publisher, "edges", _never)
        stack.push_async_callback(edges.close)
        edges.prepare()
        database = Database(f"sqlite+aiosqlite:///{tmp_path}/nbgate.db")
        await database.open()
        stack.push_async_callback(database.close)
        clock = Clock()
        table = SessionTable(clock)
        sessions = Sessions(database, table, LIFETIME, clock, edges=Edges(edges))
        yield Site(await start_front(NBGATE_HTTPD_DIRECT="true"), sessions, edges, clock)


async def test_next_request_after_an_end_is_the_gateways(site: Site) -> None:
    """Many times, within the second of the file's date that httpd has in its memory."""
    for _ in range(10):
        session, alice = await site.come()
        assert await site.served_by(alice) == "notebook"
        await site.sessions.revoke(session)
        assert await site.served_by(alice) == "gateway"


async def test_session_whose_time_is_over_is_the_gateways(site: Site) -> None:
    _, first = await site.come()
    site.clock.advance(LIFETIME / 2)
    _, second = await site.come()
    site.clock.advance(LIFETIME / 2 + 1.0)
    await site.sessions.expire_due()
    assert await site.served_by(first) == "gateway"
    assert await site.served_by(second) == "notebook"


async def test_emptied_map_admits_nobody_until_it_is_written_again(site: Site) -> None:
    """httpd has looked people up before, and finds them no more."""
    gone, alice = await site.come()
    _, other = await site.come()
    assert [await site.served_by(one) for one in (alice, other)] == ["notebook"] * 2
    _damage(site.edges.path)
    await site.sessions.revoke(gone)
    assert site.edges.withheld
    assert [await site.served_by(one) for one in (alice, other)] == ["gateway"] * 2
    await site.edges.flush()
    assert [await site.served_by(one) for one in (alice, other)] == ["gateway", "notebook"]


def _damage(path: Path) -> None:
    """Put a part of a file in its place: what is not understood is not written over."""
    part = path.with_name("part.gdbm")
    part.write_bytes(path.read_bytes()[:100])
    part.replace(path)


async def test_map_that_was_removed_admits_nobody(site: Site) -> None:
    """What the gateway does where there is no empty map at hand."""
    _, alice = await site.come()
    assert await site.served_by(alice) == "notebook"
    site.edges.path.unlink()
    for _ in range(3):
        assert await site.served_by(alice) == "gateway"


async def test_file_of_the_same_second_is_read_anew(
    start_front: StartFront, routes: RouteFiles, notebook: Upstream
) -> None:
    """httpd remembers what it found until the date differs; a microsecond is enough."""
    front = await start_front(NBGATE_HTTPD_DIRECT="true")
    second = 1_700_000_000
    for microsecond in range(6):
        somebody = ("alice", "bob")[microsecond % 2]
        publish(routes, notebook, people=[somebody])
        moment = (second * 1_000_000 + microsecond) * 1_000
        os.utime(routes.folder / "edges.gdbm", ns=(moment, moment))
        answer = told(await front.ask(PAGE, headers=cookie("alice")))
        assert answer.by == ("notebook" if somebody == "alice" else "gateway")
