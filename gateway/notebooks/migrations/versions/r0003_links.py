"""Ways in by links: what a course takes, keys and used nonces, and whose a plain link's id is."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns and make the tables."""
    op.add_column("projects", sa.Column("links", sa.String(16)))
    op.add_column("projects", sa.Column("links_page", sa.String(16)))
    _keys()
    _bindings()


def downgrade() -> None:
    """Take them away again."""
    for table in ("link_bindings", "link_nonces", "link_keys"):
        op.drop_table(table)
    op.drop_column("projects", "links_page")
    op.drop_column("projects", "links")


def _moment() -> sa.DateTime:
    return sa.DateTime(timezone=True)


def _of_project(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["project"], ["projects.name"], name=f"fk_{table}_project", ondelete="CASCADE"
    )


def _keys() -> None:
    op.create_table(
        "link_keys",
        sa.Column("kid", sa.String(32), nullable=False),
        sa.Column("issuer", sa.String(63), nullable=False),
        sa.Column("project", sa.String(63)),
        sa.Column("created", _moment(), nullable=False),
        sa.PrimaryKeyConstraint("kid", name="pk_link_keys"),
        _of_project("link_keys"),
    )
    op.create_table(
        "link_nonces",
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("expires", _moment(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_link_nonces"),
    )
    op.create_index("ix_link_nonces_expires", "link_nonces", ["expires"])


def _bindings() -> None:
    op.create_table(
        "link_bindings",
        sa.Column("project", sa.String(63), nullable=False),
        sa.Column("student", sa.String(255), nullable=False),
        sa.Column("session", sa.String(64), nullable=False),
        sa.Column("created", _moment(), nullable=False),
        sa.PrimaryKeyConstraint("project", "student", name="pk_link_bindings"),
        _of_project("link_bindings"),
        sa.ForeignKeyConstraint(
            ["session"], ["sessions.id"], name="fk_link_bindings_session", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_link_bindings_session", "link_bindings", ["session"])
