"""Notebooks of the real image that run: one for all tests of a module, or one for each."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from gateway.spawners.base import Server, ServerSpec
from gateway.spawners.docker import DockerSpawner
from tests.spawners.helpers import (
    Workshop,
    until_ready,
    url_of,
)
from tests.spawners.notebook_client import NOTEBOOK
from tests.support.engine import EngineHandle

LMS = "https://lms.example.org"


@dataclass(frozen=True, slots=True)
class Running:
    """A notebook that runs, and what it was made from."""

    spawner: DockerSpawner
    spec: ServerSpec
    server: Server

    def url(self, path: str) -> str:
        return url_of(self.server, self.spec.base_url + path)


@pytest.fixture(scope="module")
def running(
    engine: EngineHandle, notebook_image: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    """One notebook for the tests that only talk to it."""
    made = Workshop(engine, tmp_path_factory.mktemp("spaces"), notebook_image)
    yield asyncio.run(run(made))
    asyncio.run(made.clean())


@pytest.fixture
async def own(jupyter: Workshop) -> Running:
    """A notebook of the test's own, to be stopped and started."""
    return await run(jupyter)


async def run(workshop: Workshop, **changes: Any) -> Running:
    spec = workshop.spec(frame_ancestors=(LMS,), **changes)
    (spec.space / "answer.ipynb").write_text(json.dumps(NOTEBOOK))
    spawner = workshop.spawner()
    server = await spawner.start(spec)
    await until_ready(server, f"{spec.base_url}api/status")
    return Running(spawner, spec, server)
