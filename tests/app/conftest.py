"""What gateways share is tried on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from gateway.notebooks.database import Database
from tests.support.databases import cluster, database, database_url

__all__ = ["cluster", "database", "database_url"]


@pytest.fixture
async def second(database: Database, database_url: str) -> AsyncIterator[Database]:
    """The same database, as another gateway has it open."""
    opened = Database(database_url)
    await opened.open()
    yield opened
    await opened.close()
