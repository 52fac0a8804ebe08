"""Sessions: who a browser is, at each of the hosts that it visits.

A session has one token per host (an origin of its own for each notebook in host routing), so
that a token which a notebook's page gets hold of is of no use elsewhere. Reading is from memory,
since the data path asks for each request; changes go to the database first.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections import Counter
from collections.abc import Callable, Collection, Coroutine, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, TypeVar

from sqlalchemy.exc import IntegrityError

from gateway.errors import Conflict, NotFound
from gateway.launch import secret
from gateway.launch.deeplinks import is_passer_by
from gateway.launch.edges import Edges, fresh_edge
from gateway.launch.nameless import Nameless
from gateway.launch.session_bounds import Begun, Ends
from gateway.launch.session_rows import SessionRows
from gateway.launch.session_table import Principal, SessionTable, token_digest
from gateway.launch.vouching import ANY_WORD, Vouchers
from gateway.notebooks.database import Database
from gateway.notebooks.projects import utc_now
from gateway.proxy.interface import DataPath

logger = logging.getLogger(__name__)

T = TypeVar("T")
Listener = Callable[[Collection[str]], None]

_MOST_OF_ONE = 500
_MOST_TOKENS = 200


class Sessions:
    """Makes and ends sessions, in the database and in the table.

    Attributes:
        table: what the data path reads.
        nameless: who is here without a name.

    Args:
        database: open; it stays the caller's to close.
        table: see above.
        lifetime: seconds a session lives.
        now: the time in UTC.
        most: sessions that one person gets here; one more ends the oldest. A link that is good for
            a day can be opened over and over.
        edges: what httpd knows of them; None where it admits nobody by itself.
        unused: seconds that a session of somebody without a name lives unused; None: `lifetime`.
        vouchers: whose word on people counts.
    """

    def __init__(
        self,
        database: Database,
        table: SessionTable,
        lifetime: float,
        now: Callable[[], datetime] = utc_now,
        most: int = _MOST_OF_ONE,
        edges: Edges | None = None,
        unused: float | None = None,
        vouchers: Vouchers = ANY_WORD,
    ) -> None:
        self.table = table
        self.nameless = Nameless()
        self._database = database
        self._lifetime = timedelta(seconds=lifetime)
        self._unused = timedelta(seconds=lifetime if unused is None else min(lifetime, unused))
        self._vouchers = vouchers
        self._now = now
        self._edges = edges or Edges()
        self._begun = Begun(most)
        self._ends = Ends()
        self._kept_out: Counter[str] = Counter()
        self._turn = asyncio.Lock()
        self._listeners: list[Listener] = []
        self._data_path: DataPath | None = None

    def attach(self, data_path: DataPath) -> None:
        """From now on a change is done when `data_path` has it in force."""
        self._data_path = data_path

    def subscribe(self, listener: Listener) -> None:
        """Have `listener` called with the sessions that have ended, after each end.

        It is called synchronously and must not raise.
        """
        self._listeners.append(listener)

    async def load(self) -> None:
        """Fill the table from the database."""
        await self._change(self._load, "sessions-load")

    async def refresh(self, session_ids: Collection[str]) -> None:
        """Read some sessions anew that another gateway has begun, extended or ended."""
        await self._change(lambda: self._refresh(session_ids), "sessions-refresh")

    async def create(
        self,
        subject: str,
        host: str,
        administrator: bool = False,
        display_name: str = "",
        issuer: str | None = None,
    ) -> str:
        """Begin a session and return its token for `host`.

        Args:
            subject: the person.
            host: a Host header as the browser will send it, with its port unless it is the
                scheme's own.
            administrator: whether every notebook is open to them.
            display_name: what pages call them; "" means the subject.
            issuer: who says that it is them; None where nobody asks.

        Raises:
            Conflict: the person is kept out now.
        """
        principal = Principal(subject, secrets.token_hex(16), administrator, display_name)
        return await self._change(lambda: self._create(principal, host, issuer), "session-create")

    async def issuers(self, session_ids: Collection[str]) -> set[str]:
        """Return who vouched for the people of these sessions, as far as that is known."""
        async with self._database.reading() as connection:
            return await SessionRows(connection).issuers(session_ids)

    @property
    def at_httpd(self) -> bool:
        """Whether httpd admits people by itself, by edge ids."""
        return self._edges.published

    def edge(self, token: str, host: str) -> str:
        """Return the edge id of the session that `token` is of at `host`.

        "" where there is none, or httpd admits nobody by itself.
        """
        principal = self.table.lookup(token.encode(), host)
        return "" if principal is None else self._edges.of(principal.session)

    async def add_origin(self, session_id: str, host: str) -> str:
        """Return a token of the same session for another host.

        Raises:
            NotFound: the session has ended; or ends now, since it has had very many.
        """
        return await self._change(lambda: self._add_origin(session_id, host), "session-origin")

    async def revoke(self, session_id: str) -> None:
        """End a session at all its hosts; nothing happens when it has ended already."""
        await self._change(lambda: self._revoke(session_id), "session-revoke")

    async def revoke_all(self, subject: str) -> None:
        """End all sessions of a person, those that another gateway has begun too."""
        await self._change(lambda: self._revoke_all(subject), "sessions-revoke")

    @contextlib.contextmanager
    def kept_out(self, subject: str) -> Iterator[None]:
        """Begin no session of a person here while the context is open."""
        self._kept_out[subject] += 1
        try:
            yield
        finally:
            self._kept_out[subject] -= 1
            self._kept_out += Counter()  # without those that are nought

    async def disown(self) -> int:
        """End the sessions of people for whom nobody vouches any more; return how many."""
        count = await self._change(self._disown, "sessions-disown")
        if count:
            logger.info("sessions ended, their provider is not configured count=%d", count)
        return count

    async def put_off(self, used: Mapping[str, datetime]) -> None:
        """Put off the ends of nameless people's sessions, by when each was last of use."""
        await self._change(lambda: self._put_off(used), "sessions-put-off")

    async def expire(self) -> int:
        """Remove the sessions whose time is over; return how many were stored."""
        return await self._change(self._expire, "session-expire")

    async def expire_due(self) -> None:
        """Do what `expire` does if the time of a session is over that is known here."""
        if self._ends.pass_by(self._now()):
            await self.expire()

    async def _load(self) -> None:
        before = self.table.ids()
        table = await self._read()
        self.table.replace(table)
        self._edges.retain()
        await self._end(before - table.ids())

    async def _refresh(self, session_ids: Collection[str]) -> None:
        found = await self._read(session_ids)
        await self._end([one for one in session_ids if found.principal(one) is None])
        for token in found.tokens():
            self.table.put(*token)
        self._bound_ends()

    async def _read(self, of: Collection[str] | None = None) -> SessionTable:
        """Return what is stored of people for whom somebody vouches; None: of all sessions."""
        table = SessionTable(self._now)
        async with self._database.reading() as connection:
            for row in await SessionRows(connection).tokens(self._now(), of):
                principal = self._vouchers.principal(row)
                if principal is not None:
                    table.put(bytes.fromhex(row.digest), row.host, row.expires, principal)
                    self._follow(principal, row.edge, row.expires)
        return table

    async def _create(self, principal: Principal, host: str, issuer: str | None) -> str:
        if principal.subject in self._kept_out:
            raise Conflict("what there is of this person is being deleted; come again in a moment")
        now = self._now()
        expires = now + (self._unused if is_passer_by(principal.subject) else self._lifetime)
        token, edge = secret.fresh(), fresh_edge()
        async with self._database.writing() as connection:
            rows = SessionRows(connection)
            await rows.add(principal, issuer, edge, now, expires)
            await rows.add_token(token, principal.session, host, now)
        self._put(token, host, expires, principal)
        self._follow(principal, edge, expires)
        for one in self._begun.add(principal.subject, principal.session):
            await self._revoke(one)
        self._bound_ends()
        return token

    async def _add_origin(self, session_id: str, host: str) -> str:
        if self.table.count(session_id) >= _MOST_TOKENS:
            await self._revoke(session_id)
            raise NotFound("session", session_id)
        now = self._now()
        token = secret.fresh()
        try:
            async with self._database.writing() as connection:
                rows = SessionRows(connection)
                await rows.add_token(token, session_id, host, now)
                row = await rows.alive(session_id, now)
                principal = None if row is None else self._vouchers.principal(row)
                if row is None or principal is None:
                    raise NotFound("session", session_id)
        except IntegrityError:
            raise NotFound("session", session_id) from None
        self._put(token, host, row.expires, principal)
        return token

    async def _revoke(self, session_id: str) -> None:
        async with self._database.writing() as connection:
            await SessionRows(connection).delete(session_id)
        await self._end([session_id])

    async def _revoke_all(self, subject: str) -> None:
        async with self._database.writing() as connection:
            ended = await SessionRows(connection).delete_of(subject)
        await self._end(ended)

    async def _disown(self) -> int:
        async with self._database.reading() as connection:
            issuers = await SessionRows(connection).issuers()
        strangers = [one for one in issuers if not self._vouchers.count(one)]
        if not strangers:
            return 0
        async with self._database.writing() as connection:
            ended = await SessionRows(connection).delete_by(strangers)
        await self._end(ended)
        return len(ended)

    async def _put_off(self, used: Mapping[str, datetime]) -> None:
        async with self._database.writing() as connection:
            rows = SessionRows(connection)
            later = await rows.put_off(used, self._unused, self._lifetime, self._now())
        if later:
            await self._refresh(later)

    async def _expire(self) -> int:
        await self._end(self.table.expired())  # first: it does not need the database
        async with self._database.writing() as connection:
            gone = await SessionRows(connection).expire(self._now())
        self._begun.keep(lambda one: self.table.principal(one) is not None)
        return gone

    def _follow(self, principal: Principal, edge: str | None, expires: datetime) -> None:
        """Have what goes with a session know of it: when it ends, httpd, the count of courses."""
        self._ends.add(expires, principal.session)
        self._edges.begin(principal.session, edge, principal.subject)
        self.nameless.begin(principal.subject, principal.session)

    def _bound_ends(self) -> None:
        tokens = self.table.tokens
        self._ends.bound(
            len(self.table), lambda: ((end, one.session) for _, _, end, one in tokens())
        )

    async def _end(self, session_ids: Collection[str]) -> None:
        """Let nobody in with these sessions any more, and end what they have open."""
        if not session_ids:
            return
        for session_id in session_ids:
            self.table.drop(session_id)
            self._edges.end(session_id)
            self.nameless.end(session_id)
        for listener in self._listeners:
            listener(session_ids)
        if self._data_path is not None:
            await self._data_path.end_sessions(session_ids)

    def _put(self, token: str, host: str, expires: datetime, principal: Principal) -> None:
        self.table.put(token_digest(token.encode()), host.lower(), expires, principal)

    async def _change(self, change: Callable[[], Coroutine[Any, Any, T]], name: str) -> T:
        async def in_turn() -> T:
            try:
                async with self._turn:
                    return await change()
            finally:  # sessions may have ended before it failed
                await self._edges.settled()

        result = await self._database.finish(in_turn(), name)
        if self._data_path is not None:
            await self._data_path.settled()
        return result
