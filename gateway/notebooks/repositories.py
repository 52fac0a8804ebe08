"""Projects and notebooks as rows: the statements, and values from rows. No rules, no memory.

Each change is noted for the other gateways (see shared.note).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.notebooks import schema
from gateway.notebooks.model import (
    Health,
    Lifetimes,
    Limits,
    LinkPage,
    Links,
    Lock,
    Notebook,
    Project,
    State,
)
from gateway.notebooks.shared import NOTEBOOK, PROJECT, note

Values = dict[str, Any]
Row = sa.RowMapping

_PLAIN_PROJECT = frozenset({"name", "title", "created", "source", "image"})
_PLAIN_NOTEBOOK = frozenset(
    field.name
    for field in dataclasses.fields(Notebook)
    if field.name in schema.notebooks.columns
    and field.name not in ("environment", "labels", "state", "health", "shared_with")
)


def columns_of(changes: Mapping[str, Any]) -> Values:
    """Return fields of a Project or Notebook, by name, as columns."""
    columns: Values = {}
    for name, value in changes.items():
        match name:
            case "limits":
                columns |= {"memory": value.memory, "cpus": value.cpus}
            case "lock":
                columns |= _lock_columns(value)
            case "environment" | "labels":
                columns[name] = dict(value)
            case "staff" | "shared_with" | "frame_ancestors":
                columns[name] = None if value is None else list(value)
            case "state" | "links" | "links_page":
                columns[name] = str(value)
            case "health":
                columns[name] = None if value is None else str(value)
            case "lifetimes":
                columns[name] = dataclasses.asdict(value)
            case _:
                columns[name] = value
    return columns


def _lock_columns(lock: Lock | None) -> Values:
    if lock is None:
        return {"locked_by": None, "lock_reason": None, "locked_since": None}
    return {"locked_by": lock.locked_by, "lock_reason": lock.reason, "locked_since": lock.since}


def _fields(value: Project | Notebook) -> Values:
    return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}


def _project(row: Row) -> Project:
    return Project(
        **{name: row[name] for name in _PLAIN_PROJECT},
        limits=Limits(row["memory"], row["cpus"]),
        environment=row["environment"],
        labels=row["labels"],
        staff=tuple(row["staff"]),
        lifetimes=Lifetimes(**(row["lifetimes"] or {})),
        links=Links(row["links"] or Links.OFF),
        links_page=LinkPage(row["links_page"] or LinkPage.NOTEBOOK),
        frame_ancestors=None if row["frame_ancestors"] is None else tuple(row["frame_ancestors"]),
        anonymous=bool(row["anonymous"]),
    )


def _notebook(row: Row) -> Notebook:
    lock = None
    if row["locked_by"] is not None:
        lock = Lock(row["locked_by"], row["lock_reason"], row["locked_since"])
    return Notebook(
        **{name: row[name] for name in _PLAIN_NOTEBOOK},
        limits=Limits(row["memory"], row["cpus"]),
        environment=row["environment"],
        labels=row["labels"],
        state=State(row["state"]),
        health=None if row["health"] is None else Health(row["health"]),
        lock=lock,
        shared_with=tuple(row["shared_with"] or ()),
    )


def _held(statement: sa.Select[Any], for_change: bool) -> sa.Select[Any]:
    # SQLite knows no row locks and leaves this out: there the transaction is the lock.
    return statement.with_for_update() if for_change else statement


class ProjectRows:
    """The table of projects, over one connection."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def all(self) -> Sequence[Project]:
        """Return all, sorted by name."""
        rows = await self._connection.execute(
            sa.select(schema.projects).order_by(schema.projects.c.name)
        )
        return [_project(row) for row in rows.mappings()]

    async def add(self, project: Project) -> None:
        """Store a new one. Raises IntegrityError: its name is taken."""
        await self._connection.execute(
            sa.insert(schema.projects).values(columns_of(_fields(project)))
        )
        await note(self._connection, PROJECT, [project.name])

    async def get(self, name: str, *, for_change: bool = False) -> Project | None:
        """Return one; with `for_change` nobody else changes it until the transaction ends."""
        statement = sa.select(schema.projects).where(schema.projects.c.name == name)
        rows = await self._connection.execute(_held(statement, for_change))
        row = rows.mappings().one_or_none()
        return None if row is None else _project(row)

    async def change(self, name: str, columns: Mapping[str, Any]) -> Project | None:
        """Change some columns; return it as it is now, or None when there is none."""
        statement = (
            sa.update(schema.projects)
            .where(schema.projects.c.name == name)
            .values(dict(columns))
            .returning(schema.projects)
        )
        row = (await self._connection.execute(statement)).mappings().one_or_none()
        if row is None:
            return None
        await note(self._connection, PROJECT, [name])
        return _project(row)

    async def delete(self, name: str) -> None:
        """Remove it. Raises IntegrityError: it has notebooks."""
        await self._connection.execute(
            sa.delete(schema.projects).where(schema.projects.c.name == name)
        )
        await note(self._connection, PROJECT, [name])


