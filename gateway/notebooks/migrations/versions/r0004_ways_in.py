"""Ways in: who beside its owner may use a notebook, who may frame it, and what httpd knows."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns."""
    op.add_column("projects", sa.Column("frame_ancestors", sa.JSON()))
    op.add_column("projects", sa.Column("anonymous", sa.Boolean()))
    op.add_column("notebooks", sa.Column("shared_with", sa.JSON()))
    op.add_column("sessions", sa.Column("issuer", sa.Text()))
    op.add_column("sessions", sa.Column("edge", sa.String(64)))


def downgrade() -> None:
    """Take them away again."""
    for table, column in (
        ("sessions", "edge"),
        ("sessions", "issuer"),
        ("notebooks", "shared_with"),
        ("projects", "anonymous"),
        ("projects", "frame_ancestors"),
    ):
        op.drop_column(table, column)
