"""The session table: what the data path asks for each request, in memory.

It stands by itself, without the database that fills it: workers have copies.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Principal:
    """Who sends a request.

    Attributes:
        subject: the person (or group).
        session: the id of the session; no secret.
        administrator: whether every notebook is open to them.
        display_name: what pages call them; "" means the subject.
    """

    subject: str
    session: str
    administrator: bool
    display_name: str = ""


@dataclass(frozen=True, slots=True)
class _Entry:
    host: str
    expires: datetime
    principal: Principal


def token_digest(token: bytes) -> bytes:
    """Return what stands for a token in tables: its SHA-256."""
    return sha256(token).digest()


class SessionTable:
    """What the data path reads: token → principal. Written by `Sessions` alone.

    Args:
        now: the time in UTC.
    """

    def __init__(self, now: Callable[[], datetime] = _utc_now) -> None:
        self._now = now
        self._entries: dict[bytes, _Entry] = {}
        self._digests: dict[str, set[bytes]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def lookup(self, cookie_token: bytes, host: str) -> Principal | None:
        """Return who has this token at this host, or None.

        `host` is the Host header as the browser sends it, with its port if it sent one.
        """
        return self.first((token_digest(cookie_token),), host)

    def first(
        self,
        digests: Iterable[bytes],
        host: str,
        owner: str | None = None,
        others: frozenset[str] | None = None,
    ) -> Principal | None:
        """Return who has the first of these tokens that is good at this host, or None.

        A browser may be several people, one per course: of its good tokens, one that `owner`
        has comes first, then an administrator's and one that somebody of `others` has.
        """
        found: Principal | None = None
        fits = False
        for digest in digests:
            entry = self._entries.get(digest)
            if entry is not None and entry.host == host.lower() and entry.expires > self._now():
                principal = entry.principal
                if owner is None or principal.subject == owner:
                    return principal
                if found is None or not fits:
                    fits = principal.administrator or (
                        others is not None and principal.subject in others
                    )
                    found = principal if found is None or fits else found
        return found

    def all(self, digests: Iterable[bytes], host: str) -> list[Principal]:
        """Return who has these tokens, those that are good at this host."""
        found = (self.first((digest,), host) for digest in digests)
        return [principal for principal in found if principal is not None]

    def principal(self, session: str) -> Principal | None:
        """Return whose session this is, or None if there is none or it has expired."""
        for digest in self._digests.get(session, ()):
            entry = self._entries[digest]
            return entry.principal if entry.expires > self._now() else None
        return None

    def count(self, session: str) -> int:
        """Return how many tokens a session has."""
        return len(self._digests.get(session, ()))

    def ids(self) -> set[str]:
        """Return the ids of all sessions."""
        return set(self._digests)

    def put(self, digest: bytes, host: str, expires: datetime, principal: Principal) -> None:
        """Add a token by its SHA-256."""
        self._entries[digest] = _Entry(host, expires, principal)
        self._digests.setdefault(principal.session, set()).add(digest)

    def drop(self, session: str) -> None:
        """Remove the tokens of a session."""
        for digest in self._digests.pop(session, ()):
            del self._entries[digest]

    def expired(self) -> list[str]:
        """Return the sessions whose time is over."""
        now = self._now()
        return [
            session
            for session, digests in self._digests.items()
            if any(self._entries[digest].expires <= now for digest in digests)
        ]

    def tokens(self) -> list[tuple[bytes, str, datetime, Principal]]:
        """Return every token as `put` takes it; later changes do not touch the list."""
        return [
            (digest, entry.host, entry.expires, entry.principal)
            for digest, entry in self._entries.items()
        ]

    def replace(self, other: SessionTable) -> None:
        """Take over the content of `other`, at once."""
        self._entries, self._digests = other._entries, other._digests
