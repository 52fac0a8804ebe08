"""Pages for people: index, sign-in, waiting, errors. The data path's last upstream.

`build_pages` makes the aiohttp application. It serves on a private Unix socket; the data path
tells it in `X-Nbgate-*` headers, which clients cannot set, why a request ended up here.
"""

from __future__ import annotations

import logging
from importlib import resources

from aiohttp import web
from aiohttp.typedefs import Handler

from gateway.launch.deeplinks import SHAPES
from gateway.problems import problem_of
from gateway.proxy.redaction import redacted
from gateway.web import (
    deeplinks,
    home,
    newtab,
    notebook,
    oidc,
    openpage,
    passersby,
    read,
    shares,
    signin,
    streams,
    trusted,
)
from gateway.web.context import PAGES, Pages, pages_of
from gateway.web.door import DOOR
from gateway.web.render import message, request_id_of, say
from gateway.web.streams import STREAMS, streams_of

logger = logging.getLogger(__name__)


async def to_index(request: web.Request) -> web.Response:
    """`/gateway/` is the index too."""
    return signin.see_other(pages_of(request).origin + "/")


async def elsewhere(request: web.Request) -> web.StreamResponse:
    """Answer whatever the data path did not relay, by the reason it gives."""
    reason = request.headers.get("X-Nbgate-Reason", "")
    slug = request.headers.get("X-Nbgate-Slug", "")
    if reason == "waiting":
        return await notebook.waiting(request, slug)
    if reason == "reading":
        return read.instead(request, slug)
    if reason == "login":
        at_own_origin = bool(pages_of(request).namespace.base_domain)
        return signin.to_authorize(request) if at_own_origin else signin.login_needed(request)
    if request.path == "/" and request.method in ("GET", "HEAD"):
        return await home.index(request)
    return notebook.unknown(request)


async def link(request: web.Request) -> web.StreamResponse:
    """Answer a link of an LMS; at a notebook's own origin it is a path like any other."""
    of_notebook = request.headers.get("X-Nbgate-Slug", "")
    if of_notebook or DOOR not in request.app:
        return await elsewhere(request)
    return await deeplinks.arrive(request)


@web.middleware
async def errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn every error into a page or problem+json; no stack trace reaches a user."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        return message(request, error.status, error.reason, error.reason, "http")
    except Exception as error:
        problem = problem_of(error)
        if problem.status == 500:
            # The path as it was sent: a decoded one could hold line ends.
            logger.exception(
                "page failed request_id=%s method=%s path=%s",
                request_id_of(request),
                request.method,
                redacted(request.rel_url.raw_path.encode()).decode(),
            )
        # What only an operator can mend names folders, addresses and sources: it is in the log.
        detail = None if problem.status == 500 else problem.detail
        answer = say(request, problem.status, "failure", problem.code, detail)
        if problem.retry_after is not None:
            answer.headers["Retry-After"] = str(problem.retry_after)
        return answer


async def _end_watching(app: web.Application) -> None:
    """Event streams would go on for as long as the shutdown waits for them."""
    app[PAGES].activator.end_watching()


def build_pages(pages: Pages) -> web.Application:
    """Return the application."""
    app = web.Application(middlewares=[errors, trusted.middleware])
    app[PAGES] = pages
    app[STREAMS] = streams_of(pages)
    app.on_shutdown.append(_end_watching)
    app.add_routes(signin.routes)
    app.add_routes(oidc.routes)
    app.add_routes(trusted.routes)
    app.add_routes(home.routes)
    app.add_routes(newtab.routes)
    app.add_routes(notebook.routes)
    app.add_routes(passersby.routes)
    app.add_routes(read.routes)
    app.add_routes(shares.routes)
    app.add_routes(streams.routes)
    app.add_routes(openpage.routes)
    for prefix in SHAPES:
        app.router.add_route("*", f"/{'/'.join(prefix)}/{{rest:.*}}", link)
    app.router.add_get("/gateway", to_index)
    app.router.add_get("/gateway/", to_index)
    static = resources.files("gateway.web") / "static"
    app.router.add_static("/gateway/static", str(static))
    app.router.add_route("*", "/{path:.*}", elsewhere)
    return app
