"""The first tables: projects, notebooks, sessions with their tokens, tickets."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    _projects()
    _notebooks()
    _sessions()
    _tickets()


def downgrade() -> None:
    """Drop them, those that refer to others first."""
    for table in ("tickets", "session_tokens", "sessions", "notebooks", "projects"):
        op.drop_table(table)


def _moment() -> sa.DateTime:
    return sa.DateTime(timezone=True)


def _projects() -> None:
    op.create_table(
        "projects",
        sa.Column("name", sa.String(63), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("created", _moment(), nullable=False),
        sa.Column("source", sa.Text()),
        sa.Column("image", sa.Text()),
        sa.Column("memory", sa.BigInteger()),
        sa.Column("cpus", sa.Double()),
        sa.Column("environment", sa.JSON(), nullable=False),
        sa.Column("labels", sa.JSON(), nullable=False),
        sa.Column("staff", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_projects"),
    )


def _notebooks() -> None:
    op.create_table(
        "notebooks",
        sa.Column("slug", sa.String(63), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("project", sa.String(63), nullable=False),
        sa.Column("owner", sa.String(255), nullable=False),
        sa.Column("created", _moment(), nullable=False),
        sa.Column("container_image", sa.Text()),
        sa.Column("memory", sa.BigInteger()),
        sa.Column("cpus", sa.Double()),
        sa.Column("environment", sa.JSON(), nullable=False),
        sa.Column("labels", sa.JSON(), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("engine_id", sa.Text(), nullable=False),
        sa.Column("container_id", sa.Text()),
        sa.Column("port", sa.Integer()),
        sa.Column("internal_url", sa.Text()),
        sa.Column("locked_by", sa.String(255)),
        sa.Column("lock_reason", sa.Text()),
        sa.Column("locked_since", _moment()),
        sa.ForeignKeyConstraint(
            ["project"], ["projects.name"], name="fk_notebooks_project", ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("slug", name="pk_notebooks"),
    )
    op.create_index("ix_notebooks_owner", "notebooks", ["owner"])
    op.create_index("ix_notebooks_project", "notebooks", ["project"])


def _sessions() -> None:
    op.create_table(
        "sessions",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("subject", sa.String(255), nullable=False),
        sa.Column("display_name", sa.Text(), nullable=False),
        sa.Column("administrator", sa.Boolean(), nullable=False),
        sa.Column("created", _moment(), nullable=False),
        sa.Column("expires", _moment(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_sessions"),
    )
    op.create_index("ix_sessions_expires", "sessions", ["expires"])
    op.create_table(
        "session_tokens",
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("session", sa.String(64), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("created", _moment(), nullable=False),
        sa.ForeignKeyConstraint(
            ["session"], ["sessions.id"], name="fk_session_tokens_session", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("digest", name="pk_session_tokens"),
    )
    op.create_index("ix_session_tokens_session", "session_tokens", ["session"])


def _tickets() -> None:
    op.create_table(
        "tickets",
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("purpose", sa.String(32), nullable=False),
        sa.Column("subject", sa.String(255), nullable=False),
        sa.Column("session", sa.String(64)),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("next_path", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("created", _moment(), nullable=False),
        sa.Column("expires", _moment(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_tickets"),
    )
    op.create_index("ix_tickets_expires", "tickets", ["expires"])
