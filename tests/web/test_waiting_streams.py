"""The events that a waiting page follows: what they tell, how many there are, when they end."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gateway.activation.progress import Phase
from gateway.spawners.base import OnPull, Pull, untold
from gateway.web.context import Pages
from gateway.web.streams import Streams
from tests.activation.conftest import World
from tests.proxy.harness import Rig
from tests.support.waiting import PATIENCE, until
from tests.web.conftest import PAGE
from tests.web.person import person


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


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing but what happens moves a stream: no heartbeat, and the end of no pause."""
    monkeypatch.setattr("gateway.web.streams._HEARTBEAT", 3600.0)
    monkeypatch.setattr("gateway.web.streams._pause", lambda status: 3600.0)


async def test_stream_ends_at_once_with_its_session(
    world: World, proxy: Rig, pages: Pages, slug: str, streams: Streams, unhurried: None
) -> None:
    world.spawner.gate.clear()
    async with person(proxy, pages) as alice, person(proxy, pages) as again:
        await alice.get(PAGE)
        async with alice.events(slug) as events, again.events(slug) as others:
            await anext(events)
            await anext(others)
            assert (await alice.post("/gateway/logout")).status == 303
            assert await rest(events) == []
            assert len(streams) == 1, "another session of the same person goes on"
            await pages.sessions.revoke_all("alice")
            assert await rest(others) == []
    await until(lambda: len(streams) == 0)
    assert not any(vars(streams).values()), "nothing is kept of who has gone"
    world.spawner.gate.set()


async def test_stream_ends_at_once_for_who_may_use_the_notebook_no_more(
    world: World, proxy: Rig, pages: Pages, slug: str, streams: Streams, unhurried: None
) -> None:
    world.spawner.gate.clear()
    await world.catalogue.share(slug, ["bob"])
    await world.catalogue.update_project("demo", staff=("tina",))
    async with (
        person(proxy, pages) as alice,
        person(proxy, pages, "bob") as bob,
        person(proxy, pages, "tina") as tina,
    ):
        await alice.get(PAGE)
        async with (
            alice.events(slug) as owners,
            bob.events(slug) as bobs,
            tina.events(slug) as tinas,
        ):
            for events in (owners, bobs, tinas):
                await anext(events)
            await world.catalogue.unshare(slug, ["bob"])
            assert await rest(bobs) == []
            assert len(streams) == 2
            await world.catalogue.update_project("demo", staff=())
            assert await rest(tinas) == []
            assert len(streams) == 1
            world.activator.end_watching()
            assert await rest(owners) == []
    await until(lambda: len(streams) == 0)
    world.spawner.gate.set()


async def rest(events: Any) -> list[Any]:
    """Return what is still told until the end, which is to come."""
    async with asyncio.timeout(PATIENCE):
        return [event async for event in events]
