"""Whose the ids of plain links are: each id of a course is its first browser session's.

A plain link proves nothing, so what counts is the session that came with an id first. It has it
until it ends, or the teacher releases the id.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from gateway.notebooks.database import Database
from gateway.notebooks.projects import utc_now
from gateway.notebooks.schema import link_bindings, sessions


class Bindings:
    """See the module's docstring. In the database alone, so that two gateways agree.

    Args:
        database: open; it stays the caller's to close.
        now: the time in UTC.
    """

    def __init__(self, database: Database, now: Callable[[], datetime] = utc_now) -> None:
        self._database = database
        self._now = now

    async def holder(self, project: str, student: str) -> str | None:
        """Return the session that has the id now, or None."""
        statement = (
            sa.select(link_bindings.c.session)
            .join_from(link_bindings, sessions)
            .where(*_is(project, student), sessions.c.expires > self._now())
        )
        async with self._database.reading() as connection:
            found: str | None = (await connection.execute(statement)).scalar_one_or_none()
        return found

    async def claim(self, project: str, student: str, session: str) -> bool:
        """Give the id to a session; False if another has it. Of two at once, one gets it."""
        over = sa.select(sessions.c.id).where(sessions.c.expires <= self._now())
        stale = sa.delete(link_bindings).where(
            *_is(project, student), link_bindings.c.session.in_(over)
        )
        row = sa.insert(link_bindings).values(
            project=project, student=student, session=session, created=self._now()
        )
        try:
            async with self._database.writing() as connection:
                await connection.execute(stale)
                await connection.execute(row)
        except IntegrityError:
            return False
        return True

    async def release(self, project: str, student: str) -> str | None:
        """Make the id free again; return the session that had it, or None."""
        statement = (
            sa.delete(link_bindings)
            .where(*_is(project, student))
            .returning(link_bindings.c.session)
        )
        async with self._database.writing() as connection:
            found: str | None = (await connection.execute(statement)).scalar_one_or_none()
        return found


def _is(project: str, student: str) -> tuple[sa.ColumnElement[bool], sa.ColumnElement[bool]]:
    return (link_bindings.c.project == project, link_bindings.c.student == student)
