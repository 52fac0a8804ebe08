"""What the tests of servers that are processes share."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.spawners.base import Server, ServerSpec
from gateway.spawners.process import ProcessSpawner
from tests.spawners.helpers import SECRET
from tests.spawners.notebook_client import NOTEBOOK

LMS = "https://lms.example.org"


@pytest.fixture
async def spawner(tmp_path: Path) -> AsyncIterator[ProcessSpawner]:
    made = ProcessSpawner(tmp_path / "state")
    yield made
    for server in await made.list():
        await made.stop(server, grace=5)
    await made.close()


@pytest.fixture
def spec(tmp_path: Path) -> ServerSpec:
    space = tmp_path / "space"
    space.mkdir()
    (space / "answer.ipynb").write_text(json.dumps(NOTEBOOK))
    return ServerSpec(
        slug="demo",
        generation=3,
        image="",
        base_url="/nb/demo/",
        token=SECRET,
        user_name="Alice",
        space=space,
        environment={"COURSE": "bio"},
        frame_ancestors=(LMS,),
    )


def pid_of(server: Server) -> int:
    return int(server.id.split("-")[0])


def ticks_of(server: Server) -> int:
    return int(server.id.split("-")[1])
