"""What an open page asks: how its server is, whether it is about to be stopped; and "keep it".

The page is the notebook image's (jupyter-image/labextensions). Asking wakes nothing and is no
activity: the data path answers for `/gateway/` without a notebook.
"""

from __future__ import annotations

from typing import Protocol

from aiohttp import web

from gateway.activation.culler import Notice
from gateway.activation.progress import Phase
from gateway.notebooks.model import Notebook
from gateway.spawners.base import ServerState
from gateway.web.context import from_own_page, own_notebook
from gateway.web.notebook import status_of, unknown
from gateway.web.render import say

routes = web.RouteTableDef()


class Notices(Protocol):
    """Who knows what is going to be stopped; the culler."""

    def notice(self, slug: str) -> Notice | None:
        """Return what open pages are to be told now, or None."""
        ...

    def keep(self, slug: str) -> Notice | None:
        """Take it that a person is there; return what is still to come."""
        ...


NOTICES: web.AppKey[Notices] = web.AppKey("notices")


@routes.get("/gateway/page/{slug}")
async def page(request: web.Request) -> web.Response:
    """Tell an open page how its notebook is."""
    slug = request.match_info["slug"]
    notebook = own_notebook(request, slug)
    if notebook is None:
        return unknown(request)
    status = status_of(request, slug)
    notices = request.config_dict.get(NOTICES)
    ready = status["phase"] == Phase.READY.value
    notice = notices.notice(slug) if notices is not None and ready else None
    paused = notebook.engine_status == ServerState.PAUSED.value
    more = {"paused": paused, "server": server_of(notebook), "stop": _stop_of(notice)}
    return _answer({**status, **more})


@routes.post("/gateway/keep/{slug}")
async def keep(request: web.Request) -> web.Response:
    """Take it that a person is there: an idle notebook stays. It wakes nothing."""
    slug = request.match_info["slug"]
    if own_notebook(request, slug) is None:
        return unknown(request)
    if not from_own_page(request):
        return say(request, 403, "foreign", "error")
    notices = request.config_dict.get(NOTICES)
    return _answer({"stop": _stop_of(notices.keep(slug) if notices is not None else None)})


def server_of(notebook: Notebook) -> str:
    """Return what differs between two servers of a notebook, and between two runs of one."""
    started = "" if notebook.started is None else f"-{notebook.started.timestamp():.0f}"
    return f"{notebook.generation}{started}"


def _stop_of(notice: Notice | None) -> dict[str, object] | None:
    if notice is None:
        return None
    return {"seconds": round(notice.seconds, 1), "reason": notice.reason}


def _answer(content: dict[str, object]) -> web.Response:
    headers = {"Cache-Control": "no-store", "Vary": "Accept-Language"}
    return web.json_response(content, headers=headers)
