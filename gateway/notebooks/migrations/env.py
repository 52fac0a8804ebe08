"""What alembic runs for each command: the steps, over the connection that migrate.py opened.

The transaction and the lock are migrate.py's; there is no alembic.ini and no offline mode.
"""

from __future__ import annotations

from alembic import context

from gateway.notebooks.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
)
with context.begin_transaction():
    context.run_migrations()
