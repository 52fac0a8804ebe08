"""Each test of a database here runs on SQLite and on PostgreSQL."""

from __future__ import annotations

from tests.support.databases import cluster, database, database_url

__all__ = ["cluster", "database", "database_url"]
