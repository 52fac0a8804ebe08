"""What an open page is told about its notebook, and "keep it running"; real pages."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from aiohttp import web

from gateway.activation.culler import Notice
from gateway.activation.progress import Phase
from gateway.web.context import Pages
from gateway.web.openpage import NOTICES, server_of
from tests.activation.conftest import World
from tests.proxy.harness import Rig
from tests.support.waiting import until
from tests.web.person import Person, person

SLUG = "demo-x-alice"
ASKED = f"/gateway/page/{SLUG}"
KEEP = f"/gateway/keep/{SLUG}"
SOON = Notice("warning", 240.04, "nobody has used it for an hour")


class Warnings:
    """A culler that is going to stop every notebook, and can be told not to."""

    def __init__(self) -> None:
        self.kept: list[str] = []
        self.after: Notice | None = None

    def notice(self, slug: str) -> Notice | None:
        return self.after if slug in self.kept else SOON

    def keep(self, slug: str) -> Notice | None:
        self.kept.append(slug)
        return self.after


@pytest.fixture
def warnings(application: web.Application) -> Warnings:
    application[NOTICES] = made = Warnings()
    return made


@pytest.fixture
async def alice(
    warnings: Warnings, world: World, proxy: Rig, pages: Pages
) -> AsyncIterator[Person]:
    """Alice, who has a notebook."""
    await world.notebook()
    async with person(proxy, pages) as made:
        yield made


async def test_asking_wakes_nothing(world: World, alice: Person) -> None:
    answer = await alice.get(ASKED, Accept="*/*")

    told = answer.json
    assert (told["phase"], told["paused"], told["stop"]) == ("cold", False, None)
    assert answer.headers["Cache-Control"] == "no-store"
    assert world.activator.status(SLUG).phase is Phase.COLD
    assert not await world.spawner.list()


async def test_page_of_a_running_notebook_is_warned(world: World, alice: Person) -> None:
    await world.activator.ensure(SLUG)

    told = (await alice.get(ASKED, Accept="*/*")).json

    assert told["phase"] == "ready"
    assert told["stop"] == {"seconds": 240.0, "reason": "nobody has used it for an hour"}


async def test_new_server_is_told_from_the_old_one(world: World, alice: Person) -> None:
    await world.activator.ensure(SLUG)
    one = (await alice.get(ASKED, Accept="*/*")).json["server"]
    await world.lifecycle.stop_container(SLUG)
    await until(lambda: world.activator.status(SLUG).phase is Phase.COLD)
    await world.activator.ensure(SLUG)

    assert (await alice.get(ASKED, Accept="*/*")).json["server"] != one


async def test_container_that_is_started_again_is_another_server(world: World) -> None:
    slug = await world.notebook()
    book = replace(world.catalogue.notebook(slug), started=datetime(2026, 1, 1, tzinfo=UTC))

    assert server_of(book) != server_of(replace(book, started=datetime(2026, 1, 2, tzinfo=UTC)))


async def test_who_is_there_keeps_the_notebook(warnings: Warnings, alice: Person) -> None:
    answer = await alice.post(KEEP, Accept="*/*")

    assert (answer.status, answer.json) == (200, {"stop": None})
    assert warnings.kept == [SLUG]


async def test_page_is_told_what_comes_all_the_same(warnings: Warnings, alice: Person) -> None:
    warnings.after = Notice("warning", 60.0, "it is a day old")

    answer = await alice.post(KEEP, Accept="*/*")

    assert answer.json["stop"] == {"seconds": 60.0, "reason": "it is a day old"}


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "http://elsewhere.example"}, {"Sec-Fetch-Site": "cross-site", "Origin": "null"}],
)
async def test_foreign_page_keeps_nothing(
    warnings: Warnings, alice: Person, headers: dict[str, str]
) -> None:
    answer = await alice.post(KEEP, Accept="*/*", **headers)

    assert answer.status == 403
    assert warnings.kept == []


async def test_others_learn_nothing(
    warnings: Warnings, alice: Person, proxy: Rig, pages: Pages
) -> None:
    async with person(proxy, pages, "mallory") as mallory:
        answers = [
            await mallory.get(ASKED, Accept="*/*"),
            await mallory.get("/gateway/page/there-is-none", Accept="*/*"),
            await mallory.post(KEEP, Accept="*/*"),
        ]

    assert [answer.status for answer in answers] == [404, 404, 404]
    assert warnings.kept == []
