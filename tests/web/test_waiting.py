"""The waiting page, its events and its buttons; real pages behind the real data path."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from gateway.activation.activator import Phase
from gateway.errors import AllPlacesTaken, ImageMissing, QueueFull, TooManyRunning
from gateway.notebooks.model import State
from gateway.proxy.interface import Local
from gateway.spawners.base import OnPull, Pull, untold
from gateway.web.context import Pages
from gateway.web.streams import Streams
from tests.activation.conftest import World
from tests.proxy.harness import Rig
from tests.support.waiting import until
from tests.web.person import Answer, Person, person

PAGE = "/nb/demo-x-alice/lab?reset&file=a%20b"


@pytest.fixture
async def slug(world: World, proxy: Rig) -> str:
    """Alice's notebook; the data path says that it is cold."""
    made = await world.notebook()

    def rule(head: Any, client: Any) -> Local:
        own = head.target.startswith(b"/gateway/") or head.target == b"/"
        return Local() if own else Local("waiting", made)

    proxy.gate.rule = rule
    return made


async def failed(world: World, alice: Person) -> Answer:
    """Let the start fail; return the page then."""
    await alice.get(PAGE)
    await until(lambda: world.activator.status("demo-x-alice").phase is Phase.FAILED)
    return await alice.get(PAGE)


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


async def test_events_tell_each_step_until_the_notebook_is_ready(
    world: World, proxy: Rig, pages: Pages, slug: str
) -> None:
    world.spawner.gate.clear()
    async with person(proxy, pages) as alice:
        await alice.get(PAGE)
        phases = []
        async with alice.events(slug) as events:
            async for event in events:
                phases.append(event["phase"])
                world.spawner.gate.set()
    assert phases[-1] == "ready", "and then the stream ends"
    assert phases == list(dict.fromkeys(phases)), "nothing is told twice"
    assert set(phases) <= {"queued", "creating", "starting", "ready"}


async def test_place_in_the_queue_is_told_as_it_moves(
    world: World, proxy: Rig, pages: Pages, slug: str
) -> None:
    world.spawner.gate.clear()
    others = [await world.notebook(f"p{number}") for number in range(3)]
    starts = [world.activator.begin(other) for other in others]
    await until(lambda: len(world.spawner.starts) == 2)
    async with person(proxy, pages) as alice:
        assert "number 2" in (await alice.get(PAGE)).text
        steps = []
        async with alice.events(slug) as events:
            async for event in events:
                steps.append((event["position"], event["step"]))
                if event["position"] == 2:
                    assert world.activator.withdraw(others[2])
                else:
                    world.spawner.gate.set()
    assert steps[0] == (2, "You are number 2 in line")
    assert steps[1] == (1, "You are next")
    await asyncio.gather(*starts, return_exceptions=True)


