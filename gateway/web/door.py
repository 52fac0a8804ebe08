"""What the links of an LMS need beside the pages, and how one of their visitors is signed in."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from aiohttp import web

from gateway.launch.cookies import session_cookie, token_from
from gateway.launch.deeplinks import has_plain_id, means
from gateway.launch.session_table import Principal, token_digest
from gateway.launch.ways import Ways
from gateway.web.context import cookie_of, host_of, is_https, pages_of, principals_of

_READING = 2


@dataclass(frozen=True, slots=True)
class Door:
    """What the handlers of links use.

    Attributes:
        ways: what stands behind links.
        count: told of each link: `signed`, `plain` or `static`, and what became of it.
        reading: bounds how many pages of courses' notebooks are made at once.
    """

    ways: Ways
    count: Callable[[str, str], None]
    reading: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_READING))


DOOR: web.AppKey[Door] = web.AppKey("door")


@dataclass(frozen=True, slots=True)
class Arrival:
    """Somebody who came by a link.

    Attributes:
        principal: who.
        cookies: that are to be set; none where the browser has them already.
    """

    principal: Principal
    cookies: tuple[str, ...] = ()


def known_visitor(request: web.Request, course: str, student: str) -> Principal | None:
    """Return whom of this browser's sessions a link may mean; who came last by one comes first."""
    principals = principals_of(request)
    if (last := last_visitor(request, course)) is not None:
        principals.insert(0, last)
    fitting = (one for one in principals if means(student, one.subject, course))
    return next(fitting, None)


async def sign_in(
    request: web.Request, course: str, subject: str, display_name: str, *, gives_up: bool = False
) -> Arrival:
    """Begin a session for a course, unless the browser has this very one.

    The browser's token is a new one, so nobody who knew the old one gets in with it. Another
    person's session for the same course ends: computers are shared. But one that has the id of a
    plain link goes on, without a browser, unless somebody `gives_up` the id: else a link that
    leads here would make the id anybody's.
    """
    pages, last = pages_of(request), last_visitor(request, course)
    if last is not None and last.subject == subject:
        return Arrival(last)
    host = host_of(request)
    token = await pages.sessions.create(subject, host, display_name=display_name)
    principal = pages.table.lookup(token.encode(), host)
    assert principal is not None
    if last is not None and (gives_up or not has_plain_id(last.subject)):
        await pages.sessions.revoke(last.session)
    cookie = session_cookie(token, is_https(request), pages.session_lifetime, course)
    return Arrival(principal, (cookie,))


def last_visitor(request: web.Request, course: str) -> Principal | None:
    """Return who came last by a link of the course in this browser, or None."""
    token = token_from(cookie_of(request), is_https(request), course)
    if token is None:
        return None
    return pages_of(request).table.first([token_digest(token)], host_of(request))
