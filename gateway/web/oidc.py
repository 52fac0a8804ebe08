"""Signing in at an OpenID provider: the way there, and the way back.

`begin` keeps a secret and where to go afterwards in a cookie of this one attempt; state, nonce and
the proof for the code are derived from it or found by it, so the answer is of use in the browser
that asked alone, and nothing is stored here for people who are not signed in.
"""

from __future__ import annotations

import base64
import logging
import secrets

from aiohttp import web

from gateway.errors import InvalidInput
from gateway.launch.cookies import clear_state_cookie, flows_from, state_cookie, state_from
from gateway.launch.oidc import LIFETIME, Attempt, ProviderFailed, SignInRefused
from gateway.launch.subjects import Person
from gateway.web.context import at_own_origin, cookie_of, is_https, pages_of
from gateway.web.notebook import unknown
from gateway.web.people import SignIn, path_of_ours, sign_in_of
from gateway.web.render import request_id_of
from gateway.web.signin import begin_session, see_other, sign_in_page

logger = logging.getLogger(__name__)
routes = web.RouteTableDef()

_MOST_FLOWS = 4


@routes.get("/gateway/oidc/begin", allow_head=False)
async def begin(request: web.Request) -> web.Response:
    """Send a browser to the provider."""
    pages, sign_in = pages_of(request), sign_in_of(request)
    if sign_in is None:
        return unknown(request)
    if not at_own_origin(request):
        return see_other(f"{pages.origin}{request.raw_path}")
    onward = path_of_ours(request.query.get("next", ""))
    attempt = Attempt(secrets.token_urlsafe(32), secrets.token_urlsafe(24))
    try:
        metadata = await sign_in.provider.metadata()
    except ProviderFailed as failure:
        return _failed(request, failure, onward)
    https = is_https(request)
    kept = f"{attempt.browser}.{base64.urlsafe_b64encode(onward.encode()).decode().rstrip('=')}"
    others = flows_from(cookie_of(request), https)[: -_MOST_FLOWS + 1]
    return see_other(
        attempt.url(metadata, sign_in.provider.registration),
        *(clear_state_cookie(https, flow) for flow in others),
        state_cookie(kept, https, attempt.flow, LIFETIME),
    )


@routes.get("/gateway/oidc/callback", allow_head=False)
async def callback(request: web.Request) -> web.Response:
    """Take a browser that comes back from the provider."""
    pages, sign_in = pages_of(request), sign_in_of(request)
    if sign_in is None:
        return unknown(request)
    if not at_own_origin(request):
        return see_other(f"{pages.origin}{request.raw_path}")
    found = _attempt(request)
    if found is None:
        return sign_in_page(request, 410, "oidc.over", "sign-in-over", "/")
    attempt, onward = found
    try:
        person = await _person(request, sign_in, attempt)
    except ProviderFailed as failure:
        answer = _failed(request, failure, onward)
    except SignInRefused as refused:
        logger.warning("sign-in refused request_id=%s reason=%s", request_id_of(request), refused)
        answer = sign_in_page(request, 403, "oidc.refused", "sign-in-refused", onward)
    except InvalidInput as nobody:
        logger.warning("sign-in of nobody request_id=%s reason=%s", request_id_of(request), nobody)
        answer = sign_in_page(request, 403, "oidc.nobody", "sign-in-refused", onward)
    else:
        answer = await _welcome(request, sign_in, person, onward)
    answer.headers.add("Set-Cookie", clear_state_cookie(is_https(request), attempt.flow))
    return answer


def _attempt(request: web.Request) -> tuple[Attempt, str] | None:
    """Return the attempt that the browser comes back from, and where it wanted to go."""
    state = request.query.get("state", "")
    if not state:
        return None
    flow = Attempt("", state).flow
    kept = state_from(cookie_of(request), is_https(request), flow)
    browser, _, onward = (kept or b"").decode("latin-1").partition(".")
    if not browser:
        return None
    try:
        path = base64.urlsafe_b64decode(onward + "=" * (-len(onward) % 4)).decode()
    except ValueError:
        path = "/"
    return Attempt(browser, state), path_of_ours(path)


async def _person(request: web.Request, sign_in: SignIn, attempt: Attempt) -> Person:
    """Return who has signed in; the exceptions of Provider.claims and Naming.person."""
    provider, query = sign_in.provider, request.query
    issuer = query.get("iss")
    # RFC 9207: another provider's answer must not be taken for this one's.
    if issuer is None and (await provider.metadata()).tells_issuer:
        raise SignInRefused("the answer does not say whose it is")
    if issuer not in (None, provider.registration.issuer):
        raise SignInRefused("the answer is another provider's")
    code = query.get("code", "")
    if "error" in query or not code:
        raise SignInRefused(f"the provider says {ascii(query.get('error', 'nothing'))[:80]}")
    wanted = frozenset((sign_in.naming.claim, "name"))
    return sign_in.naming.person(await provider.claims(code, attempt, wanted))


async def _welcome(
    request: web.Request, sign_in: SignIn, person: Person, onward: str
) -> web.Response:
    cookies = await begin_session(
        request,
        person.subject,
        issuer=sign_in.naming.issuer,
        display_name=person.display_name,
        administrator=person.administrator,
    )
    logger.info(
        "signed in request_id=%s subject=%s administrator=%s",
        request_id_of(request),
        ascii(person.subject),
        person.administrator,
    )
    return see_other(f"{pages_of(request).origin}{onward}", *cookies)


def _failed(request: web.Request, failure: ProviderFailed, onward: str) -> web.Response:
    logger.error("provider failed request_id=%s reason=%s", request_id_of(request), failure)
    return sign_in_page(request, int(failure.status), "oidc.down", "provider", onward)
