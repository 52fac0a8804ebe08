"""Keys that sign links, and the nonces of links that were used; both in the database.

A key's secret is derived from the installation's key and the key's id, which is random and never
comes again; so the database holds no secret, and what is removed is good for nothing any more.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from gateway.errors import InvalidInput, NotFound
from gateway.launch import secret
from gateway.notebooks.database import Database
from gateway.notebooks.identity import Identity
from gateway.notebooks.names import check_slug
from gateway.notebooks.projects import utc_now
from gateway.notebooks.schema import link_keys, link_nonces

_PURPOSE = "link-key"


@dataclass(frozen=True, slots=True)
class LinkKey:
    """A key that signs links.

    Attributes:
        kid: its id, in the links.
        issuer: whose people its links name: `moodle`, or `course/<name>`; "" for the
            installation's own.
        project: the one course that its links lead into; None for any.
        created: UTC.
    """

    kid: str
    issuer: str
    project: str | None
    created: datetime

    def subject(self, person: str) -> str:
        """Return whom its links mean by `person`: another one than any other issuer does."""
        return f"{self.issuer}:{person}" if self.issuer else person


def course_issuer(project: str) -> str:
    """Return the issuer of a course's own keys; no platform can be called so."""
    return f"course/{project}"


class LinkKeys:
    """See the module's docstring.

    Args:
        database: open; it stays the caller's to close.
        identity: the installation's.
        now: the time in UTC.
    """

    def __init__(
        self, database: Database, identity: Identity, now: Callable[[], datetime] = utc_now
    ) -> None:
        self._database = database
        self._identity = identity
        self._now = now

    def secret(self, kid: str) -> str:
        """Return the secret that a key of this id has, whether there is one or not."""
        return self._identity.derive(_PURPOSE, kid, 0)

    async def add(
        self, *, issuer: str | None = None, project: str | None = None, own_people: bool = False
    ) -> LinkKey:
        """Make a key.

        Args:
            issuer: a platform that signs for all courses; its people are its own.
            project: a course. Its key's people are the course's own.
            own_people: the key names the installation's people, as login links do.

        Raises:
            InvalidInput: not exactly one of issuer, project and own_people is given, or the
                issuer's name cannot be used.
            NotFound: there is no such project.
        """
        if sum((issuer is not None, project is not None, own_people)) != 1:
            raise InvalidInput("issuer: give one of issuer, project and own_people")
        named = check_slug(issuer) if issuer is not None else ""
        key = LinkKey(
            kid=f"k{secrets.token_hex(8)}",
            issuer=course_issuer(project) if project is not None else named,
            project=project,
            created=self._now(),
        )
        try:
            async with self._database.writing() as connection:
                await connection.execute(sa.insert(link_keys).values(**_row(key)))
        except IntegrityError:
            raise NotFound("project", project or "") from None
        return key

    async def all(self) -> Sequence[LinkKey]:
        """Return all keys, the oldest first."""
        async with self._database.reading() as connection:
            rows = await connection.execute(
                sa.select(link_keys).order_by(link_keys.c.created, link_keys.c.kid)
            )
            return [LinkKey(**row) for row in rows.mappings()]

    async def find(self, kid: str) -> LinkKey | None:
        """Return one key, or None."""
        async with self._database.reading() as connection:
            rows = await connection.execute(sa.select(link_keys).where(link_keys.c.kid == kid))
            row = rows.mappings().one_or_none()
        return None if row is None else LinkKey(**row)

    async def get(self, kid: str) -> LinkKey:
        """Return one key. Raises NotFound."""
        key = await self.find(kid)
        if key is None:
            raise NotFound("key", kid)
        return key

    async def remove(self, kid: str) -> None:
        """Remove a key; its links are good for nothing from now on. Raises NotFound."""
        async with self._database.writing() as connection:
            gone = await connection.execute(sa.delete(link_keys).where(link_keys.c.kid == kid))
        if not gone.rowcount:
            raise NotFound("key", kid)

    async def use(self, kid: str, nonce: str, until: datetime) -> bool:
        """Use a nonce up; False if it was used before, at whichever gateway.

        Args:
            kid: the key that it came with.
            nonce: of the link.
            until: when the link is good no more; it is remembered until then.
        """
        row = sa.insert(link_nonces).values(digest=secret.digest(f"{kid} {nonce}"), expires=until)
        try:
            async with self._database.writing() as connection:
                await connection.execute(row)
        except IntegrityError:
            return False
        return True

    async def expire(self) -> int:
        """Forget the nonces of links that are good no more; return how many."""
        async with self._database.writing() as connection:
            gone = await connection.execute(
                sa.delete(link_nonces).where(link_nonces.c.expires <= self._now())
            )
        return gone.rowcount


def _row(key: LinkKey) -> dict[str, Any]:
    return {name: getattr(key, name) for name in LinkKey.__slots__}
