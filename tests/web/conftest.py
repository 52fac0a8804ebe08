"""The real pages behind the real data path; everything real but the engine."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from gateway.launch.session_table import SessionTable
from gateway.launch.sessions import Sessions
from gateway.launch.tickets import Tickets
from gateway.namespace import Namespace
from gateway.notebooks.database import Database
from gateway.proxy.interface import Local
from gateway.web import build_pages
from gateway.web.context import Pages
from gateway.web.streams import STREAMS, Streams
from tests.activation.conftest import World, world
from tests.proxy.harness import Rig, rig

__all__ = ["world"]

PAGE = "/nb/demo-x-alice/lab?reset&file=a%20b"


@pytest.fixture
async def pages(
    tmp_path: Path, world: World, request: pytest.FixtureRequest
) -> AsyncIterator[Pages]:
    """What the pages use; a parameter is the base domain, for host routing."""
    database = Database(f"sqlite+aiosqlite:///{tmp_path}/sessions.db")
    await database.open()
    table = SessionTable()

    async def stop(slug: str, person: str) -> None:
        world.activator.withdraw(slug)
        await world.lifecycle.stop_container(slug, by=person)

    yield Pages(
        sessions=Sessions(database, table, 3600.0),
        table=table,
        tickets=Tickets(database),
        catalogue=world.catalogue,
        activator=world.activator,
        namespace=Namespace(getattr(request, "param", "")),
        origin="http://h",
        frame_ancestors=(),
        session_lifetime=3600.0,
        stop=stop,
    )
    await database.close()


@pytest.fixture
def application(pages: Pages) -> web.Application:
    """The pages."""
    return build_pages(pages)


@pytest.fixture
def streams(application: web.Application) -> Streams:
    """The event streams that are open."""
    return application[STREAMS]


@pytest.fixture
async def proxy(tmp_path: Path, application: web.Application) -> AsyncIterator[Rig]:
    """A data path that sends everything to the pages."""
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.UnixSite(runner, str(tmp_path / "pages.sock")).start()
    async with rig(tmp_path) as made:
        made.gate.rule = lambda head, client: Local()
        yield made
    await runner.cleanup()


@pytest.fixture
async def slug(world: World, proxy: Rig) -> str:
    """Alice's notebook; the data path says that it is cold, so `PAGE` is its waiting page."""
    made = await world.notebook()

    def rule(head: Any, client: Any) -> Local:
        own = head.target.startswith(b"/gateway/") or head.target == b"/"
        return Local() if own else Local("waiting", made)

    proxy.gate.rule = rule
    return made
