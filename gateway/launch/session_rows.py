"""The rows of sessions and their tokens: statements alone; what is in memory is sessions.py's."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.launch import secret
from gateway.launch.session_table import Principal
from gateway.notebooks.schema import session_tokens, sessions

_AT_ONCE = 500
_WORTH_IT = 0.05


def of_session(
    principal: Principal, issuer: str | None, edge: str, created: datetime, expires: datetime
) -> sa.Insert:
    """Return what stores a new session."""
    return sa.insert(sessions).values(
        id=principal.session,
        subject=principal.subject,
        display_name=principal.display_name,
        administrator=principal.administrator,
        issuer=issuer,
        edge=edge,
        created=created,
        expires=expires,
    )


def of_token(token: str, session: str, host: str, created: datetime) -> sa.Insert:
    """Return what stores a session's token for a host."""
    return sa.insert(session_tokens).values(
        digest=secret.digest(token), session=session, host=host.lower(), created=created
    )


def tokens_of(which: sa.ColumnElement[bool]) -> sa.Select[tuple[object, ...]]:
    """Return what reads the tokens of some sessions, each with what is known of its session."""
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
    )
    return read.join_from(session_tokens, sessions).where(which)


async def later_ends(
    connection: AsyncConnection,
    used: Mapping[str, datetime],
    unused: timedelta,
    lifetime: timedelta,
    now: datetime,
) -> list[str]:
    """Put off the ends of sessions, in a transaction; return of which.

    A write for a little time more is not worth it.

    Args:
        connection: in the transaction.
        used: people, and when each was last there.
        unused: how long a session lives after that.
        lifetime: how long at most, since it began.
        now: the time; what is over stays over.
    """
    later, subjects = [], list(used)
    for start in range(0, len(subjects), _AT_ONCE):
        which = sessions.c.subject.in_(subjects[start : start + _AT_ONCE])
        rows = await connection.execute(sa.select(sessions).where(which, sessions.c.expires > now))
        for row in rows.all():
            end = min(used[row.subject] + unused, row.created + lifetime)
            if end - row.expires > unused * _WORTH_IT:
                this = sessions.c.id == row.id
                await connection.execute(sa.update(sessions).where(this).values(expires=end))
                later.append(row.id)
    return later
