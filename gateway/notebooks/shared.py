"""What gateways that share a database tell each other: who is alive, traffic, leases, changes.

Moments are the database's, never a machine's: gateways' clocks may differ. Statements only; when
they are made is activation/leadership.py's and activation/sharing.py's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.notebooks import schema

NOTEBOOK, PROJECT, SESSION = "notebook", "project", "session"
_REPORTED = ("last", "requests", "websockets", "reported")


def moment(
    connection: AsyncConnection, seconds: float | sa.ColumnElement[Any] = 0.0
) -> sa.ColumnElement[Any]:
    """Return the database's time, `seconds` later, as an expression."""
    if connection.dialect.name == "sqlite":
        # As SQLAlchemy writes moments, so that they compare as text.
        form = "%Y-%m-%d %H:%M:%f000"
        later = sa.func.printf("%+.3f seconds", seconds)
        return sa.func.strftime(form, "now", later, type_=schema.UtcDateTime)
    later = sa.func.make_interval(0, 0, 0, 0, 0, 0, seconds)
    return sa.type_coerce(sa.func.clock_timestamp() + later, schema.UtcDateTime)


def _insert(connection: AsyncConnection, table: sa.Table) -> postgresql.Insert | sqlite.Insert:
    """Return the dialect's INSERT, which knows ON CONFLICT."""
    if connection.dialect.name == "sqlite":
        return sqlite.insert(table)
    return postgresql.insert(table)


async def note(connection: AsyncConnection, kind: str, names: Iterable[str]) -> None:
    """Note, in the transaction of a change, what has changed: others read it anew.

    Args:
        connection: in the transaction.
        kind: NOTEBOOK, PROJECT or SESSION.
        names: slugs, names or ids.
    """
    rows = [{"name": name} for name in names]
    if rows:
        statement = sa.insert(schema.changes).values(kind=kind, moment=moment(connection))
        await connection.execute(statement, rows)


@dataclass(frozen=True, slots=True)
class Noted:
    """One change that somebody made.

    Attributes:
        number: counts up; of two at once the later may be committed first.
        kind: NOTEBOOK, PROJECT or SESSION.
        name: slug, name or id.
    """

    number: int
    kind: str
    name: str


class ChangeRows:
    """The table of changes, over one connection."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def bounds(self) -> tuple[int, int]:
        """Return the numbers of the first and the last one that is still there; 0, 0 for none."""
        number = schema.changes.c.number
        row = await self._connection.execute(sa.select(sa.func.min(number), sa.func.max(number)))
        first, last = row.one()
        return first or 0, last or 0

    async def after(self, number: int) -> Sequence[Noted]:
        """Return those with a higher number, in order."""
        table = schema.changes
        rows = await self._connection.execute(
            sa.select(table.c.number, table.c.kind, table.c.name)
            .where(table.c.number > number)
            .order_by(table.c.number)
        )
        return [Noted(row.number, row.kind, row.name) for row in rows]

    async def forget(self, age: float) -> int:
        """Remove those that are older than `age` seconds; return how many."""
        table = schema.changes
        before = moment(self._connection, -age)
        gone = await self._connection.execute(sa.delete(table).where(table.c.moment < before))
        return gone.rowcount


class LeaseRows:
    """The table of leases, over one connection."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def take(self, name: str, holder: str, seconds: float) -> bool:
        """Take or renew a lease for so long; return False while another holds it."""
        statement = _insert(self._connection, schema.leases).values(
            name=name, holder=holder, expires=moment(self._connection, seconds)
        )
        table = schema.leases
        free = sa.or_(
            table.c.holder == holder,
            table.c.expires <= moment(self._connection),
            # None lasts so long: the database's clock was set back.
            table.c.expires > moment(self._connection, seconds * 2),
        )
        taken = await self._connection.execute(
            statement.on_conflict_do_update(
                index_elements=[table.c.name],
                set_={"holder": holder, "expires": moment(self._connection, seconds)},
                where=free,
            ).returning(table.c.holder)
        )
        return taken.one_or_none() is not None

    async def release(self, name: str, holder: str) -> None:
        """Give a lease up, if `holder` has it."""
        table = schema.leases
        await self._connection.execute(
            sa.delete(table).where(table.c.name == name, table.c.holder == holder)
        )


