"""The tables. Rows to values is the repositories' work; how tables come to be, migrations/'s."""

from __future__ import annotations

from datetime import UTC, datetime

import sqlalchemy as sa
from sqlalchemy.engine import Dialect


class UtcDateTime(sa.TypeDecorator[datetime]):
    """A moment, stored in UTC and read as an aware datetime, also where the engine knows none."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return `value` in UTC; a naive one is a programming error (ValueError)."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a moment without a time zone cannot be stored")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return what is stored as an aware datetime in UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


# Named constraints: a migration can only change what it can name.
metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

projects = sa.Table(
    "projects",
    metadata,
    sa.Column("name", sa.String(63), primary_key=True),
    sa.Column("title", sa.Text, nullable=False),
    sa.Column("created", UtcDateTime, nullable=False),
    sa.Column("source", sa.Text),
    sa.Column("image", sa.Text),
    sa.Column("memory", sa.BigInteger),
    sa.Column("cpus", sa.Double),
    sa.Column("environment", sa.JSON, nullable=False),
    sa.Column("labels", sa.JSON, nullable=False),
    sa.Column("staff", sa.JSON, nullable=False),
    sa.Column("lifetimes", sa.JSON),
    sa.Column("links", sa.String(16)),
    sa.Column("links_page", sa.String(16)),
    sa.Column("frame_ancestors", sa.JSON),
    sa.Column("anonymous", sa.Boolean),
)

notebooks = sa.Table(
    "notebooks",
    metadata,
    sa.Column("slug", sa.String(63), primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column(
        "project",
        sa.String(63),
        sa.ForeignKey("projects.name", ondelete="RESTRICT"),
        nullable=False,
        index=True,
    ),
    sa.Column("owner", sa.String(255), nullable=False, index=True),
    sa.Column("created", UtcDateTime, nullable=False),
    sa.Column("container_image", sa.Text),
    sa.Column("memory", sa.BigInteger),
    sa.Column("cpus", sa.Double),
    sa.Column("environment", sa.JSON, nullable=False),
    sa.Column("labels", sa.JSON, nullable=False),
    sa.Column("generation", sa.BigInteger, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("engine_id", sa.Text, nullable=False),
    sa.Column("container_id", sa.Text),
    sa.Column("port", sa.Integer),
    sa.Column("internal_url", sa.Text),
    sa.Column("engine_status", sa.String(32)),
    sa.Column("health", sa.String(16)),
    sa.Column("health_reason", sa.Text),
    sa.Column("started", UtcDateTime),
    sa.Column("last_active", UtcDateTime),
    sa.Column("locked_by", sa.String(255)),
    sa.Column("lock_reason", sa.Text),
    sa.Column("locked_since", UtcDateTime),
    sa.Column("shared_with", sa.JSON),
)

sessions = sa.Table(
    "sessions",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("subject", sa.String(255), nullable=False),
    sa.Column("display_name", sa.Text, nullable=False),
    sa.Column("administrator", sa.Boolean, nullable=False),
    sa.Column("issuer", sa.Text),
    # What httpd knows a session by where it admits people itself; worthless elsewhere.
    sa.Column("edge", sa.String(64)),
    sa.Column("created", UtcDateTime, nullable=False),
    sa.Column("expires", UtcDateTime, nullable=False, index=True),
)

session_tokens = sa.Table(
    "session_tokens",
    metadata,
    # SHA-256 in hexadecimal; the token itself is in the browser only.
    sa.Column("digest", sa.String(64), primary_key=True),
    sa.Column(
        "session",
        sa.String(64),
        sa.ForeignKey("sessions.id", ondelete="CASCADE"),
        nullable=False,
        index=True,
    ),
    sa.Column("host", sa.Text, nullable=False),
    sa.Column("created", UtcDateTime, nullable=False),
)

tickets = sa.Table(
    "tickets",
    metadata,
    # SHA-256 in hexadecimal; the ticket itself is in its URL only.
    sa.Column("digest", sa.String(64), primary_key=True),
    sa.Column("purpose", sa.String(32), nullable=False),
    sa.Column("subject", sa.String(255), nullable=False),
    sa.Column("session", sa.String(64)),
    sa.Column("host", sa.Text, nullable=False),
    sa.Column("next_path", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("created", UtcDateTime, nullable=False),
    sa.Column("expires", UtcDateTime, nullable=False, index=True),
)

operations = sa.Table(
    "operations",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    # No foreign key: what was done outlives the notebook.
    sa.Column("slug", sa.String(63), nullable=False, index=True),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("state", sa.String(16), nullable=False, index=True),
    sa.Column("requested_by", sa.String(255), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    # Who carries it out; it is another's to end when that gateway is gone.
    sa.Column("gateway", sa.String(32), nullable=False),
    sa.Column("created", UtcDateTime, nullable=False),
    sa.Column("began", UtcDateTime),
    sa.Column("ended", UtcDateTime, index=True),
    sa.Column("error", sa.Text),
)

gateways = sa.Table(
    "gateways",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("started", UtcDateTime, nullable=False),
    sa.Column("seen", UtcDateTime, nullable=False),
)

activities = sa.Table(
    "activities",
    metadata,
    sa.Column("slug", sa.String(63), primary_key=True),
    sa.Column("gateway", sa.String(32), primary_key=True),
    sa.Column("last", UtcDateTime),
    sa.Column("requests", sa.Integer, nullable=False),
    sa.Column("websockets", sa.Integer, nullable=False),
    sa.Column("reported", UtcDateTime, nullable=False),
)

leases = sa.Table(
    "leases",
    metadata,
    sa.Column("name", sa.String(32), primary_key=True),
    sa.Column("holder", sa.String(32), nullable=False),
    sa.Column("expires", UtcDateTime, nullable=False),
)

# What was changed, in order: gateways that share the database read it to follow each other.
changes = sa.Table(
    "changes",
    metadata,
    sa.Column(
        "number",
        sa.BigInteger().with_variant(sa.Integer, "sqlite"),
        primary_key=True,
        autoincrement=True,
    ),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("name", sa.String(64), nullable=False),
    sa.Column("moment", UtcDateTime, nullable=False, index=True),
    # A number is never given again, also when all rows were removed.
    sqlite_autoincrement=True,
)

link_keys = sa.Table(
    "link_keys",
    metadata,
    # Random, so that it never comes again: the secret is derived from it.
    sa.Column("kid", sa.String(32), primary_key=True),
    sa.Column("issuer", sa.String(63), nullable=False),
    # None: it is good for every course.
    sa.Column("project", sa.String(63), sa.ForeignKey("projects.name", ondelete="CASCADE")),
    sa.Column("created", UtcDateTime, nullable=False),
)

link_nonces = sa.Table(
    "link_nonces",
    metadata,
    # SHA-256 in hexadecimal of key id and nonce.
    sa.Column("digest", sa.String(64), primary_key=True),
    sa.Column("expires", UtcDateTime, nullable=False, index=True),
)

link_bindings = sa.Table(
    "link_bindings",
    metadata,
    sa.Column(
        "project",
        sa.String(63),
        sa.ForeignKey("projects.name", ondelete="CASCADE"),
        primary_key=True,
    ),
    sa.Column("student", sa.String(255), primary_key=True),
    # With its session, an id is free again.
    sa.Column(
        "session",
        sa.String(64),
        sa.ForeignKey("sessions.id", ondelete="CASCADE"),
        nullable=False,
        index=True,
    ),
    sa.Column("created", UtcDateTime, nullable=False),
)
