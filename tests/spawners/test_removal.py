"""Removal that fails, and what is swept, on a real engine."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from gateway.spawners.base import Change, ServerState
from gateway.spawners.containers import Containers
from gateway.spawners.docker_spec import GENERATION, INSTALLATION, SLUG
from gateway.spawners.engine import EngineRefused
from gateway.spawners.removal import Removal, aside_name, leftover
from tests.spawners.faulty_engine import Fault, faulty
from tests.spawners.helpers import Workshop, until_ready
from tests.support.engine import EngineHandle

BUSY = "driver failed to remove root filesystem: unlinkat /data/x: device or resource busy"
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


async def test_removal_that_fails_for_a_moment_is_tried_again(workshop: Workshop) -> None:
    fault = Fault("DELETE", BUSY, times=2)
    async with faulty(workshop.engine, workshop.root, fault) as url:
        spawner = workshop.spawner(docker_host=url)
        spec = workshop.spec()
        server = await spawner.start(spec)

        await spawner.stop(server, grace=5)

        assert len(fault.seen) == 2
        assert await spawner.inspect(spec.slug) is None
        assert names(workshop) == []


@pytest.mark.parametrize("status", [409, 500])
async def test_container_that_cannot_be_removed_gives_its_name_free(
    workshop: Workshop, status: int
) -> None:
    fault = Fault("DELETE", BUSY, times=1000, status=status)
    async with faulty(workshop.engine, workshop.root, fault) as url:
        spawner = workshop.spawner(docker_host=url)
        spec = workshop.spec()
        stuck = await spawner.start(spec)
        async with workshop.spawner().watch(None) as events:
            await spawner.stop(stuck, grace=5)
            changes = [(await anext(events)).change for _ in range(2)]

        assert changes == [Change.ENDED, Change.REMOVED]
        assert await spawner.inspect(spec.slug) is None
        assert await spawner.list() == []
        again = await spawner.start(replace(spec, generation=2))
        await until_ready(again, "/")
        assert names(workshop) == sorted([spec.slug, aside_name(stuck.id, spec.slug)])
        fault.times = 0

        assert await spawner.sweep(3600) == []
        swept = await spawner.sweep(0)

        assert swept == [f"{spec.slug}: container {stuck.id[:12]} (could not be removed before)"]
        assert names(workshop) == [spec.slug]
        assert await spawner.inspect(spec.slug) == again


async def test_old_container_that_cannot_be_removed_does_not_block_a_start(
    workshop: Workshop,
) -> None:
    spec = workshop.spec()
    old = await workshop.spawner().start(spec)
    await workshop.spawner().stop(old, grace=5, keep=True)
    async with faulty(workshop.engine, workshop.root, Fault("DELETE", BUSY, times=1000)) as url:
        spawner = workshop.spawner(docker_host=url)

        server = await spawner.start(replace(spec, generation=2))

        assert (server.id != old.id, server.generation) == (True, 2)
        assert aside_name(old.id, spec.slug) in names(workshop)


async def test_sweep_that_cannot_remove_says_so_by_not_naming_it(workshop: Workshop) -> None:
    never = made_but_not_started(workshop)
    async with faulty(workshop.engine, workshop.root, Fault("DELETE", BUSY, times=1000)) as url:
        assert await workshop.spawner(docker_host=url).sweep(0) == []

    assert names(workshop) == [never]


async def test_sweep_takes_leftovers_and_nothing_else(workshop: Workshop) -> None:
    spawner = workshop.spawner()
    running, paused, kept = [await spawner.start(workshop.spec()) for _ in range(3)]
    await spawner.pause(paused)
    await spawner.stop(kept, grace=5, keep=True)
    never = made_but_not_started(workshop)
    other = Workshop(workshop.engine, workshop.root, workshop.image)
    try:
        theirs = made_but_not_started(other)

        assert await spawner.sweep(3600) == []
        (line,) = await spawner.sweep(0)

        assert line.startswith(f"{never}: container ")
        assert line.endswith(" (never started)")
        assert names(other) == [theirs]
    finally:
        await other.clean()
    states = {server.slug: server.state for server in await spawner.list()}
    assert states == {
        running.slug: ServerState.RUNNING,
        paused.slug: ServerState.PAUSED,
        kept.slug: ServerState.EXITED,
    }


async def test_lists_and_sweeps_ask_nothing_more_about_what_has_ended(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    spawner = workshop.spawner()
    kept = await spawner.start(workshop.spec())
    await spawner.stop(kept, grace=5, keep=True)
    asked: list[str] = []
    find = Containers.find

    async def noted(self: Containers, name: str) -> dict[str, Any] | None:
        asked.append(name)
        return await find(self, name)

    monkeypatch.setattr(Containers, "find", noted)

    (listed,) = await spawner.list()
    assert (listed.id, listed.state, listed.status) == (kept.id, ServerState.EXITED, "exited")
    assert await spawner.sweep(0) == []
    assert asked == []


class OneBroken(Containers):
    """Three containers that never started; of the first the engine cannot tell."""

    def __init__(self) -> None:
        self.left = ["broken", "one", "two"]

    async def of(self, installation: str) -> list[dict[str, Any]]:
        return [{"Id": name, "State": "created", "Names": [f"/{name}"]} for name in self.left]

    async def find(self, name: str) -> dict[str, Any] | None:
        if name == "broken":
            raise EngineRefused(500, "RWLayer of container is unexpectedly nil")
        return inspected("created") | {"Id": name}

    async def remove(self, container: str) -> None:
        self.left.remove(container)


async def test_container_that_the_engine_cannot_tell_of_keeps_none_behind_it() -> None:
    containers = OneBroken()
    found = [data["Id"] async for data, _ in Removal(containers, [0.0]).swept("ours", NOW, 0)]
    assert (found, containers.left) == (["one", "two"], ["broken"])


async def test_container_that_the_engine_itself_failed_to_remove_blocks_no_start(
    workshop: Workshop,
) -> None:
    spawner, spec = workshop.spawner(), workshop.spec()
    stuck = await spawner.start(spec)
    with unremovable(workshop.engine, stuck.id):
        await spawner.stop(stuck, grace=5)

        assert await spawner.inspect(spec.slug) is None
        again = await spawner.start(replace(spec, generation=2))

        assert again.state is ServerState.RUNNING
        assert names(workshop) == sorted([spec.slug, aside_name(stuck.id, spec.slug)])
        assert await spawner.sweep(0) == []
    assert len(await spawner.sweep(0)) == 1
    assert names(workshop) == [spec.slug]


def inspected(status: str, name: str = "/demo", **state: str) -> dict[str, Any]:
    return {
        "Id": "0123456789abcdef",
        "Name": name,
        "Created": "2026-03-01T10:00:00Z",
        "Config": {"Labels": {"org.nbgate.slug": "demo"}},
        "State": {"Status": status, **state},
    }


ASIDE = "/demo-gone-0123456789ab"


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (inspected("created"), "never started"),
        (inspected("dead"), "dead"),
        (inspected("exited", ASIDE), "could not be removed before"),
        (inspected("exited"), ""),
        (inspected("exited", "/renamed-by-somebody"), ""),
        (inspected("running", ASIDE), ""),
        (inspected("paused", ASIDE), ""),
        (inspected("removing", ASIDE), ""),
        (inspected("exited", ASIDE, FinishedAt="2026-03-01T11:59:30Z"), ""),
        (inspected("created") | {"Created": "2026-03-01T12:30:00Z"}, ""),
        (inspected("created") | {"Config": {"Labels": None}}, ""),
    ],
)
def test_leftovers_are_what_no_start_will_use(data: dict[str, Any], why: str) -> None:
    assert leftover(data, NOW, 60) == why


def made_but_not_started(workshop: Workshop) -> str:
    """Leave what a gateway leaves that is killed between create and start; return the slug."""
    slug = workshop.spec().slug
    labels = {INSTALLATION: workshop.installation, SLUG: slug, GENERATION: "1"}
    with contextlib.closing(workshop.engine.client()) as client:
        client.api.create_container(workshop.image, name=slug, labels=labels)
    return slug


@contextlib.contextmanager
def unremovable(engine: EngineHandle, container: str) -> Iterator[None]:
    """Have the engine's own removal of a container fail, by a file that not even root deletes."""
    with contextlib.closing(engine.client()) as client:
        data = client.api.inspect_container(container)
    file = Path(data["GraphDriver"]["Data"]["UpperDir"]) / "stays"
    file.touch()
    subprocess.run(["chattr", "+i", file], check=True)
    try:
        yield
    finally:
        subprocess.run(["chattr", "-i", file], check=True)


def names(workshop: Workshop) -> list[str]:
    """Return the names of all containers of the installation."""
    with contextlib.closing(workshop.engine.client()) as client:
        label = f"org.nbgate.installation={workshop.installation}"
        found = client.api.containers(all=True, filters={"label": label})
    return sorted(item["Names"][0].removeprefix("/") for item in found)