class GatewayRows:
    """The table of gateways, over one connection."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def beat(self, gateway: str, name: str) -> None:
        """Say that a gateway is alive.

        Args:
            gateway: its id, of this run of it.
            name: for people.
        """
        now = moment(self._connection)
        statement = _insert(self._connection, schema.gateways).values(
            id=gateway, name=name, started=now, seen=now
        )
        await self._connection.execute(
            statement.on_conflict_do_update(
                index_elements=[schema.gateways.c.id], set_={"seen": now}
            )
        )

    async def supersede(self, gateway: str, name: str) -> None:
        """Have earlier runs of this gateway, which ended without a word, be gone.

        Args:
            gateway: the id of this run.
            name: which no two gateways have at once.
        """
        table = schema.gateways
        rows = await self._connection.execute(
            sa.select(table.c.id).where(table.c.name == name, table.c.id != gateway)
        )
        for before in rows.scalars().all():
            await self.leave(before)

    async def alive(self, seconds: float) -> Mapping[str, str]:
        """Return the names, by id, of those that said so within the last `seconds`."""
        table = schema.gateways
        rows = await self._connection.execute(
            sa.select(table.c.id, table.c.name).where(
                table.c.seen > moment(self._connection, -seconds),
                # One seen in the future was seen before the database's clock was set back.
                table.c.seen < moment(self._connection, seconds),
            )
        )
        return {row.id: row.name for row in rows}

    async def leave(self, gateway: str) -> None:
        """Say that a gateway ends: it leads nothing, nothing is open there.

        Its signs of people stay.
        """
        await self._connection.execute(
            sa.delete(schema.leases).where(schema.leases.c.holder == gateway)
        )
        await self._connection.execute(
            sa.delete(schema.gateways).where(schema.gateways.c.id == gateway)
        )
        await self._connection.execute(
            sa.update(schema.activities)
            .where(schema.activities.c.gateway == gateway)
            .values(requests=0, websockets=0)
        )

    async def sweep(self, seconds: float) -> int:
        """Remove those that were not seen for so long, with their traffic; return how many."""
        table, traffic = schema.gateways, schema.activities
        before = moment(self._connection, -seconds)
        gone = await self._connection.execute(sa.delete(table).where(table.c.seen < before))
        await self._connection.execute(
            sa.delete(traffic).where(
                traffic.c.reported < before, traffic.c.gateway.not_in(sa.select(table.c.id))
            )
        )
        return gone.rowcount


@dataclass(frozen=True, slots=True)
class Use:
    """The traffic of one notebook.

    Attributes:
        quiet: seconds since the last sign of a person; None for never.
        requests: in flight.
        websockets: open.
    """

    quiet: float | None = None
    requests: int = 0
    websockets: int = 0

    def beside(self, other: Use) -> Use:
        """Return the traffic of both together."""
        known = [use.quiet for use in (self, other) if use.quiet is not None]
        return Use(
            min(known) if known else None,
            self.requests + other.requests,
            self.websockets + other.websockets,
        )


class ActivityRows:
    """The table of notebooks' traffic at each gateway, over one connection."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def report(self, gateway: str, uses: Mapping[str, Use]) -> None:
        """Store what the traffic at one gateway is now, by slug."""
        if not uses:
            return
        later = sa.bindparam("later", type_=sa.Float)
        insert = _insert(self._connection, schema.activities).values(
            gateway=gateway,
            last=sa.case((later.is_not(None), moment(self._connection, later))),
            reported=moment(self._connection),
        )
        statement = insert.on_conflict_do_update(
            index_elements=[schema.activities.c.slug, schema.activities.c.gateway],
            set_={name: insert.excluded[name] for name in _REPORTED},
        )
        rows = [
            {
                "slug": slug,
                "later": None if use.quiet is None else -use.quiet,
                "requests": use.requests,
                "websockets": use.websockets,
            }
            for slug, use in uses.items()
        ]
        await self._connection.execute(statement, rows)

    async def sweep(self) -> None:
        """Remove what is told of notebooks that were deleted."""
        slugs = sa.select(schema.notebooks.c.slug)
        await self._connection.execute(
            sa.delete(schema.activities).where(schema.activities.c.slug.not_in(slugs))
        )

    async def all(self, alive: Iterable[str], without: str = "") -> Mapping[str, Use]:
        """Return the traffic at all gateways together, by slug.

        Args:
            alive: ids of gateways; what another says is open there is open no more.
            without: id of a gateway to leave out; "" for none.
        """
        table, living = schema.activities, frozenset(alive)
        rows = await self._connection.execute(
            sa.select(table, moment(self._connection).label("now")).where(
                table.c.gateway != without
            )
        )
        uses: dict[str, Use] = {}
        for row in rows:
            open_now = (row.requests, row.websockets) if row.gateway in living else (0, 0)
            quiet = None if row.last is None else _seconds(row.last, row.now)
            uses[row.slug] = Use(quiet, *open_now).beside(uses.get(row.slug, Use()))
        return uses


def _seconds(since: datetime, now: datetime) -> float:
    # A database whose clock was set back has marks of the future.
    return max(0.0, (now - since).total_seconds())
