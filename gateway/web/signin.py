"""Signing in: one-time login links, and one cookie per notebook origin in host routing.

A login link redeems its ticket once and sets the session of the gateway's own origin. In host
routing a notebook's origin has no cookie yet: it sends the browser to `authorize` here, which
issues a short-lived ticket for that origin; `enter` there redeems it. A state cookie at the
notebook's origin ties the ticket to the browser that asked, so nobody can be signed in as
somebody else by a link.
"""

from __future__ import annotations

import hmac
import logging
import secrets
from urllib.parse import SplitResult, quote, urlencode, urlsplit

from aiohttp import web

from gateway.launch.cookies import (
    courses_from,
    state_cookie,
    state_from,
    token_from,
)
from gateway.launch.oidc import ProviderFailed
from gateway.launch.session_table import Principal
from gateway.web.context import (
    at_own_origin,
    cookie_of,
    from_own_page,
    host_of,
    is_https,
    pages_of,
    principal_of,
    principals_of,
    user_of,
    wants_html,
)
from gateway.web.language import DEFAULT, words_for
from gateway.web.people import is_framed, path_of_ours, sign_in_of
from gateway.web.question import question
from gateway.web.render import message, page, request_id_of, say
from gateway.web.session_cookies import cookies_of_nobody, cookies_of_session

logger = logging.getLogger(__name__)
routes = web.RouteTableDef()

_ENTER_LIFETIME = 30.0


def see_other(location: str, *cookies: str) -> web.Response:
    """Return a 303 that no cache keeps."""
    answer = web.Response(status=303, headers={"Location": location, "Cache-Control": "no-store"})
    answer.headers["Referrer-Policy"] = "no-referrer"
    for cookie in cookies:
        answer.headers.add("Set-Cookie", cookie)
    return answer


async def begin_session(
    request: web.Request,
    subject: str,
    *,
    issuer: str,
    display_name: str,
    administrator: bool = False,
) -> list[str]:
    """Begin a session at the host that was asked; return the cookies to set.

    The token is a new one, so nobody who knew an old one gets in with it. Another person's
    session in this browser ends, at all its origins: computers are shared.

    Args:
        request: of the browser.
        subject: the person.
        issuer: who says that it is them: a word of ours, or a provider's URL.
        display_name: what pages call them; "" means the subject.
        administrator: whether every notebook is open to them.
    """
    pages, https, host = pages_of(request), is_https(request), host_of(request)
    before = token_from(cookie_of(request), https)
    last = None if before is None else pages.table.lookup(before, host)
    token = await pages.sessions.create(subject, host, administrator, display_name, issuer)
    if last is not None and last.subject != subject:
        await pages.sessions.revoke(last.session)
    return cookies_of_session(request, token)


@routes.get("/gateway/login", allow_head=False)
async def login(request: web.Request) -> web.Response:
    """Redeem a one-time login link: set the session, go on to the notebook.

    Without a ticket it is the page on which people sign in.
    """
    pages = pages_of(request)
    if not at_own_origin(request):
        return see_other(f"{pages.origin}{request.raw_path}")
    if "ticket" not in request.query:
        return login_needed(request, request.query.get("next", "/"))
    ticket = await pages.tickets.redeem(request.query["ticket"], "login", host_of(request))
    if ticket is None:
        return say(request, 410, "link-used", "link-used")
    cookies = await begin_session(
        request, ticket.subject, issuer="login-link", display_name=ticket.subject
    )
    return see_other(ticket.next_path, *cookies)


@routes.post("/gateway/logout")
async def logout(request: web.Request) -> web.Response:
    """End the session on all its origins."""
    principals, https = principals_of(request), is_https(request)
    if principals and not from_own_page(request):
        return say(request, 403, "foreign", "error")
    there = await _signed_out_there(request, principals)
    for principal in principals:
        await pages_of(request).sessions.revoke(principal.session)
    courses = ("", *courses_from(cookie_of(request), https))
    answer = see_other("/") if there is None else _goodbye(request, there)
    for cookie in cookies_of_nobody(request, courses):
        answer.headers.add("Set-Cookie", cookie)
    return answer


