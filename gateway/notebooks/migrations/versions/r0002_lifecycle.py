"""The life cycle: lifetimes, health, operations, and what gateways that share a database tell."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_FACTS = ("engine_status", "health", "health_reason", "started", "last_active")


def upgrade() -> None:
    """Add the columns and make the tables."""
    op.add_column("projects", sa.Column("lifetimes", sa.JSON()))
    op.add_column("notebooks", sa.Column("engine_status", sa.String(32)))
    op.add_column("notebooks", sa.Column("health", sa.String(16)))
    op.add_column("notebooks", sa.Column("health_reason", sa.Text()))
    op.add_column("notebooks", sa.Column("started", _moment()))
    op.add_column("notebooks", sa.Column("last_active", _moment()))
    _operations()
    _shared()
    _changes()


def downgrade() -> None:
    """Take them away again."""
    for table in ("changes", "leases", "activities", "gateways", "operations"):
        op.drop_table(table)
    for column in _FACTS:
        op.drop_column("notebooks", column)
    op.drop_column("projects", "lifetimes")


def _moment() -> sa.DateTime:
    return sa.DateTime(timezone=True)


def _operations() -> None:
    op.create_table(
        "operations",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("slug", sa.String(63), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("requested_by", sa.String(255), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("gateway", sa.String(32), nullable=False),
        sa.Column("created", _moment(), nullable=False),
        sa.Column("began", _moment()),
        sa.Column("ended", _moment()),
        sa.Column("error", sa.Text()),
        sa.PrimaryKeyConstraint("id", name="pk_operations"),
    )
    for column in ("slug", "state", "ended"):
        op.create_index(f"ix_operations_{column}", "operations", [column])


def _shared() -> None:
    op.create_table(
        "gateways",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("started", _moment(), nullable=False),
        sa.Column("seen", _moment(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_gateways"),
    )
    op.create_table(
        "activities",
        sa.Column("slug", sa.String(63), nullable=False),
        sa.Column("gateway", sa.String(32), nullable=False),
        sa.Column("last", _moment()),
        sa.Column("requests", sa.Integer(), nullable=False),
        sa.Column("websockets", sa.Integer(), nullable=False),
        sa.Column("reported", _moment(), nullable=False),
        sa.PrimaryKeyConstraint("slug", "gateway", name="pk_activities"),
    )
    op.create_table(
        "leases",
        sa.Column("name", sa.String(32), nullable=False),
        sa.Column("holder", sa.String(32), nullable=False),
        sa.Column("expires", _moment(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_leases"),
    )


def _changes() -> None:
    op.create_table(
        "changes",
        sa.Column(
            "number",
            sa.BigInteger().with_variant(sa.Integer, "sqlite"),
            nullable=False,
            autoincrement=True,
        ),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("moment", _moment(), nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_changes"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_changes_moment", "changes", ["moment"])
