"""Signed links: made for an LMS by the command line, and checked when somebody opens one.

What is wrong with a link is told only where whoever made it may know: that it is over, or was used.
All else is one refusal, so that nobody learns how near a forgery was.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from gateway.errors import Conflict, InvalidInput
from gateway.launch import secret
from gateway.launch.linkkeys import LinkKey, LinkKeys
from gateway.launch.signatures import (
    EXPIRES,
    KEY,
    NAME,
    NONCE,
    OURS,
    SIGNATURE,
    claim_of,
    is_good,
    signature,
    signed_text,
)
from gateway.launch.targets import BadLink, Target, read_target
from gateway.notebooks.names import ADMINISTRATOR, check_person
from gateway.notebooks.projects import utc_now

LEEWAY = 60.0
"""Seconds that a signer's clock may be wrong."""

LONGEST_LIFE = 86400.0
"""Seconds that a signed link may live at most."""


class Wrong(enum.Enum):
    """What is wrong with a link, as far as it is told."""

    FORGED = "forged"
    EXPIRED = "expired"
    USED = "used"


class LinkRefused(Exception):
    """A signed link that opens nothing. `why` says as much as may be told."""

    def __init__(self, why: Wrong) -> None:
        super().__init__(why.value)
        self.why = why


@dataclass(frozen=True, slots=True)
class Visitor:
    """Whom a signed link stands for.

    Attributes:
        subject: the person, in the issuer's namespace.
        display_name: what pages call them; "" for what the link calls them.
    """

    subject: str
    display_name: str


class SignedLinks:
    """Makes and checks signed links.

    Args:
        keys: that sign them.
        origin: `scheme://host[:port]` of the gateway's own pages.
        now: the time in UTC.
    """

    def __init__(self, keys: LinkKeys, origin: str, now: Callable[[], datetime] = utc_now) -> None:
        self.keys = keys
        self.origin = origin
        self._now = now

    async def visitor(self, target: Target, course: str, person: str) -> Visitor:
        """Return whom a signed link stands for, and use it up if it is for one use.

        Args:
            target: the link.
            course: that it leads into.
            person: that it names.

        Raises:
            LinkRefused: it is not good.
        """
        try:
            claim = claim_of(target)
        except BadLink as error:
            raise LinkRefused(Wrong.FORGED) from error
        # The secret is there for unknown keys too: each forgery is compared alike.
        good = is_good(claim, self.keys.secret(claim.kid))
        key = await self.keys.find(claim.kid)
        if not good or key is None or key.project not in (None, course):
            raise LinkRefused(Wrong.FORGED)
        left = claim.expires - self._now().timestamp()
        if left > LONGEST_LIFE + LEEWAY:
            raise LinkRefused(Wrong.FORGED)
        subject = key.subject(person)
        if not _is_person(subject):
            raise LinkRefused(Wrong.FORGED)
        if left <= -LEEWAY:
            raise LinkRefused(Wrong.EXPIRED)
        until = datetime.fromtimestamp(claim.expires, UTC) + timedelta(seconds=2 * LEEWAY)
        if claim.nonce is not None and not await self.keys.use(claim.kid, claim.nonce, until):
            raise LinkRefused(Wrong.USED)
        return Visitor(subject, claim.name)

    async def sign(
        self,
        target: Target,
        course: str,
        lifetime: float,
        *,
        kid: str | None = None,
        name: str = "",
        once: bool = False,
    ) -> tuple[str, datetime]:
        """Return a signed link, and when it is good no more.

        Args:
            target: without a signature.
            course: that it leads into.
            lifetime: seconds.
            kid: the key; None for the newest that may sign for the course.
            name: what pages call the person; "" for nothing.
            once: whether it is good for one use.

        Raises:
            InvalidInput: the lifetime, the name or the target cannot be used.
            NotFound: there is no such key.
            Conflict: there is no key for the course, or this one is another course's.
        """
        if not 1 <= lifetime <= LONGEST_LIFE:
            raise InvalidInput(f"lifetime: give 1 to {LONGEST_LIFE:g} seconds")
        key = await self._signer(course, kid)
        expires = self._now() + timedelta(seconds=lifetime)
        parameters = dict(target.parameters) | {
            KEY: key.kid,
            EXPIRES: str(int(expires.timestamp())),
            **({NAME: name} if name else {}),
            **({NONCE: secret.fresh()} if once else {}),
        }
        text = signed_text(target.path, parameters)
        parameters[SIGNATURE] = signature(self.keys.secret(key.kid), text)
        signed = Target(target.segments, tuple(parameters.items()))
        try:
            claim_of(read_target(str(signed)))
        except BadLink as error:
            raise InvalidInput(f"this link cannot be signed: {error}") from error
        return f"{self.origin}{signed}", expires

    async def _signer(self, course: str, kid: str | None) -> LinkKey:
        if kid is not None:
            key = await self.keys.get(kid)
            if key.project not in (None, course):
                raise Conflict(f"key {kid!r} signs for the course {key.project!r} alone")
            return key
        fitting = [key for key in await self.keys.all() if key.project in (None, course)]
        if not fitting:
            raise Conflict(
                f"there is no key that signs for {course!r}; make one with "
                f"`nbgate link key add --project {course}`"
            )
        own = [key for key in fitting if key.project is not None]
        return (own or fitting)[-1]


def _is_person(subject: str) -> bool:
    """Whether a link may name somebody so; the administrator comes by no link."""
    try:
        return check_person(subject) != ADMINISTRATOR
    except InvalidInput:
        return False


def unsigned(target: Target) -> Target:
    """Return a link without its signature."""
    return target.without(OURS)
