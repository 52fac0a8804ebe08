"""Sessions: who a browser is, at each of the hosts that it visits.

A session has one token per host (an origin of its own for each notebook in host routing), so
that a token which a notebook's page gets hold of is of no use elsewhere. Reading is from memory,
since the data path asks for each request; changes go to the database first.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import Callable, Collection, Coroutine
from datetime import datetime, timedelta
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from gateway.errors import NotFound
from gateway.launch import secret
from gateway.launch.session_table import Principal, SessionTable, token_digest
from gateway.notebooks.database import Database
from gateway.notebooks.projects import utc_now
from gateway.notebooks.schema import session_tokens, sessions
from gateway.notebooks.shared import SESSION, note
from gateway.proxy.interface import DataPath

T = TypeVar("T")

_MOST_OF_ONE = 500
_MOST_TOKENS = 200


class Sessions:
    """Makes and ends sessions, in the database and in the table.

    Args:
        database: open; it stays the caller's to close.
        table: what the data path reads.
        lifetime: seconds a session lives.
        now: the time in UTC.
        most: sessions that one person gets here; one more ends the oldest. A link that is good for
            a day can be opened over and over.
    """

    def __init__(
        self,
        database: Database,
        table: SessionTable,
        lifetime: float,
        now: Callable[[], datetime] = utc_now,
        most: int = _MOST_OF_ONE,
    ) -> None:
        self.table = table
        self._database = database
        self._lifetime = timedelta(seconds=lifetime)
        self._now = now
        self._most = most
        self._made: dict[str, deque[str]] = {}  # by subject, since the start; some have ended
        self._turn = asyncio.Lock()
        self._data_path: DataPath | None = None

    def attach(self, data_path: DataPath) -> None:
        """From now on a change is done when `data_path` has it in force."""
        self._data_path = data_path

    async def load(self) -> None:
        """Fill the table from the database."""
        await self._change(self._load, "sessions-load")

    async def refresh(self, session_ids: Collection[str]) -> None:
        """Read some sessions anew that another gateway has begun, extended or ended."""
        await self._change(lambda: self._refresh(session_ids), "sessions-refresh")

    async def create(
        self, subject: str, host: str, administrator: bool = False, display_name: str = ""
    ) -> str:
        """Begin a session and return its token for `host`.

        `host` is a Host header as the browser will send it, with its port unless it is the
        scheme's own.
        """
        principal = Principal(subject, secrets.token_hex(16), administrator, display_name)
        return await self._change(lambda: self._create(principal, host), "session-create")

    async def add_origin(self, session_id: str, host: str) -> str:
        """Return a token of the same session for another host.

        Raises:
            NotFound: the session has ended; or ends now, since it has had very many.
        """
        return await self._change(lambda: self._add_origin(session_id, host), "session-origin")

    async def revoke(self, session_id: str) -> None:
        """End a session at all its hosts; nothing happens when it has ended already."""
        await self._change(lambda: self._revoke(session_id), "session-revoke")

    async def expire(self) -> int:
        """Remove the sessions whose time is over; return how many were stored."""
        return await self._change(self._expire, "session-expire")

    async def _load(self) -> None:
        table = SessionTable(self._now)
        await self._read(table, sa.true())
        self.table.replace(table)

    async def _refresh(self, session_ids: Collection[str]) -> None:
        found = SessionTable(self._now)
        await self._read(found, sessions.c.id.in_(session_ids))
        for session_id in session_ids:
            if found.principal(session_id) is None:
                self.table.drop(session_id)
        for token in found.tokens():
            self.table.put(*token)

    async def _read(self, table: SessionTable, which: sa.ColumnElement[bool]) -> None:
        """Put the tokens of some sessions into `table`."""
        statement = sa.select(
            session_tokens.c.digest,
            session_tokens.c.host,
            sessions.c.id,
            sessions.c.subject,
            sessions.c.administrator,
            sessions.c.display_name,
            sessions.c.expires,
        ).join_from(session_tokens, sessions)
        statement = statement.where(sessions.c.expires > self._now(), which)
        async with self._database.reading() as connection:
            for row in await connection.execute(statement):
                principal = Principal(row.subject, row.id, row.administrator, row.display_name)
                table.put(bytes.fromhex(row.digest), row.host, row.expires, principal)

    async def _create(self, principal: Principal, host: str) -> str:
        now = self._now()
        expires = now + self._lifetime
        token = secret.fresh()
        async with self._database.writing() as connection:
            await connection.execute(
                sa.insert(sessions).values(
                    id=principal.session,
                    subject=principal.subject,
                    display_name=principal.display_name,
                    administrator=principal.administrator,
                    created=now,
                    expires=expires,
                )
            )
            await connection.execute(_token_row(token, principal.session, host, now))
            await note(connection, SESSION, [principal.session])
        self._put(token, host, expires, principal)
        made = self._made.setdefault(principal.subject, deque())
        made.append(principal.session)
        while len(made) > self._most:
            await self._revoke(made.popleft())
        return token

    async def _add_origin(self, session_id: str, host: str) -> str:
        if self.table.count(session_id) >= _MOST_TOKENS:
            await self._revoke(session_id)
            raise NotFound("session", session_id)
        now = self._now()
        token = secret.fresh()
        try:
            async with self._database.writing() as connection:
                await connection.execute(_token_row(token, session_id, host, now))
                found = await connection.execute(
                    sa.select(sessions).where(sessions.c.id == session_id, sessions.c.expires > now)
                )
                row = found.one_or_none()
                if row is None:
                    raise NotFound("session", session_id)
                await note(connection, SESSION, [session_id])
        except IntegrityError:
            raise NotFound("session", session_id) from None
        principal = Principal(row.subject, row.id, row.administrator, row.display_name)
        self._put(token, host, row.expires, principal)
        return token

    async def _revoke(self, session_id: str) -> None:
        async with self._database.writing() as connection:
            await connection.execute(sa.delete(sessions).where(sessions.c.id == session_id))
            await note(connection, SESSION, [session_id])
        self.table.drop(session_id)

    async def _expire(self) -> int:
        async with self._database.writing() as connection:
            gone = await connection.execute(
                sa.delete(sessions).where(sessions.c.expires <= self._now())
            )
        for session_id in self.table.expired():
            self.table.drop(session_id)
        alive = {
            subject: deque(one for one in made if self.table.principal(one) is not None)
            for subject, made in self._made.items()
        }
        self._made = {subject: made for subject, made in alive.items() if made}
        return gone.rowcount

    def _put(self, token: str, host: str, expires: datetime, principal: Principal) -> None:
        self.table.put(token_digest(token.encode()), host.lower(), expires, principal)

    async def _change(self, change: Callable[[], Coroutine[Any, Any, T]], name: str) -> T:
        async def in_turn() -> T:
            async with self._turn:
                return await change()

        result = await self._database.finish(in_turn(), name)
        if self._data_path is not None:
            await self._data_path.settled()
        return result


def _token_row(token: str, session_id: str, host: str, now: datetime) -> sa.Insert:
    return sa.insert(session_tokens).values(
        digest=secret.digest(token), session=session_id, host=host.lower(), created=now
    )
