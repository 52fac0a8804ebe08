"""Each test of a database here runs on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from gateway.notebooks.catalogue import Catalogue
from gateway.notebooks.database import Database
from tests.notebooks.books import now
from tests.support.databases import cluster, database, database_url

__all__ = ["cluster", "database", "database_url"]


@pytest.fixture
async def catalogue(database: Database) -> Catalogue:
    """A catalogue with one project, demo."""
    made = Catalogue(database, now)
    await made.load()
    await made.add_project("demo")
    return made


@pytest.fixture
async def other(catalogue: Catalogue, database_url: str) -> AsyncIterator[Catalogue]:
    """Another gateway's catalogue, on the same database."""
    database = Database(database_url)
    await database.open()
    made = Catalogue(database, now)
    await made.load()
    yield made
    await database.close()
