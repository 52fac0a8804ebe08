"""Operations as values and as rows: what was done to a notebook, by whom, why, and how it ended.

Statements only; when an operation is made, carried out or taken over is activation/operations.py's.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.notebooks.schema import operations as table


class Kind(enum.StrEnum):
    """What is done to a notebook."""

    CREATE = "create"
    START = "start"
    STOP = "stop"
    REMOVE = "remove"
    """The stopped container that was kept goes."""
    DELETE = "delete"
    """The notebook is stopped and forgotten."""
    PURGE = "purge"
    """It is deleted together with its space."""


class Progress(enum.StrEnum):
    """How far an operation is."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    """Its gateway ended before it did; with no end of its own yet, it is still to be decided."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation.

    Attributes:
        id: 32 hexadecimal digits.
        slug: the notebook's; it may be gone.
        kind: see Kind.
        state: see Progress.
        requested_by: the subject who wanted it.
        reason: why, for people; "" for none.
        gateway: the id of the gateway that carries it out.
        created: UTC.
        began: UTC; None while it is queued.
        ended: UTC; None until it has.
        error: one line on why it failed; None if it did not.
    """

    id: str
    slug: str
    kind: Kind
    state: Progress
    requested_by: str
    reason: str
    gateway: str
    created: datetime
    began: datetime | None = None
    ended: datetime | None = None
    error: str | None = None


# Built once: to build them takes longer than to carry them out.
_UPDATE = sa.update(table).where(table.c.id == sa.bindparam("which"))
_INSERT = sa.insert(table)


class OperationRows:
    """The table of operations, over one connection."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def put(self, operations: Iterable[Operation]) -> None:
        """Store operations as they are now, new or not."""
        for operation in operations:
            columns = _columns(operation)
            changed = await self._connection.execute(_UPDATE, columns | {"which": operation.id})
            if not changed.rowcount:
                await self._connection.execute(_INSERT, columns)

    async def get(self, identity: str) -> Operation | None:
        """Return one, or None."""
        rows = await self._connection.execute(sa.select(table).where(table.c.id == identity))
        row = rows.mappings().one_or_none()
        return None if row is None else _operation(row)

    async def last(
        self, slug: str | None, state: Progress | None, limit: int
    ) -> Sequence[Operation]:
        """Return the last ones, the latest first; None means of any notebook, in any state."""
        statement = sa.select(table).order_by(table.c.created.desc(), table.c.id).limit(limit)
        if slug is not None:
            statement = statement.where(table.c.slug == slug)
        if state is not None:
            statement = statement.where(table.c.state == str(state))
        rows = await self._connection.execute(statement)
        return [_operation(row) for row in rows.mappings()]

    async def unfinished(self) -> Sequence[Operation]:
        """Return those that have not ended, in the order in which they were made."""
        statement = (
            sa.select(table).where(table.c.ended.is_(None)).order_by(table.c.created, table.c.id)
        )
        rows = await self._connection.execute(statement)
        return [_operation(row) for row in rows.mappings()]

    async def claim(self, operation: Operation, gateway: str) -> bool:
        """Take an unfinished operation over from its gateway; False if another was quicker."""
        statement = (
            sa.update(table)
            .where(
                table.c.id == operation.id,
                table.c.gateway == operation.gateway,
                table.c.ended.is_(None),
            )
            .values(gateway=gateway)
        )
        return bool((await self._connection.execute(statement)).rowcount)

    async def forget(self, before: datetime) -> int:
        """Remove those that ended before a moment; return how many."""
        statement = sa.delete(table).where(table.c.ended < before)
        return (await self._connection.execute(statement)).rowcount


def _columns(operation: Operation) -> dict[str, Any]:
    columns = {
        field.name: getattr(operation, field.name) for field in dataclasses.fields(Operation)
    }
    return columns | {"kind": str(operation.kind), "state": str(operation.state)}


def _operation(row: sa.RowMapping) -> Operation:
    values = {field.name: row[field.name] for field in dataclasses.fields(Operation)}
    return Operation(**values | {"kind": Kind(row["kind"]), "state": Progress(row["state"])})
