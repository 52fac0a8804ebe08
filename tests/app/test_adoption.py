"""What runs is taken over also where the engine comes up later than the gateway."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from gateway.app import running
from gateway.errors import EngineUnavailable
from gateway.settings import Settings
from tests.activation.fakes import FakeSpawner
from tests.support.places import free_port
from tests.support.waiting import until


class LastingSpawner(FakeSpawner):
    """Its servers outlive the gateway, as an engine's do."""

    async def close(self) -> None:
        """Leave them alone."""


@pytest.fixture
async def spawner(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[LastingSpawner]:
    """The spawner of every gateway that the test starts; it tries again soon."""
    made = LastingSpawner()
    monkeypatch.setattr("gateway.app.base.spawner_of", lambda *_: made)
    monkeypatch.setattr("gateway.app.engine._ENGINE_SECONDS", 0.001)
    yield made
    await FakeSpawner.close(made)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        state_dir=tmp_path / "state",
        listen="127.0.0.1:0",
        management_listen=f"127.0.0.1:{free_port()}",
    )


@pytest.fixture
async def api(settings: Settings) -> AsyncIterator[aiohttp.ClientSession]:
    """A client of the management API; there is a token once a gateway was started."""
    origin = f"http://{settings.management_listen}"
    async with aiohttp.ClientSession(origin) as client:
        yield client


def token(settings: Settings) -> dict[str, str]:
    return {"Authorization": f"Bearer {settings.token_file.read_text().strip()}"}


async def test_engine_that_is_down_at_the_start_is_used_once_it_is_up(
    spawner: LastingSpawner,
    settings: Settings,
    api: aiohttp.ClientSession,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with running(settings) as first:
        await first.catalogue.add_project("demo")
        slug = (await first.catalogue.open_for("demo", "alice")).slug
        before = await first.activator.ensure(slug)
    spawner.down, spawner.found = EngineUnavailable("unix:///nowhere.sock"), "unknown"
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        async with running(settings) as second:
            asked = spawner.asked
            await until(lambda: spawner.asked > asked + 2)
            (told,) = [
                record.getMessage()
                for record in caplog.records
                if record.name == "gateway.app.engine"
            ]
            assert "unix:///nowhere.sock does not answer" in told, "told once, however often tried"
            assert await mode_of(api, settings) == "unknown"
            status, problem = await direct_link(api, settings, slug)
            assert (status, problem["type"]) == (503, "about:blank#engine-unavailable")
            assert "prod mode" not in problem["detail"]
            spawner.down = None
            await until(lambda: second.activator.status(slug).phase == "ready")
            assert await mode_of(api, settings) == "dev"
            status, link = await direct_link(api, settings, slug)
            assert (status, link["url"].startswith(f"http://{before.target}/")) == (201, True)
    assert (len(spawner.starts), spawner.stopped) == (1, []), "what ran went on running"


async def mode_of(api: aiohttp.ClientSession, settings: Settings) -> str:
    async with api.get("/gateway/api", headers=token(settings)) as answer:
        mode: str = (await answer.json())["mode"]
        return mode


async def direct_link(
    api: aiohttp.ClientSession, settings: Settings, slug: str
) -> tuple[int, dict[str, str]]:
    body = {"slug": slug, "direct": True}
    async with api.post("/gateway/api/links", json=body, headers=token(settings)) as answer:
        return answer.status, await answer.json(content_type=None)
