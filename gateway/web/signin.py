"""Signing in: one-time login links, and one cookie per notebook origin in host routing.

A login link redeems its ticket once and sets the session of the gateway's own origin. In host
routing a notebook's origin has no cookie yet: it sends the browser to `authorize` here, which
issues a short-lived ticket for that origin; `enter` there redeems it. A state cookie at the
notebook's origin ties the ticket to the browser that asked, so nobody can be signed in as
somebody else by a link.
"""

from __future__ import annotations

import hmac
import secrets
from urllib.parse import quote, urlencode, urlsplit

from aiohttp import web

from gateway.access import may_use
from gateway.launch.cookies import (
    clear_cookie,
    courses_from,
    session_cookie,
    state_cookie,
    state_from,
)
from gateway.web.context import (
    at_own_origin,
    cookie_of,
    from_own_page,
    host_of,
    is_https,
    pages_of,
    principal_of,
    principals_of,
)
from gateway.web.render import say

routes = web.RouteTableDef()

_ENTER_LIFETIME = 30.0


def see_other(location: str, *cookies: str) -> web.Response:
    """Return a 303 that no cache keeps."""
    answer = web.Response(status=303, headers={"Location": location, "Cache-Control": "no-store"})
    answer.headers["Referrer-Policy"] = "no-referrer"
    for cookie in cookies:
        answer.headers.add("Set-Cookie", cookie)
    return answer


@routes.get("/gateway/login", allow_head=False)
async def login(request: web.Request) -> web.Response:
    """Redeem a one-time login link: set the session, go on to the notebook."""
    pages = pages_of(request)
    if not at_own_origin(request):
        return see_other(f"{pages.origin}{request.raw_path}")
    ticket = await pages.tickets.redeem(request.query.get("ticket", ""), "login", host_of(request))
    if ticket is None:
        return say(request, 410, "link-used", "link-used")
    token = await pages.sessions.create(
        ticket.subject, host_of(request), display_name=ticket.subject
    )
    cookie = session_cookie(token, is_https(request), pages.session_lifetime)
    return see_other(ticket.next_path, cookie)


@routes.post("/gateway/logout")
async def logout(request: web.Request) -> web.Response:
    """End the session on all its origins."""
    principals, https = principals_of(request), is_https(request)
    if principals and not from_own_page(request):
        return say(request, 403, "foreign", "error")
    for principal in principals:
        await pages_of(request).sessions.revoke(principal.session)
    courses = ("", *courses_from(cookie_of(request), https))
    return see_other("/", *(clear_cookie(https, course) for course in courses))


def to_authorize(request: web.Request) -> web.Response:
    """Send a browser without a cookie at a notebook's origin to the gateway's origin."""
    pages, state = pages_of(request), secrets.token_urlsafe(24)
    scheme = "https" if is_https(request) else "http"
    wanted = f"{scheme}://{host_of(request)}{request.raw_path}"
    query = urlencode({"next": wanted, "state": state})
    return see_other(
        f"{pages.origin}/gateway/authorize?{query}", state_cookie(state, is_https(request))
    )


@routes.get("/gateway/authorize", allow_head=False)
async def authorize(request: web.Request) -> web.Response:
    """On the gateway's origin: give a signed-in browser a ticket for a notebook's origin."""
    pages, principal = pages_of(request), principal_of(request)
    # A notebook's token must not open other notebooks: only the gateway's own one counts here.
    if principal is None or not at_own_origin(request):
        return login_needed(request)
    target = urlsplit(request.query.get("next", ""))
    slug = pages.namespace.slug_of(target.netloc.encode("ascii", "replace"), b"/")
    notebook = pages.catalogue.find(slug) if slug else None
    home = urlsplit(pages.namespace.url(slug or ""))
    same_origin = (target.scheme, target.netloc) == (home.scheme, home.netloc)
    if notebook is not None:
        principal = principal_of(request, notebook.owner) or principal
    if notebook is None or not same_origin or not may_use(principal, notebook.owner):
        return say(request, 404, "no-notebook", "error")
    ticket = await pages.tickets.issue(
        "enter",
        principal.subject,
        target.netloc.lower(),
        target.path + (f"?{target.query}" if target.query else ""),
        _ENTER_LIFETIME,
        session=principal.session,
        state=request.query.get("state", ""),
    )
    host = f"{target.scheme}://{target.netloc}"
    return see_other(f"{host}/gateway/enter?ticket={quote(ticket)}")


@routes.get("/gateway/enter", allow_head=False)
async def enter(request: web.Request) -> web.Response:
    """On a notebook's origin: redeem the ticket that `authorize` gave, set this origin's cookie."""
    pages, https = pages_of(request), is_https(request)
    host = host_of(request)
    ticket = await pages.tickets.redeem(request.query.get("ticket", ""), "enter", host)
    state = state_from(request.headers.get("Cookie", "").encode("latin-1"), https) or b""
    if ticket is None or ticket.session is None or not _same(ticket.state, state):
        return say(request, 410, "entry-used", "error")
    token = await pages.sessions.add_origin(ticket.session, host)
    cookie = session_cookie(token, https, pages.session_lifetime)
    return see_other("/" + ticket.next_path.lstrip("/\\"), cookie)


def _same(issued: str, shown: bytes) -> bool:
    return bool(issued) and hmac.compare_digest(issued.encode(), shown)


def login_needed(request: web.Request) -> web.Response:
    """Say that a session is needed; nothing of the notebook, not even whether it exists."""
    return say(request, 401, "sign-in", "login-required")
