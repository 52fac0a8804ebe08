"""Fixtures: an empty database of each kind that is supported, and one opened on it."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine

from gateway.notebooks.database import Database
from tests.support.postgres import Cluster, running_cluster


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A PostgreSQL server for the tests of one folder."""
    with running_cluster() as started:
        yield started


@pytest.fixture(params=["sqlite", "postgresql"])
async def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[str]:
    """The URL of a new, empty database; the test runs once for each kind."""
    if request.param == "sqlite":
        yield f"sqlite+aiosqlite:///{tmp_path / 'nbgate.db'}"
        return
    yield await new_database(request.getfixturevalue("cluster"))


async def new_database(server: Cluster) -> str:
    """Make an empty database; return its URL."""
    name = f"t{uuid.uuid4().hex}"
    engine = create_async_engine(
        server.url("postgres").replace("postgresql:", "postgresql+asyncpg:"),
        isolation_level="AUTOCOMMIT",
    )
    async with engine.connect() as connection:
        await connection.execute(sa.text(f"CREATE DATABASE {name}"))
    await engine.dispose()
    return server.url(name)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """An open, empty database."""
    opened = Database(database_url)
    await opened.open()
    yield opened
    await opened.close()