class NotebookRows:
    """The table of notebooks, over one connection."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def all(self) -> Sequence[Notebook]:
        """Return all, sorted by slug."""
        rows = await self._connection.execute(
            sa.select(schema.notebooks).order_by(schema.notebooks.c.slug)
        )
        return [_notebook(row) for row in rows.mappings()]

    async def some(self, slugs: Collection[str]) -> Sequence[Notebook]:
        """Return those of `slugs` that are there."""
        rows = await self._connection.execute(
            sa.select(schema.notebooks).where(schema.notebooks.c.slug.in_(slugs))
        )
        return [_notebook(row) for row in rows.mappings()]

    async def get(self, slug: str, *, for_change: bool = False) -> Notebook | None:
        """Return one; with `for_change` nobody else changes it until the transaction ends."""
        statement = sa.select(schema.notebooks).where(schema.notebooks.c.slug == slug)
        rows = await self._connection.execute(_held(statement, for_change))
        row = rows.mappings().one_or_none()
        return None if row is None else _notebook(row)

    async def of_project(self, project: str, *, for_change: bool = False) -> Sequence[Notebook]:
        """Return a project's notebooks, sorted by slug; `for_change` as in `get`."""
        statement = (
            sa.select(schema.notebooks)
            .where(schema.notebooks.c.project == project)
            .order_by(schema.notebooks.c.slug)
        )
        rows = await self._connection.execute(_held(statement, for_change))
        return [_notebook(row) for row in rows.mappings()]

    async def add(self, notebook: Notebook) -> None:
        """Store a new one. Raises IntegrityError: the slug is taken, or there is no project."""
        await self._connection.execute(
            sa.insert(schema.notebooks).values(columns_of(_fields(notebook)))
        )
        await note(self._connection, NOTEBOOK, [notebook.slug])

    async def change(self, slug: str, columns: Mapping[str, Any]) -> Notebook | None:
        """Change some columns; return it as it is now, or None when there is none."""
        statement = (
            sa.update(schema.notebooks)
            .where(schema.notebooks.c.slug == slug)
            .values(dict(columns))
            .returning(schema.notebooks)
        )
        row = (await self._connection.execute(statement)).mappings().one_or_none()
        if row is None:
            return None
        await note(self._connection, NOTEBOOK, [slug])
        return _notebook(row)

    async def next_generation(self, slug: str) -> Notebook | None:
        """Count the generation up, in one statement, so that nobody else gets the same."""
        return await self.change(slug, {"generation": schema.notebooks.c.generation + 1})

    async def delete(self, slug: str) -> None:
        """Remove it; nothing happens when it is not there."""
        await self._connection.execute(
            sa.delete(schema.notebooks).where(schema.notebooks.c.slug == slug)
        )
        await note(self._connection, NOTEBOOK, [slug])
