"""What the links of an LMS need beside the pages, and how one of their visitors is signed in."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from aiohttp import web

from gateway.launch.cookies import token_from
from gateway.launch.deeplinks import has_plain_id, means
from gateway.launch.newcomers import Newcomers
from gateway.launch.session_table import Principal, token_digest
from gateway.launch.ways import Ways
from gateway.web.context import cookie_of, host_of, is_https, pages_of, principals_of
from gateway.web.sending import Sending
from gateway.web.session_cookies import cookies_of_session

_READING = 2
MOST_PASSERS_BY = 50


@dataclass(frozen=True, slots=True)
class Door:
    """What the handlers of links use.

    Attributes:
        ways: what stands behind links.
        count: told of each link: `signed`, `plain` or `static`, and what became of it.
        most_passers_by: people without a name that may be in a course at once.
        newcomers: bounds the ids that plain links bring anew.
        reading: bounds how many pages of courses' notebooks are made at once.
        looking: bounds pages of people's files: one that is slow to show holds up no course.
        copies: bounds those of copies that they share, which need no session.
        entering: whoever has no name comes in alone: of several at once one gets the last place.
    """

    ways: Ways
    count: Callable[[str, str], None]
    most_passers_by: int = MOST_PASSERS_BY
    newcomers: Newcomers = field(default_factory=Newcomers)
    reading: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_READING))
    looking: Sending = field(default_factory=Sending)
    copies: Sending = field(default_factory=Sending)
    entering: asyncio.Lock = field(default_factory=asyncio.Lock)


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
    return Arrival(principal, tuple(cookies_of_session(request, token, course)))


def last_visitor(request: web.Request, course: str) -> Principal | None:
    """Return who came last by a link of the course in this browser, or None."""
    token = token_from(cookie_of(request), is_https(request), course)
    if token is None:
        return None
    return pages_of(request).table.first([token_digest(token)], host_of(request))
