"""Browsers that keep no cookie for a frame in another site's page: the way on in a tab of its own.

A signed link that was opened in a frame leads on with a ticket. Where the session's cookie comes
back, the ticket is void at once. Where it does not, a page offers a tab, in which the ticket gives
that very session a cookie. It is taken once, soon, from our own page alone and in no frame, so
nobody is signed in by a ticket that somebody else sends them; and where the browser is another
person's already, a button asks first.
"""

from __future__ import annotations

from urllib.parse import urlencode

from aiohttp import web

from gateway.errors import NotFound
from gateway.launch.deeplinks import has_plain_id
from gateway.launch.session_table import Principal
from gateway.launch.targets import Target
from gateway.launch.tickets import Ticket
from gateway.web.context import at_own_origin, from_own_page, host_of, pages_of
from gateway.web.door import last_visitor
from gateway.web.people import is_framed
from gateway.web.question import question
from gateway.web.render import say
from gateway.web.session_cookies import cookies_of_session
from gateway.web.signin import see_other

routes = web.RouteTableDef()

TICKET = "nbgate-ticket"
"""The parameter that has the ticket: in the link, and in the address of the tab."""

_PURPOSE = "tab"
_LIFETIME = 300.0
_ADDRESS = "/gateway/tab"


async def onward(request: web.Request, target: Target, course: str, principal: Principal) -> str:
    """Return where a link leads that has just begun a session; with a ticket in a frame."""
    target = target.without(frozenset((TICKET,)))
    if not is_framed(request):
        return str(target)
    ticket = await pages_of(request).tickets.issue(
        _PURPOSE,
        principal.subject,
        host_of(request),
        str(target),
        _LIFETIME,
        session=principal.session,
        state=course,
    )
    return str(Target(target.segments, (*target.parameters, (TICKET, ticket))))


def has_ticket(target: Target) -> bool:
    """Whether a link is one that led on with a ticket."""
    return bool(target.values(TICKET))


async def void(request: web.Request, target: Target) -> None:
    """End the ticket of a link: its session's cookie came back."""
    for ticket in target.values(TICKET)[:1]:
        await pages_of(request).tickets.redeem(ticket, _PURPOSE, host_of(request))


async def offer(request: web.Request, target: Target, place: str) -> web.Response:
    """Return the page with the way on, in a tab, for a link whose session has no cookie here.

    Args:
        request: of the link.
        target: the link.
        place: the same without a ticket, where the ticket is not good any more: the tab that took
            it has the session.
    """
    ticket = "".join(target.values(TICKET)[:1])
    alive = await pages_of(request).tickets.look(ticket, _PURPOSE, host_of(request))
    tab = place if alive is None else f"{_ADDRESS}?{urlencode({TICKET: ticket})}"
    return question(request, 403, "link.cookies", tab=tab)


@routes.get(_ADDRESS, allow_head=False)
async def open_tab(request: web.Request) -> web.Response:
    """Take the ticket, or ask first where the browser is somebody else's."""
    if not _is_asked_for(request):
        return say(request, 403, "tab.foreign", "error")
    ticket = await _look(request)
    if ticket is None:
        return say(request, 410, "tab.over", "link-used")
    last = last_visitor(request, ticket.state)
    if last is not None and last.subject != ticket.subject:
        action = f"{_ADDRESS}?{urlencode({TICKET: request.query[TICKET]})}"
        who = last.display_name or last.subject
        return question(request, 200, "tab.other", action=action, who=who)
    return await _enter(request)


@routes.post(_ADDRESS)
async def open_instead(request: web.Request) -> web.Response:
    """Take the ticket in the place of who was signed in: the button does it."""
    if not from_own_page(request):
        return say(request, 403, "foreign", "error")
    return await _enter(request)


def _is_asked_for(request: web.Request) -> bool:
    """Whether a person has clicked on our page, and it opens in no frame (Fetch Metadata).

    Browsers that say nothing of it are let in: they are older than this.
    """
    said = {
        "Sec-Fetch-Dest": "document",
        "Sec-Fetch-Mode": "navigate",
        "Sec-Fetch-Site": "same-origin",
    }
    as_said = all(request.headers.get(name, value) == value for name, value in said.items())
    return as_said and "Sec-Purpose" not in request.headers


async def _look(request: web.Request) -> Ticket | None:
    """Return the ticket of a request if it is good and its session goes on."""
    ticket = await pages_of(request).tickets.look(
        request.query.get(TICKET, ""), _PURPOSE, host_of(request)
    )
    return ticket if ticket is not None and _goes_on(request, ticket) else None


def _goes_on(request: web.Request, ticket: Ticket) -> bool:
    principal = pages_of(request).table.principal(ticket.session or "")
    return at_own_origin(request) and principal is not None


async def _enter(request: web.Request) -> web.Response:
    """Take the ticket: its session gets a token of this browser's own."""
    pages, host = pages_of(request), host_of(request)
    ticket = await pages.tickets.redeem(request.query.get(TICKET, ""), _PURPOSE, host)
    if ticket is None or ticket.session is None or not _goes_on(request, ticket):
        return say(request, 410, "tab.over", "link-used")
    last = last_visitor(request, ticket.state)
    if last is not None and last.subject == ticket.subject:
        return see_other(ticket.next_path)
    try:
        token = await pages.sessions.add_origin(ticket.session, host)
    except NotFound:
        return say(request, 410, "tab.over", "link-used")
    # As with any link: who was signed in is so no more, but an id of a plain link is not freed.
    if last is not None and not has_plain_id(last.subject):
        await pages.sessions.revoke(last.session)
    return see_other(ticket.next_path, *cookies_of_session(request, token, ticket.state))
