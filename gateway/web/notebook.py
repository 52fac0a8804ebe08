"""The pages of a notebook that is not hot: waiting, its status, and the buttons.

The event stream that a waiting page follows is streams.py's, the words telling.py's.
"""

from __future__ import annotations

import contextlib
import math
import secrets

from aiohttp import web

from gateway.activation.progress import Phase
from gateway.errors import AllPlacesTaken, QueueFull, StartFailed, TooManyRunning
from gateway.notebooks.model import Notebook
from gateway.web.context import (
    from_own_page,
    own_notebook,
    pages_of,
    title_of,
    user_of,
    wants_html,
)
from gateway.web.render import page, say, words_of
from gateway.web.signin import see_other
from gateway.web.telling import STAGES, Told, told, told_full

routes = web.RouteTableDef()

_LOOK_AGAIN = 2


async def waiting(request: web.Request, slug: str) -> web.Response:
    """Start the notebook and show how far it has come; the page reloads itself when ready."""
    notebook = own_notebook(request, slug)
    if notebook is None:
        return unknown(request)
    try:
        # A failure a moment ago is told by the page, with a button to try again.
        with contextlib.suppress(StartFailed):
            pages_of(request).activator.begin(slug)
    except QueueFull as full:
        answer = told_full(full.retry_after or _LOOK_AGAIN, words_of(request))
        return _waiting_page(request, notebook, answer, int(full.status))
    except (TooManyRunning, AllPlacesTaken) as limit:
        return limit_page(request, limit)
    return _waiting_page(request, notebook, status_of(request, slug), 503)


def status_of(request: web.Request, slug: str) -> Told:
    """Return how far the start is, in the words of the request's language.

    The end of the log is for whoever may use the notebook: what is in it was written by programs
    that run for them, and the hop secret was taken out.
    """
    activator = pages_of(request).activator
    failure = activator.failure(slug)
    log = "" if failure is None else failure.log_tail
    return told(activator.status(slug), words_of(request), log)


def _waiting_page(
    request: web.Request, notebook: Notebook, start: Told, status: int
) -> web.Response:
    again_in = start["again_in"]
    # Pages that try again by themselves do not all do so at the same moment.
    after = _LOOK_AGAIN if again_in is None else math.ceil(float(again_in)) + secrets.randbelow(4)
    answer = page(
        request,
        "waiting.html",
        status=status,
        slug=notebook.slug,
        title=title_of(request, notebook),
        start=start,
        stages=[stage.value for stage in STAGES],
        after=after,
        # An address with two slashes in front would be another host's.
        address="/" + request.raw_path.lstrip("/\\"),
    )
    wait = start["retry_after"] if start["failed"] else after
    answer.headers["Retry-After"] = str(max(1, math.ceil(float(wait or 0))))
    return answer


def limit_page(request: web.Request, limit: TooManyRunning | AllPlacesTaken) -> web.Response:
    """Say that as many run as may, and which of them are the person's."""
    # A teacher opens what is a student's: of the student's others, only what they teach as well.
    found = map(pages_of(request).catalogue.find, limit.running)
    running = [book for book in found if book and user_of(request, book)]
    answer = page(
        request,
        "limit.html",
        status=int(limit.status),
        key="limit.own" if isinstance(limit, TooManyRunning) else "limit.all",
        limit=limit.limit,
        running=[(title_of(request, book), book.slug) for book in running],
    )
    if limit.retry_after is not None:
        answer.headers["Retry-After"] = str(math.ceil(limit.retry_after))
    return answer


def unknown(request: web.Request) -> web.Response:
    """Say that there is nothing here, to owners of other notebooks too."""
    return say(request, 404, "unknown", "not-found")


@routes.get("/gateway/status/{slug}")
async def status(request: web.Request) -> web.Response:
    """Tell the waiting page how far the start has come. It never wakes a notebook."""
    slug = request.match_info["slug"]
    if own_notebook(request, slug) is None:
        return unknown(request)
    return _status_answer(request, slug)


@routes.post("/gateway/start/{slug}")
async def start(request: web.Request) -> web.Response:
    """Try again after a failure, without waiting for the back-off."""
    slug = request.match_info["slug"]
    if own_notebook(request, slug) is None:
        return unknown(request)
    if not from_own_page(request):
        return say(request, 403, "foreign", "error")
    activator = pages_of(request).activator
    if activator.status(slug).phase is Phase.FAILED:
        activator.forgive(slug)
    if wants_html(request):
        # A page without script: the address that was asked for begins the start itself.
        return see_other(await _address(request, slug))
    activator.begin(slug)
    return _status_answer(request, slug)


@routes.post("/gateway/stop/{slug}")
async def stop(request: web.Request) -> web.Response:
    """Stop one's notebook: the button on the list of notebooks."""
    slug = request.match_info["slug"]
    principal = user_of(request, own_notebook(request, slug))
    if principal is None:
        return unknown(request)
    if not from_own_page(request):
        return say(request, 403, "foreign", "error")
    await pages_of(request).stop(slug, principal.subject)
    return see_other("/")


async def _address(request: web.Request, slug: str) -> str:
    """Return where the form's page was, if that is an address of the same notebook."""
    home = pages_of(request).namespace.base_url(slug)
    address = str((await request.post()).get("address", ""))
    plain = address.isprintable() and "\\" not in address and not address.startswith("//")
    return address if plain and address.startswith(home) else home


def _status_answer(request: web.Request, slug: str) -> web.Response:
    headers = {"Cache-Control": "no-store", "Vary": "Accept-Language"}
    return web.json_response(status_of(request, slug), headers=headers)
