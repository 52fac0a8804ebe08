"""Sessions and their tokens as rows: the statements. No rules, no memory: those are sessions.py's.

Each change is noted for the other gateways (see shared.note); that a time is over each sees itself.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.launch import secret
from gateway.launch.session_table import Principal
from gateway.notebooks.schema import session_tokens, sessions
from gateway.notebooks.shared import SESSION, note

_AT_ONCE = 500
_WORTH_IT = 0.05

Row = sa.Row[Any]


class SessionRows:
    """The tables of sessions and of their tokens, over one connection."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def add(
        self,
        principal: Principal,
        issuer: str | None,
        edge: str,
        created: datetime,
        expires: datetime,
    ) -> None:
        """Store a new session. Its first token is what others are told of."""
        await self._connection.execute(
            sa.insert(sessions).values(
                id=principal.session,
                subject=principal.subject,
                display_name=principal.display_name,
                administrator=principal.administrator,
                issuer=issuer,
                edge=edge,
                created=created,
                expires=expires,
            )
        )

    async def add_token(self, token: str, session: str, host: str, created: datetime) -> None:
        """Store a session's token for a host. Raises IntegrityError: there is no such session."""
        await self._connection.execute(
            sa.insert(session_tokens).values(
                digest=secret.digest(token), session=session, host=host.lower(), created=created
            )
        )
        await note(self._connection, SESSION, [session])

    async def alive(self, session: str, now: datetime) -> Row | None:
        """Return what is known of a session; None where it has ended."""
        found = await self._connection.execute(
            sa.select(sessions).where(sessions.c.id == session, sessions.c.expires > now)
        )
        return found.one_or_none()

    async def tokens(self, now: datetime, of: Collection[str] | None = None) -> Iterable[Row]:
        """Return the tokens of sessions, each with what is known of its session.

        Args:
            now: what is over by then is left out.
            of: ids of sessions; None for all.
        """
        read = sa.select(
            session_tokens.c.digest,
            session_tokens.c.host,
            sessions.c.id,
            sessions.c.subject,
            sessions.c.administrator,
            sessions.c.display_name,
            sessions.c.issuer,
            sessions.c.expires,
            sessions.c.edge,
        ).join_from(session_tokens, sessions)
        which = sa.true() if of is None else sessions.c.id.in_(of)
        rows: Iterable[Row] = await self._connection.execute(
            read.where(sessions.c.expires > now, which)
        )
        return rows

    async def issuers(self, of: Collection[str] | None = None) -> set[str]:
        """Return who vouched for people of these sessions; None for all that are stored."""
        which = sa.true() if of is None else sessions.c.id.in_(of)
        read = sa.select(sessions.c.issuer).where(which, sessions.c.issuer.is_not(None))
        return set(await self._connection.scalars(read.distinct()))

    async def delete(self, session: str) -> None:
        """Remove a session, which may be gone already."""
        await self._connection.execute(sa.delete(sessions).where(sessions.c.id == session))
        await note(self._connection, SESSION, [session])

    async def delete_of(self, subject: str) -> list[str]:
        """Remove a person's sessions; return which they were."""
        return await self._delete_where(sessions.c.subject == subject)

    async def delete_by(self, issuers: Collection[str]) -> list[str]:
        """Remove the sessions of people for whom these vouched; return which they were."""
        return await self._delete_where(sessions.c.issuer.in_(issuers))

    async def _delete_where(self, which: sa.ColumnElement[bool]) -> list[str]:
        ended = list(await self._connection.scalars(sa.select(sessions.c.id).where(which)))
        await self._connection.execute(sa.delete(sessions).where(which))
        await note(self._connection, SESSION, ended)
        return ended

    async def expire(self, now: datetime) -> int:
        """Remove the sessions whose time is over; return how many."""
        gone = await self._connection.execute(sa.delete(sessions).where(sessions.c.expires <= now))
        return gone.rowcount

    async def put_off(
        self, used: Mapping[str, datetime], unused: timedelta, lifetime: timedelta, now: datetime
    ) -> list[str]:
        """Put off the ends of sessions; return of which.

        A write for a little time more is not worth it.

        Args:
            used: people, and when each was last there.
            unused: how long a session lives after that.
            lifetime: how long at most, since it began.
            now: the time; what is over stays over.
        """
        later, subjects = [], list(used)
        for start in range(0, len(subjects), _AT_ONCE):
            which = sessions.c.subject.in_(subjects[start : start + _AT_ONCE])
            rows = await self._connection.execute(
                sa.select(sessions).where(which, sessions.c.expires > now)
            )
            for row in rows.all():
                end = min(used[row.subject] + unused, row.created + lifetime)
                if end - row.expires > unused * _WORTH_IT:
                    await self._end_at(row.id, end)
                    later.append(row.id)
        await note(self._connection, SESSION, later)
        return later

    async def _end_at(self, session: str, end: datetime) -> None:
        statement = sa.update(sessions).where(sessions.c.id == session).values(expires=end)
        await self._connection.execute(statement)
