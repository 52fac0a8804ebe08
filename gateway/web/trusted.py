"""People whom a proxy in front has authenticated: a header names them, and they have a session.

Which peers may say so, and that nobody else's word gets here, is the data path's. A session begins
with a navigation at the gateway's own origin; then the browser is looked at once for its cookie,
since one that keeps none would be sent round and round.
"""

from __future__ import annotations

import logging
from urllib.parse import unquote, urlencode

from aiohttp import web
from aiohttp.typedefs import Handler

from gateway.errors import InvalidInput
from gateway.launch.cookies import token_from
from gateway.launch.subjects import local_person, presentable
from gateway.launch.vouching import PROXY
from gateway.web.context import (
    at_own_origin,
    cookie_of,
    host_of,
    is_https,
    pages_of,
    principal_of,
    told_user,
    wants_html,
)
from gateway.web.people import path_of_ours
from gateway.web.render import request_id_of, say
from gateway.web.shares import COPIES
from gateway.web.signin import begin_session, see_other

logger = logging.getLogger(__name__)
routes = web.RouteTableDef()

_ARRIVED = "/gateway/arrived"


@web.middleware
async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """See to it that a request has the session of whom the proxy names, or none."""
    told = told_user(request)
    if told is None or request.path == _ARRIVED or principal_of(request) is not None:
        return await handler(request)
    if request.path.startswith(COPIES):
        return await handler(request)  # no session is needed, and the address is a secret
    if at_own_origin(request) and _is_navigation(request):
        return await _arrive(request, told)
    await _end_others(request, told)
    return await handler(request)


@routes.get(_ARRIVED, allow_head=False)
async def arrived(request: web.Request) -> web.Response:
    """Go on with a browser that has just been given its session."""
    if principal_of(request) is None:
        return say(request, 403, "told.cookies", "no-cookies")
    return see_other(pages_of(request).origin + path_of_ours(request.query.get("next", "")))


async def _arrive(request: web.Request, told: str) -> web.Response:
    try:
        subject = local_person(told)
    except InvalidInput as nobody:
        logger.warning("proxy's word refused request_id=%s %s", request_id_of(request), nobody)
        await _end_others(request, told)
        return say(request, 403, "told.nobody", "no-person")
    name = presentable(unquote(request.headers.get("X-Nbgate-Told-Name", "")))
    cookies = await begin_session(request, subject, issuer=PROXY, display_name=name or subject)
    return see_other(f"{_ARRIVED}?{urlencode({'next': request.raw_path})}", *cookies)


async def _end_others(request: web.Request, told: str) -> None:
    """End the session of another person than the one whom the proxy names."""
    pages, token = pages_of(request), token_from(cookie_of(request), is_https(request))
    last = None if token is None else pages.table.lookup(token, host_of(request))
    if last is not None and last.subject != told:
        await pages.sessions.revoke(last.session)


def _is_navigation(request: web.Request) -> bool:
    if request.method != "GET":
        return False
    mode = request.headers.get("Sec-Fetch-Mode")
    return wants_html(request) if mode is None else mode == "navigate"
