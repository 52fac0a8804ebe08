"""Fixtures: the management application with a client that holds its token."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp.test_utils import TestClient, TestServer
from aiohttp.web import Application, Request

from gateway.api import build_management_app
from tests.api.support import TOKEN, World, world_in

Client = TestClient[Request, Application]


def client_for(world: World, token: str = TOKEN) -> Client:
    """Return a client of the management application on `world`; "" for no token."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return TestClient(TestServer(build_management_app(world.services)), headers=headers)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with world_in(tmp_path) as made:
        yield made


@pytest.fixture
async def client(world: World) -> AsyncIterator[Client]:
    async with client_for(world) as made:
        yield made


@pytest.fixture
async def stranger(world: World) -> AsyncIterator[Client]:
    """A client without the token."""
    async with client_for(world, token="") as made:
        yield made


@pytest.fixture
def course(tmp_path: Path) -> Path:
    """A folder with a course's files."""
    folder = tmp_path / "course"
    (folder / "w1").mkdir(parents=True)
    (folder / "w1" / "été n°1.ipynb").write_text("{}")
    return folder
