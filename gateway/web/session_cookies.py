"""The cookies that tell a browser of its session, and those that take it away again.

Beside the session cookie goes the edge cookie, where httpd serves hot notebooks by itself: set at
the origins where notebooks are, and of no use to the gateway.
"""

from __future__ import annotations

from collections.abc import Iterable

from aiohttp import web

from gateway.launch.cookies import (
    clear_cookie,
    clear_edge_cookie,
    edge_cookie,
    session_cookie,
)
from gateway.web.context import at_own_origin, host_of, is_https, pages_of


def cookies_of_session(request: web.Request, token: str, course: str = "") -> list[str]:
    """Return the Set-Cookie values that give a session's token to the browser that asks.

    Args:
        request: of the browser, to the host that the token is for.
        token: new.
        course: as in `cookie_name`.
    """
    pages, https = pages_of(request), is_https(request)
    lifetime = pages.session_lifetime
    cookies = [session_cookie(token, https, lifetime, course)]
    edge = pages.sessions.edge(token, host_of(request))
    if edge and not (pages.namespace.base_domain and at_own_origin(request)):
        cookies.append(edge_cookie(edge, https, lifetime, course))
    return cookies


def cookies_of_nobody(request: web.Request, courses: Iterable[str]) -> list[str]:
    """Return the Set-Cookie values that take the sessions of these courses away."""
    https, names = is_https(request), list(courses)
    cookies = [clear_cookie(https, course) for course in names]
    if pages_of(request).sessions.at_httpd:
        cookies.extend(clear_edge_cookie(https, course) for course in names)
    return cookies
