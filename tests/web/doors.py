"""Fixtures: pages with a door for links, a course with files, and browsers."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from aiohttp import web

from gateway.launch.bindings import Bindings
from gateway.launch.linkkeys import LinkKey, LinkKeys
from gateway.launch.newcomers import Newcomers
from gateway.launch.sessions import Sessions
from gateway.launch.shares import FOLDER, Shares
from gateway.launch.signatures import signature, signed_text
from gateway.launch.signed import SignedLinks
from gateway.launch.targets import Target, quoted_path, quoted_query
from gateway.launch.ways import Ways
from gateway.notebooks.database import Database
from gateway.notebooks.identity import Identity
from gateway.notebooks.model import Links
from gateway.proxy.interface import Local
from gateway.spaces import Exercises, Reading
from gateway.web import build_pages
from gateway.web.context import Pages
from gateway.web.door import DOOR, Door
from tests.activation.conftest import World
from tests.launch.clock import Clock
from tests.proxy.harness import Rig, rig
from tests.web.browser import Browser

FILE = "w1/en-w1-s07-c1-walking.ipynb"
LINK = f"/ipythonExercice/flotbioinfo/{FILE}/mary"
DAY = 86400.0
MOST_NEW = 4
"""Ids that a course takes anew in an hour."""


@dataclass
class Entrance:
    """What a test of links may look at and change."""

    proxy: Rig
    ways: Ways
    clock: Clock
    world: World
    pages: Pages
    course: Path
    counted: Counter[tuple[str, str]] = field(default_factory=Counter)

    def browser(self) -> Browser:
        """Return a new browser."""
        return Browser(self.proxy)

    async def key(self, project: str | None = None, issuer: str | None = None) -> LinkKey:
        """Return a new key; of `flotbioinfo` unless something else is said."""
        if project is None and issuer is None:
            project = "flotbioinfo"
        return await self.ways.signed.keys.add(project=project, issuer=issuer)

    def now(self) -> int:
        """Return the seconds that the gateway's clock shows."""
        return int(self.clock().timestamp())

    def link(self, key: LinkKey, *segments: str, **parameters: str) -> str:
        """Return a path that `key` signs; `exp` is in five minutes unless it is given."""
        given = {"kid": key.kid, "exp": str(self.now() + 300)} | parameters
        path = Target(segments).path
        secret = self.ways.signed.keys.secret(key.kid)
        given["sig"] = signature(secret, signed_text(path, given))
        return quoted_path(segments) + quoted_query(tuple(given.items()))

    def open_link(self, key: LinkKey, person: str = "mary", **parameters: str) -> str:
        """Return a signed link of the shape that courses on FUN have."""
        segments = ("ipythonExercice", "flotbioinfo", *FILE.split("/"), person)
        return self.link(key, *segments, **parameters)


@pytest.fixture
def course(tmp_path: Path) -> Path:
    folder = tmp_path / "course"
    (folder / "w1").mkdir(parents=True)
    (folder / FILE).write_text('{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}')
    (folder / "w1" / "with blank.ipynb").write_text("{}")
    (folder / "w1" / "script.py").write_text("print(1)")
    (folder / "w1" / "text.md").write_text("# Title\n\n<script>alert(1)</script>")
    return folder


@pytest.fixture
async def entrance(
    tmp_path: Path, world: World, course: Path, pages: Pages
) -> AsyncIterator[Entrance]:
    """Pages with links, behind a real data path; the course `flotbioinfo` takes signed ones."""
    database, clock = Database(f"sqlite+aiosqlite:///{tmp_path}/nbgate.db"), Clock()
    await database.open()
    sessions = Sessions(database, pages.table, 3600.0)
    world.catalogue.subscribe(sessions.nameless.notebook_changed)
    exercises = Exercises(world.spaces, clock)
    keys = LinkKeys(database, Identity("0" * 8, b"k" * 32), clock)
    ways = Ways(
        SignedLinks(keys, pages.origin, clock),
        Bindings(database),
        world.spaces,
        exercises,
        Reading(world.spaces),
        sessions,
        Shares(world.spaces.path("x").parent / FOLDER, world.spaces.exists, DAY, clock),
    )
    for name in ("flotbioinfo", "flotpython"):
        await world.catalogue.add_project(name, source=str(course), links=Links.SIGNED)
    counted: Counter[tuple[str, str]] = Counter()

    def count(kind: str, result: str) -> None:
        counted[kind, result] += 1

    made = replace(pages, sessions=sessions)
    app = build_pages(made)
    newcomers = Newcomers(MOST_NEW, lambda: clock().timestamp())
    app[DOOR] = Door(ways, count, newcomers=newcomers)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.UnixSite(runner, str(tmp_path / "pages.sock")).start()
    async with rig(tmp_path) as proxy:
        proxy.gate.rule = lambda head, client: Local()
        yield Entrance(proxy, ways, clock, world, made, course, counted)
    await runner.cleanup()
    await database.close()


@pytest.fixture
async def plain(entrance: Entrance) -> Entrance:
    """Both courses take plain links."""
    for name in ("flotbioinfo", "flotpython"):
        await entrance.world.catalogue.update_project(name, links=Links.PLAIN)
    return entrance


@pytest.fixture
async def mary(plain: Entrance) -> Browser:
    """The browser that mary used first."""
    browser = plain.browser()
    await browser.open(LINK)
    return browser
