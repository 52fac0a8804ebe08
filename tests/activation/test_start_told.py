"""What is told of a start: its steps, the pull of its image, why it failed, and limits."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from gateway.activation.activator import Activator
from gateway.activation.admission import AdmissionLimits
from gateway.activation.progress import Phase
from gateway.errors import (
    EngineError,
    EngineUnavailable,
    GatewayError,
    ImageMissing,
    InvalidInput,
    StartFailed,
    TooManyRunning,
)
from gateway.metrics import Metrics
from gateway.namespace import Namespace
from gateway.notebooks.database import DatabaseError
from gateway.notebooks.model import Notebook, State
from gateway.notebooks.projects import utc_now
from gateway.problems import operators_problem_of
from gateway.spaces import Source, git
from gateway.spaces.git import SourceUnavailable
from gateway.spaces.spaces import SpaceError
from gateway.spawners.base import OnPull, Pull, Server, ServerSpec, untold
from tests.activation.conftest import World
from tests.support.waiting import PATIENCE, until


async def test_onlookers_are_told_of_each_step(world: World) -> None:
    slug = await world.notebook()
    world.spawner.gate.clear()
    seen: list[Phase] = []
    with world.activator.subscribe(slug) as watch:
        start = world.activator.begin(slug)
        while Phase.READY not in seen:
            await watch.moved(0.0, PATIENCE)
            phase = world.activator.status(slug).phase
            if phase is Phase.CREATING:
                world.spawner.gate.set()
            if not seen or seen[-1] is not phase:
                seen.append(phase)
    await start
    assert seen == [Phase.QUEUED, Phase.CREATING, Phase.STARTING, Phase.READY]


async def test_pull_of_the_image_is_told(world: World) -> None:
    slug = await world.notebook()
    world.spawner.missing.add("image")
    world.spawner.pulling.clear()
    task = world.activator.begin(slug)
    await until(lambda: world.activator.status(slug).pull is not None)
    status = world.activator.status(slug)
    assert (status.phase, status.position, status.pull) == (Phase.CREATING, 0, Pull(25, 100))
    world.spawner.pulling.set()
    await task
    assert world.activator.status(slug).pull is None


async def test_pulls_take_no_place_of_those_whose_image_is_there(world: World) -> None:
    await world.catalogue.add_project("large", image="large")
    world.spawner.missing.add("large")
    world.spawner.pulling.clear()
    persons = ("alice", "bob", "carol")
    waiting = [(await world.catalogue.open_for("large", one)).slug for one in persons]
    pulls = [world.activator.begin(slug) for slug in waiting]
    await until(lambda: all(world.activator.status(slug).pull for slug in waiting))
    slug = await world.notebook("dave")
    async with asyncio.timeout(PATIENCE):
        await world.activator.ensure(slug)
    world.spawner.pulling.set()
    await asyncio.gather(*pulls)
    # Of those too no more begin at once than there are places, first come, first served.
    assert [spec.slug for spec in world.spawner.starts] == [slug, *waiting]


async def test_fetches_of_a_repository_take_no_place_and_can_be_withdrawn(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetching: list[Source] = []

    async def hang(source: Source, folder: Path) -> None:
        fetching.append(source)
        await asyncio.Event().wait()

    monkeypatch.setattr(git, "clone", hang)
    await world.catalogue.add_project("remote", source="https://git.example.org/course.git")
    persons = ("alice", "bob", "carol")
    waiting = [(await world.catalogue.open_for("remote", one)).slug for one in persons]
    starts = [world.activator.begin(slug) for slug in waiting]
    await until(lambda: bool(fetching))
    async with asyncio.timeout(PATIENCE):
        await world.activator.ensure(await world.notebook("dave"))
        for slug, start in zip(waiting, starts, strict=True):
            await until(partial(world.activator.withdraw, slug))
            with pytest.raises(StartFailed, match="stopped while it waited"):
                await start


async def test_failed_pull_is_a_failed_start_and_frees_its_place(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    slug = await world.notebook()
    world.spawner.missing.add("image")

    async def pull(image: str, on_pull: OnPull = untold) -> None:
        raise ImageMissing(image, "its registry cannot be reached")

    monkeypatch.setattr(world.spawner, "pull", pull)
    with pytest.raises(StartFailed) as failed:
        await world.activator.ensure(slug)
    assert "registry" in failed.value.in_full
    assert world.catalogue.notebook(slug).state is State.FAILED
    world.spawner.missing.clear()
    slugs = [await world.notebook(f"p{number}") for number in range(3)]
    await asyncio.gather(*(world.activator.ensure(one) for one in slugs))


async def test_watching_ends_with_the_gateway(world: World) -> None:
    slug = await world.notebook()
    with world.activator.subscribe(slug) as before:
        waiting = asyncio.create_task(before.moved(PATIENCE, PATIENCE))
        await asyncio.sleep(0)
        world.activator.end_watching()
        await waiting
        assert before.over
    with world.activator.subscribe(slug) as after:
        await after.moved(PATIENCE, PATIENCE)
        assert after.over


@pytest.mark.parametrize(
    ("reason", "cause"),
    [("out of memory", "out-of-memory"), ("", "exited")],
)
async def test_cause_of_an_end_is_told(
    world: World, monkeypatch: pytest.MonkeyPatch, reason: str, cause: str
) -> None:
    slug = await world.notebook()
    world.spawner.dies = True
    inspect = world.spawner.inspect

    async def ended(slug: str) -> Server | None:
        server = await inspect(slug)
        return server and replace(server, reason=reason)

    monkeypatch.setattr(world.spawner, "inspect", ended)
    with pytest.raises(StartFailed):
        await world.activator.ensure(slug)
    assert world.activator.status(slug).cause == cause


async def test_server_that_ended_before_its_address_was_read_is_a_failed_start(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    slug = await world.notebook()
    world.spawner.dies = True
    begin = world.spawner.start

    async def ended_at_once(spec: ServerSpec, on_pull: OnPull | None = untold) -> Server:
        return replace(await begin(spec, on_pull), target=None)

    monkeypatch.setattr(world.spawner, "start", ended_at_once)
    with pytest.raises(StartFailed, match="exit code 3") as failed:
        await world.activator.ensure(slug)
    assert failed.value.log_tail


async def test_cause_of_a_refusal_of_the_engine_is_its_code(world: World) -> None:
    slug = await world.notebook()
    world.spawner.failure = ImageMissing("jupyter:none")
    with pytest.raises(StartFailed, match="jupyter:none"):
        await world.activator.ensure(slug)
    assert world.activator.status(slug).cause == "image-missing"


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        (SpaceError("space /srv/spaces/demo: no room"), "space"),
        (SourceUnavailable("source folder /srv/courses: not there"), "source"),
        (EngineUnavailable("unix:///run/docker.sock"), "engine-unavailable"),
        (EngineError("refused: mount /srv/spaces/demo"), "engine"),
        (ImageMissing("jupyter:none", "/srv/registry cannot be reached"), "image-missing"),
        (DatabaseError("/srv/state/nbgate.db cannot be read"), "database"),
        (InvalidInput("/srv/courses is no source"), ""),
        (StartFailed("x", "mount /srv/spaces/demo: not there"), ""),
    ],
)
async def test_people_are_told_no_folders_and_operators_are(
    world: World, fault: GatewayError, cause: str
) -> None:
    slug = await world.notebook()
    world.spawner.failure = fault

    with pytest.raises(StartFailed) as failed:
        await world.activator.ensure(slug)
    with pytest.raises(StartFailed) as again:
        await world.activator.ensure(slug)

    status = world.activator.status(slug)
    assert status.cause == cause or not cause
    for told in (status.reason, str(failed.value), str(again.value)):
        assert told
        assert "/srv" not in told
        assert "/run" not in told
    known = world.activator.failure(slug)
    assert known is not None
    assert "/srv" in known.in_full or "/run" in known.in_full
    assert known.in_full in operators_problem_of(again.value).detail


async def test_end_of_the_log_is_shown_without_the_hop_secret(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    slug = await world.notebook()
    world.spawner.dies = True

    async def talkative(server: Server, lines: int) -> str:
        return f"http://here/?token={world.lifecycle.secret(slug, server.generation)} !"

    monkeypatch.setattr(world.spawner, "logs", talkative)
    with pytest.raises(StartFailed) as failed:
        await world.activator.ensure(slug)
    assert failed.value.log_tail == "http://here/?token=… !"


async def test_owner_at_the_limit_is_refused_and_told_what_runs(world: World) -> None:
    first, second = await world.notebook("alice"), await second_notebook(world, "alice")
    limits = AdmissionLimits(2, per_owner=1)
    activator = Activator(
        world.lifecycle,
        world.catalogue,
        world.routes,
        Metrics(),
        limits,
        world.clock,
        Namespace().key,
    )
    start = activator.begin(first)
    with pytest.raises(TooManyRunning, match=first):
        activator.begin(second)
    await start
    with pytest.raises(TooManyRunning, match=first):
        activator.begin(second)
    await world.lifecycle.stop_container(first)
    await activator.ensure(second)
    await activator.close()


async def second_notebook(world: World, owner: str) -> str:
    """Make one more notebook of a person; return its slug."""
    book = Notebook("second", "second", "demo", owner, utc_now())
    return (await world.catalogue.add_notebook(book)).slug
