"""The waiting page, and the list that stops what waits or runs, behind the real data path."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from gateway.activation.progress import Phase
from gateway.errors import AllPlacesTaken, QueueFull, TooManyRunning
from gateway.notebooks.model import State
from gateway.web.context import Pages
from tests.activation.conftest import World
from tests.proxy.harness import Rig
from tests.support.waiting import until
from tests.web.conftest import PAGE
from tests.web.person import person

RUNNING = ("demo-x-bob", "demo-x-carol", "demo-x-gone")


async def test_page_tells_what_happens_and_is_kept_by_no_cache(
    world: World, proxy: Rig, pages: Pages, slug: str
) -> None:
    world.spawner.gate.clear()
    async with person(proxy, pages) as alice:
        answer = await alice.get(PAGE)
        world.spawner.gate.set()
    assert answer.status == 503
    assert int(answer.headers["Retry-After"]) >= 1
    assert answer.headers["Cache-Control"] == "no-store"
    assert "script-src 'self'" in answer.headers["Content-Security-Policy"]
    assert "://" not in answer.text.replace("http://h", ""), "nothing is fetched from elsewhere"
    assert "style=" not in answer.text
    assert 'role="status"' in answer.text
    assert '<noscript><meta http-equiv="refresh"' in answer.text


async def test_page_leads_to_no_other_host(
    world: World, proxy: Rig, pages: Pages, slug: str
) -> None:
    async with person(proxy, pages) as alice:
        page = await alice.get("//evil.example/lab")
    assert 'value="/evil.example/lab"' in page.text
    assert "url=/evil.example/lab" in page.text


async def test_scarce_memory_is_said(
    world: World, proxy: Rig, pages: Pages, slug: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    status = world.activator.status

    def short(slug: str) -> Any:
        return replace(status(slug), phase=Phase.QUEUED, position=3, short_of_memory=True)

    monkeypatch.setattr(world.activator, "status", short)
    async with person(proxy, pages) as alice:
        assert "has memory to spare" in (await alice.get(PAGE)).text


async def test_full_queue_is_a_page_that_tries_again(
    world: World, proxy: Rig, pages: Pages, slug: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(slug: str) -> None:
        raise QueueFull(1000)

    monkeypatch.setattr(world.activator, "begin", full)
    async with person(proxy, pages) as alice:
        page = await alice.get(PAGE)
    assert page.status == 429
    assert int(page.headers["Retry-After"]) >= 10
    assert 'http-equiv="refresh"' in page.text
    assert 'data-again-in=""' not in page.text


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (TooManyRunning(1, RUNNING), 409, "Stop another notebook first"),
        (AllPlacesTaken(9, RUNNING), 503, "All places are taken"),
    ],
)
async def test_limit_is_a_page_that_names_what_runs(
    world: World,
    proxy: Rig,
    pages: Pages,
    slug: str,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    status: int,
    words: str,
) -> None:
    await world.catalogue.share(await world.notebook("bob"), ["alice"])
    await world.notebook("carol")

    def limited(slug: str) -> None:
        raise error

    monkeypatch.setattr(world.activator, "begin", limited)
    async with person(proxy, pages) as alice:
        page = await alice.get(PAGE)
    assert page.status == status
    assert words in page.text
    assert "demo-x-bob" in page.text
    assert "demo-x-carol" not in page.text, "it is not theirs to use"


async def test_list_of_notebooks_has_a_button_that_stops_one(
    world: World, proxy: Rig, pages: Pages, slug: str
) -> None:
    await world.activator.ensure(slug)
    async with person(proxy, pages) as alice, person(proxy, pages, "eve") as eve:
        assert f'action="/gateway/stop/{slug}"' in (await alice.get("/")).text
        assert (await eve.post(f"/gateway/stop/{slug}")).status == 404
        assert (await alice.post(f"/gateway/stop/{slug}", Origin="http://evil")).status == 403
        assert world.catalogue.notebook(slug).state is State.RUNNING
        assert (await alice.post(f"/gateway/stop/{slug}")).status == 303
        assert world.catalogue.notebook(slug).state is State.COLD
        assert "/gateway/stop/" not in (await alice.get("/")).text


async def test_start_that_waits_can_be_stopped_on_the_list(
    world: World, proxy: Rig, pages: Pages, slug: str
) -> None:
    world.spawner.gate.clear()
    starts = [world.activator.begin(await world.notebook(f"p{n}")) for n in range(2)]
    await until(lambda: len(world.spawner.starts) == 2)
    world.activator.begin(slug)
    async with person(proxy, pages) as alice:
        index = (await alice.get("/")).text
        assert "in line" in index
        assert f'action="/gateway/stop/{slug}"' in index
        assert (await alice.post(f"/gateway/stop/{slug}")).status == 303
        assert world.activator.status(slug).cause == "withdrawn"
        assert "stopped while it waited" in (await alice.get(f"/gateway/status/{slug}")).text
    world.spawner.gate.set()
    await asyncio.gather(*starts)


async def test_strangers_see_nothing(world: World, proxy: Rig, pages: Pages, slug: str) -> None:
    async with person(proxy, pages, "eve") as eve:
        for path in (PAGE, f"/gateway/status/{slug}", f"/gateway/events/{slug}"):
            assert (await eve.get(path)).status == 404, path
        assert (await eve.post(f"/gateway/start/{slug}")).status == 404
    assert not world.spawner.starts
