"""The pages of a notebook that is not hot: waiting, its status, and the retry button."""

from __future__ import annotations

import contextlib

from aiohttp import web

from gateway.activation.activator import Phase, StartStatus
from gateway.errors import StartFailed
from gateway.web.context import from_own_page, own_notebook, pages_of, title_of
from gateway.web.render import message, page

routes = web.RouteTableDef()

_STEPS = {
    Phase.COLD: "Waking up",
    Phase.QUEUED: "Waiting for a free place",
    Phase.CREATING: "Preparing the server",
    Phase.STARTING: "Starting Jupyter",
    Phase.READY: "Ready",
    Phase.FAILED: "The start failed",
}


async def waiting(request: web.Request, slug: str) -> web.Response:
    """Start the notebook and show how far it has come; the page reloads itself when ready."""
    notebook = own_notebook(request, slug)
    if notebook is None:
        return unknown(request)
    # A failure a moment ago is told by the page, with a button to try again.
    with contextlib.suppress(StartFailed):
        pages_of(request).activator.begin(slug)
    status = pages_of(request).activator.status(slug)
    answer = page(
        request,
        "waiting.html",
        status=503,
        slug=slug,
        title=title_of(request, notebook),
        step=_STEPS[status.phase],
        start=status,
        failed=status.phase is Phase.FAILED,
    )
    answer.headers["Retry-After"] = str(max(1, round(status.retry_after)))
    return answer


def unknown(request: web.Request) -> web.Response:
    """Say that there is nothing here, to owners of other notebooks too."""
    return message(
        request, 404, "Nothing here", "There is no such page, or it is not yours.", "not-found"
    )


@routes.get("/gateway/status/{slug}")
async def status(request: web.Request) -> web.Response:
    """Tell the waiting page how far the start has come. It never wakes a notebook."""
    slug = request.match_info["slug"]
    if own_notebook(request, slug) is None:
        return unknown(request)
    return _status_answer(pages_of(request).activator.status(slug))


@routes.post("/gateway/start/{slug}")
async def start(request: web.Request) -> web.Response:
    """Try again after a failure, without waiting for the back-off."""
    slug = request.match_info["slug"]
    if own_notebook(request, slug) is None:
        return unknown(request)
    if not from_own_page(request):
        return message(request, 403, "Not from here", "Use the button on the waiting page.")
    activator = pages_of(request).activator
    if activator.status(slug).phase is Phase.FAILED:
        activator.forgive(slug)
    activator.begin(slug)
    return _status_answer(activator.status(slug))


def _status_answer(status: StartStatus) -> web.Response:
    return web.json_response(
        {
            "phase": status.phase.value,
            "step": _STEPS[status.phase],
            "position": status.position,
            "reason": status.reason,
            "retry_after": round(status.retry_after, 1),
        },
        headers={"Cache-Control": "no-store"},
    )
