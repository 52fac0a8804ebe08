"""Tickets: single-use, short-lived secrets in a URL, that are exchanged for a session.

A login link is one; so is what takes a session from the gateway's host to a notebook's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from gateway.launch import secret
from gateway.notebooks.database import Database
from gateway.notebooks.projects import utc_now
from gateway.notebooks.schema import tickets


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a redeemed ticket stands for.

    Attributes:
        purpose: a stable word, e.g. `login`; a ticket is good for one purpose alone.
        subject: the person.
        session: the id of the session it continues; None for one that begins with it.
        host: the host at which it can be redeemed, lower case, with its port.
        next_path: where the browser goes then: path and query on that host.
        state: whatever its issuer wants back; "" for nothing.
        expires: UTC.
    """

    purpose: str
    subject: str
    session: str | None
    host: str
    next_path: str
    state: str
    expires: datetime


class Tickets:
    """Issues and redeems tickets; they are in the database alone.

    Args:
        database: open; it stays the caller's to close.
        now: the time in UTC.
    """

    def __init__(self, database: Database, now: Callable[[], datetime] = utc_now) -> None:
        self._database = database
        self._now = now

    async def issue(
        self,
        purpose: str,
        subject: str,
        host: str,
        next_path: str,
        lifetime: float,
        *,
        session: str | None = None,
        state: str = "",
    ) -> str:
        """Return a new ticket that can be redeemed once within `lifetime` seconds."""
        now = self._now()
        ticket = secret.fresh()
        row = sa.insert(tickets).values(
            digest=secret.digest(ticket),
            purpose=purpose,
            subject=subject,
            session=session,
            host=host.lower(),
            next_path=next_path,
            state=state,
            created=now,
            expires=now + timedelta(seconds=lifetime),
        )
        async with self._database.writing() as connection:
            await connection.execute(row)
        return ticket

    async def redeem(self, ticket: str, purpose: str, host: str) -> Ticket | None:
        """Return what the ticket stands for, and end it; None if it is not good (any more).

        It is one statement, so of several that redeem a ticket at once one gets it. At another
        host, or for another purpose, a ticket is not good, and stays what it is.
        """
        statement = (
            sa.delete(tickets)
            .where(
                tickets.c.digest == secret.digest(ticket),
                tickets.c.purpose == purpose,
                tickets.c.host == host.lower(),
            )
            .returning(*(tickets.c[name] for name in Ticket.__slots__))
        )
        async with self._database.writing() as connection:
            row = (await connection.execute(statement)).mappings().one_or_none()
        if row is None or row["expires"] <= self._now():
            return None
        return Ticket(**row)

    async def look(self, ticket: str, purpose: str, host: str) -> Ticket | None:
        """Return what the ticket stands for, and leave it; None if it is not good (any more)."""
        statement = sa.select(*(tickets.c[name] for name in Ticket.__slots__)).where(
            tickets.c.digest == secret.digest(ticket),
            tickets.c.purpose == purpose,
            tickets.c.host == host.lower(),
            tickets.c.expires > self._now(),
        )
        async with self._database.reading() as connection:
            row = (await connection.execute(statement)).mappings().one_or_none()
        return None if row is None else Ticket(**row)

    async def expire(self) -> int:
        """Remove the tickets whose time is over; return how many."""
        async with self._database.writing() as connection:
            gone = await connection.execute(
                sa.delete(tickets).where(tickets.c.expires <= self._now())
            )
        return gone.rowcount