async def _signed_out_there(request: web.Request, principals: list[Principal]) -> str | None:
    """Return where people sign out at the provider that they came from, or None."""
    sign_in, pages = sign_in_of(request), pages_of(request)
    if sign_in is None or not principals:
        return None
    issuers = await pages.sessions.issuers([principal.session for principal in principals])
    if sign_in.naming.issuer not in issuers:
        return None
    try:
        return await sign_in.provider.goodbye(f"{pages.origin}/")
    except ProviderFailed as failure:
        logger.warning("nobody is signed out at the provider reason=%s", failure)
        return None


def _goodbye(request: web.Request, there: str) -> web.Response:
    """Say that the session here is over, and go on to the provider.

    A redirect would be forbidden by the page's own form-action. In a frame a link must do.
    """
    sign_in, framed = sign_in_of(request), is_framed(request)
    assert sign_in is not None
    return page(request, "goodbye.html", name=sign_in.name, there=there, framed=framed)


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
    pages = pages_of(request)
    # A notebook's token must not open other notebooks: only the gateway's own one counts here.
    wanted = request.query.get("next", "")
    if principal_of(request) is None or not at_own_origin(request):
        return login_needed(request, f"/gateway/authorize?{urlencode({'next': wanted})}")
    target = _parts(wanted)
    slug = pages.namespace.slug_of(target.netloc.encode("ascii", "replace"), b"/")
    notebook = pages.catalogue.find(slug) if slug else None
    home = urlsplit(pages.namespace.url(slug or ""))
    same_origin = (target.scheme, target.netloc) == (home.scheme, home.netloc)
    visitor = user_of(request, notebook)
    if visitor is None or not same_origin:
        return say(request, 404, "no-notebook", "error")
    if not request.query.get("state"):
        # Somebody who has just signed in: the notebook's origin has to ask again.
        return see_other(f"{home.scheme}://{home.netloc}/{target.path.lstrip('/')}")
    ticket = await pages.tickets.issue(
        "enter",
        visitor.subject,
        target.netloc.lower(),
        target.path + (f"?{target.query}" if target.query else ""),
        _ENTER_LIFETIME,
        session=visitor.session,
        state=request.query["state"],
    )
    host = f"{target.scheme}://{target.netloc}"
    return see_other(f"{host}/gateway/enter?ticket={quote(ticket)}")


def _parts(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError:
        return urlsplit("")


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
    cookies = cookies_of_session(request, token)
    return see_other("/" + ticket.next_path.lstrip("/\\"), *cookies)


def _same(issued: str, shown: bytes) -> bool:
    return bool(issued) and hmac.compare_digest(issued.encode(), shown)


def login_needed(request: web.Request, onward: str | None = None) -> web.Response:
    """Say that a session is needed; nothing of the notebook, not even whether it exists.

    Args:
        request: that needs it.
        onward: path of ours to go on to with a session; None for what was asked for.
    """
    onward = request.raw_path if onward is None else onward
    sign_in = sign_in_of(request)
    if sign_in is not None and sign_in.straight_on and wants_html(request):
        mode = request.headers.get("Sec-Fetch-Mode", "navigate")
        if mode == "navigate" and not is_framed(request):
            return see_other(_begin(request, onward))
    return sign_in_page(request, 401, "sign-in", "login-required", onward)


def sign_in_page(
    request: web.Request, status: int, key: str, code: str, onward: str
) -> web.Response:
    """Return a page that says what the words have under `key`, with a button to sign in.

    Args:
        request: of the page; for programs the answer is problem+json.
        status: HTTP status code.
        key: of the words.
        code: a stable word for programs.
        onward: path of ours to go on to afterwards.
    """
    sign_in = sign_in_of(request)
    if sign_in is None and is_framed(request) and wants_html(request):
        return question(request, status, "tab.sign-in", tab=path_of_ours(onward))
    if sign_in is None:
        return say(request, status, key, code)
    if not wants_html(request):
        words = words_for(DEFAULT)
        title, detail = (words(f"{key}.{part}", name=sign_in.name) for part in ("title", "detail"))
        return message(request, status, title, detail, code)
    return page(
        request,
        "signin.html",
        status=status,
        key=key,
        name=sign_in.name,
        begin=_begin(request, onward),
        framed=is_framed(request),
        request_id=request_id_of(request),
    )


def _begin(request: web.Request, onward: str) -> str:
    """Return where signing in begins; the way on is checked there."""
    return f"{pages_of(request).origin}/gateway/oidc/begin?{urlencode({'next': onward})}"
