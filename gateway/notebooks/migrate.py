"""Takes a database to the newest schema, by the steps in migrations/."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.ext.asyncio import AsyncConnection

# Any number that nobody else uses as an advisory lock: "nbgate" in ASCII.
_ADVISORY_LOCK = int.from_bytes(b"nbgate", "big")


class TooNew(Exception):
    """The database has a revision that this nbgate does not know. The text is the revision."""


def configuration() -> Config:
    """Return alembic's configuration, without a file."""
    config = Config()
    # The ini parser underneath takes % for an interpolation.
    folder = str(Path(__file__).parent / "migrations").replace("%", "%%")
    config.set_main_option("script_location", folder)
    config.set_main_option("path_separator", "os")
    return config


async def upgrade(connection: AsyncConnection) -> None:
    """Take the missing steps within the connection's transaction, under a lock.

    In SQLite the transaction itself, begun with BEGIN IMMEDIATE, is the lock. In PostgreSQL
    it is an advisory lock that ends with the transaction.

    Raises:
        TooNew: the database is ahead of us.
    """
    if connection.dialect.name == "postgresql":
        await connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_ADVISORY_LOCK)))
    await connection.run_sync(_upgrade)


def _upgrade(connection: sa.Connection) -> None:
    config = configuration()
    script = ScriptDirectory.from_config(config)
    known = {revision.revision for revision in script.walk_revisions()}
    current = set(MigrationContext.configure(connection).get_current_heads())
    if current - known:
        raise TooNew(", ".join(sorted(current - known)))
    if current == set(script.get_heads()):
        return
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
