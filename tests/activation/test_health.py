"""Servers that are ready are probed: one that hangs is said to be unhealthy, and is not touched."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

import pytest

from gateway.activation.figures import HealthFigures
from gateway.activation.health import HealthWatch
from gateway.activation.readiness import Answer, ReadinessProbe
from gateway.notebooks.model import Health, State
from gateway.proxy.interface import RouteEntry
from routes.keys import Target
from tests.activation.conftest import World
from tests.activation.followed import Pauses
from tests.support.waiting import until

INTERVAL = 30.0


class Watched:
    """A health watch that runs."""

    def __init__(self, world: World) -> None:
        self.world, self.pauses = world, Pauses()
        figures = HealthFigures(world.metrics.registry, self._unhealthy)
        self._watch = HealthWatch(world.lifecycle, self._hot, figures, INTERVAL, self.pauses)

    def _hot(self) -> Sequence[RouteEntry]:
        entries = (
            self.world.routes.entry(f"/nb/{book.slug}") for book in self.world.catalogue.notebooks()
        )
        return [entry for entry in entries if entry is not None and entry.target is not None]

    def _unhealthy(self) -> float:
        return sum(b.health is Health.UNHEALTHY for b in self.world.catalogue.notebooks())

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self._watch.run())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    def probes(self, result: str) -> float:
        sample = self.world.metrics.registry.get_sample_value
        return sample("nbgate_health_probes_total", {"result": result}) or 0.0

    async def round(self, result: str) -> None:
        """End the pause; the next probe has this result."""
        before = self.probes(result)
        await self.pauses.over(INTERVAL)
        await until(lambda: self.probes(result) > before)


@pytest.fixture
async def watched(world: World) -> AsyncIterator[Watched]:
    made = Watched(world)
    async with made.running():
        yield made


async def test_server_that_misses_three_probes_is_unhealthy_and_goes_on(
    watched: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    world = watched.world
    slug = await world.notebook()
    entry = await world.activator.ensure(slug)
    assert world.catalogue.notebook(slug).health is Health.HEALTHY
    world.spawner.hang(slug, hangs=True)
    for _ in range(2):
        await watched.round("missed")
        assert world.catalogue.notebook(slug).health is Health.HEALTHY
    await watched.round("missed")
    await until(lambda: world.catalogue.notebook(slug).health is Health.UNHEALTHY)
    record = world.catalogue.notebook(slug)
    assert record.health_reason == "3 probes in a row had no good answer"
    assert record.state is State.RUNNING
    assert (world.routes.entry(entry.key), world.spawner.stopped) == (entry, [])
    assert world.metrics.registry.get_sample_value("nbgate_unhealthy_servers") == 1

    def told() -> list[str]:
        return [r.name for r in caplog.records if r.getMessage().startswith("unhealthy reason=")]

    await until(lambda: bool(told()))
    assert told() == [f"nbgate.notebook.{slug}"]
    world.spawner.hang(slug, hangs=False)
    await watched.round("answered")
    await until(lambda: world.catalogue.notebook(slug).health is Health.HEALTHY)
    assert world.catalogue.notebook(slug).health_reason is None


async def test_answer_in_between_starts_the_count_again(watched: Watched) -> None:
    world = watched.world
    slug = await world.notebook()
    await world.activator.ensure(slug)
    for hangs in (True, True, False, True, True):
        world.spawner.hang(slug, hangs=hangs)
        await watched.round("missed" if hangs else "answered")
    assert world.catalogue.notebook(slug).health is Health.HEALTHY


async def test_probe_of_a_server_that_was_stopped_meanwhile_counts_for_nothing(
    watched: Watched,
) -> None:
    world = watched.world
    slug = await world.notebook()
    entry = await world.activator.ensure(slug)
    await world.lifecycle.stop_container(slug)
    assert await world.lifecycle.ask(entry) is None
    await world.lifecycle.record_health(entry, Health.UNHEALTHY, "old news")
    assert world.catalogue.notebook(slug).health is None


async def test_server_that_is_made_anew_begins_healthy(watched: Watched) -> None:
    world = watched.world
    slug = await world.notebook()
    await world.activator.ensure(slug)
    world.spawner.hang(slug, hangs=True)
    for _ in range(3):
        await watched.round("missed")
    await until(lambda: world.catalogue.notebook(slug).health is Health.UNHEALTHY)
    await world.lifecycle.stop_container(slug)
    await world.activator.ensure(slug)
    record = world.catalogue.notebook(slug)
    assert (record.health, record.health_reason) == (Health.HEALTHY, None)


async def test_probes_are_spread_over_the_interval(watched: Watched) -> None:
    for number in range(3):
        await watched.world.activator.ensure(await watched.world.notebook(f"p{number}"))
    await watched.pauses.over(INTERVAL)
    for _ in range(3):
        await watched.pauses.over(INTERVAL / 3)
    await until(lambda: watched.probes("answered") >= 3)


async def test_secret_is_not_sent_to_who_has_the_address_now(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    slug = await world.notebook()
    entry = await world.activator.ensure(slug)
    await world.lifecycle.stop_container(slug)
    asked: list[str] = []

    async def ask(self: ReadinessProbe, target: Target, base_url: str, secret: str) -> Answer:
        asked.append(secret)
        return Answer.REFUSED

    monkeypatch.setattr(ReadinessProbe, "ask", ask)
    assert await world.lifecycle.ask(entry) is None
    assert asked == []