async def test_pull_is_told_with_its_progress(
    world: World, proxy: Rig, pages: Pages, slug: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pulled = asyncio.Event()

    async def pull(image: str, on_pull: OnPull = untold) -> None:
        on_pull(Pull(300_000_000, 1_200_000_000))
        await pulled.wait()
        world.spawner.missing.discard(image)

    monkeypatch.setattr(world.spawner, "pull", pull)
    world.spawner.missing.add("image")
    async with person(proxy, pages) as alice:
        await alice.get(PAGE)
        await until(lambda: world.activator.status(slug).pull is not None)
        page = await alice.get(PAGE)
        assert "Fetching the software" in page.text
        assert 'value="0.25"' in page.text
        assert "300 of 1200 MB" in page.text
        progress = []
        async with alice.events(slug) as events:
            async for event in events:
                progress.append(event["progress"])
                pulled.set()
    assert progress[0] == 0.25
    assert progress[-1] is None


async def test_scarce_memory_is_said(
    world: World, proxy: Rig, pages: Pages, slug: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    status = world.activator.status

    def short(slug: str) -> Any:
        return replace(status(slug), phase=Phase.QUEUED, position=3, short_of_memory=True)

    monkeypatch.setattr(world.activator, "status", short)
    async with person(proxy, pages) as alice:
        assert "has memory to spare" in (await alice.get(PAGE)).text


async def test_failure_is_told_in_words_with_the_end_of_the_log(
    world: World, proxy: Rig, pages: Pages, slug: str
) -> None:
    world.spawner.dies = True
    async with person(proxy, pages) as alice:
        page = await failed(world, alice)
        assert (page.status, page.headers["Retry-After"]) == (503, "2")
        assert "The notebook did not start" in page.text
        assert "exit code 3" in page.text
        assert "the last line of its log" in page.text
        assert "http-equiv" not in page.text, "it does not start itself again"
        event = (await alice.get(f"/gateway/status/{slug}")).json
        assert event["failed"]
        assert event["log"] == "the last line of its log"


async def test_missing_image_is_named(world: World, proxy: Rig, pages: Pages, slug: str) -> None:
    world.spawner.failure = ImageMissing("course/python:1")
    async with person(proxy, pages) as alice:
        page = await failed(world, alice)
    assert "course/python:1" in page.text
    assert "not installed on the server" in page.text


async def test_button_tries_again_at_once(
    world: World, proxy: Rig, pages: Pages, slug: str
) -> None:
    world.spawner.dies = True
    async with person(proxy, pages) as alice:
        await failed(world, alice)
        world.spawner.dies = False
        foreign = await alice.post(f"/gateway/start/{slug}", Origin="http://elsewhere")
        assert foreign.status == 403
        answer = await alice.post(f"/gateway/start/{slug}", Accept="application/json")
        assert answer.json["phase"] in ("queued", "creating", "starting")
        await until(lambda: world.activator.status(slug).phase is Phase.READY)


@pytest.mark.parametrize(
    ("address", "location"),
    [
        ("/nb/demo-x-alice/lab%3Freset%26file%3Da", "/nb/demo-x-alice/lab?reset&file=a"),
        ("//evil.example/", "/nb/demo-x-alice/"),
        ("/nb/other/lab", "/nb/demo-x-alice/"),
        ("/nb/demo-x-alice/%0d%0aX: y", "/nb/demo-x-alice/"),
        ("/nb/demo-x-alice/%5c..", "/nb/demo-x-alice/"),
        ("", "/nb/demo-x-alice/"),
    ],
)
async def test_button_without_script_leads_back_to_the_address(
    world: World, proxy: Rig, pages: Pages, slug: str, address: str, location: str
) -> None:
    world.spawner.dies = True
    async with person(proxy, pages) as alice:
        page = await failed(world, alice)
        assert f'action="/gateway/start/{slug}"' in page.text
        assert 'value="/nb/demo-x-alice/lab?reset&amp;file=a%20b"' in page.text
        answer = await alice.post(f"/gateway/start/{slug}", f"address={address}")
    assert (answer.status, answer.headers["Location"]) == (303, location)
    assert world.activator.failure(slug) is None


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
        (TooManyRunning(1, ("demo-x-bob",)), 409, "Stop another notebook first"),
        (AllPlacesTaken(9, ("demo-x-bob",)), 503, "All places are taken"),
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
    await world.notebook("bob")

    def limited(slug: str) -> None:
        raise error

    monkeypatch.setattr(world.activator, "begin", limited)
    async with person(proxy, pages) as alice:
        page = await alice.get(PAGE)
    assert page.status == status
    assert words in page.text
    assert "demo-x-bob" in page.text


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


async def test_french_readers_get_french(world: World, proxy: Rig, pages: Pages, slug: str) -> None:
    world.spawner.dies = True
    french = {"Accept_Language": "fr-CH, fr;q=0.9, en;q=0.5"}
    async with person(proxy, pages) as alice:
        page = await alice.get(PAGE, **french)
        assert '<html lang="fr">' in page.text
        await failed(world, alice)
        event = (await alice.get(f"/gateway/status/{slug}", **french)).json
        assert event["step"] == "Le notebook n'a pas démarré"
        assert (await alice.get("/gateway/nowhere", **french)).text.count("Il n&#39;y a rien ici")


async def test_strangers_see_nothing(world: World, proxy: Rig, pages: Pages, slug: str) -> None:
    async with person(proxy, pages, "eve") as eve:
        for path in (PAGE, f"/gateway/status/{slug}", f"/gateway/events/{slug}"):
            assert (await eve.get(path)).status == 404, path
        assert (await eve.post(f"/gateway/start/{slug}")).status == 404
    assert not world.spawner.starts


async def test_events_wake_nothing(world: World, proxy: Rig, pages: Pages, slug: str) -> None:
    async with person(proxy, pages) as alice, alice.events(slug) as events:
        assert [event["phase"] async for event in events] == ["cold"]
    assert not world.spawner.starts


async def test_streams_are_bounded_and_counted_back(
    world: World, proxy: Rig, pages: Pages, slug: str, streams: Streams
) -> None:
    world.spawner.gate.clear()
    async with person(proxy, pages) as alice:
        await alice.get(PAGE)
        many = [alice.events(slug) for _ in range(6)]
        for one in many:
            await anext(await one.__aenter__())
        assert len(streams) == 6
        refused = await alice.get(f"/gateway/events/{slug}", Accept="text/event-stream")
        assert (refused.status, refused.headers["Retry-After"]) == (503, "2")
        for one in many[:3]:
            await one.__aexit__(None, None, None)
        world.spawner.gate.set()
        await until(lambda: len(streams) == 0)
        for one in many[3:]:
            await one.__aexit__(None, None, None)


async def test_stream_ends_when_the_gateway_stops(
    world: World, proxy: Rig, pages: Pages, slug: str, streams: Streams
) -> None:
    world.spawner.gate.clear()
    async with person(proxy, pages) as alice:
        await alice.get(PAGE)
        async with alice.events(slug) as events:
            await anext(events)
            world.activator.end_watching()
            assert [event async for event in events] == []
    await until(lambda: len(streams) == 0)
    world.spawner.gate.set()


async def test_stream_ends_with_the_session(
    world: World, proxy: Rig, pages: Pages, slug: str, streams: Streams
) -> None:
    world.spawner.gate.clear()
    async with person(proxy, pages) as alice:
        await alice.get(PAGE)
        await until(lambda: world.activator.status(slug).phase is Phase.CREATING)
        async with alice.events(slug) as events:
            await anext(events)
            assert (await alice.post("/gateway/logout")).status == 303
            world.spawner.gate.set()
            assert [event async for event in events] == []
    await until(lambda: len(streams) == 0)
