"""Read-only copies that people share: the button, what its press answers, and the copy to read.

A link shares nothing by being followed: the page has a button, and a program sends a POST from a
page of ours. A copy is for whoever has its address: no session is asked for, and none is looked at.
"""

from __future__ import annotations

import asyncio
import re
from datetime import datetime
from typing import Any

from aiohttp import web

from gateway.errors import NotFound
from gateway.launch.deeplinks import DeepLink
from gateway.launch.session_table import Principal
from gateway.launch.sharefiles import Share
from gateway.launch.shares import LARGEST
from gateway.launch.targets import Target
from gateway.notebooks.model import Links, Project
from gateway.notebooks.names import notebook_slug
from gateway.web.context import at_own_origin, pages_of, wants_html
from gateway.web.door import DOOR, Door
from gateway.web.framing import ancestors_of
from gateway.web.language import DEFAULT, words_for
from gateway.web.render import page, say
from gateway.web.signin import see_other
from gateway.web.static_notebook import cells_of

routes = web.RouteTableDef()

COPIES = "/gateway/shared/"
_SECRET = re.compile(r"[A-Za-z0-9_-]{43}")
_END = "nbgate-end"
_AGAIN_AFTER = 10


def refuse(request: web.Request, status: int, key: str, code: str) -> web.Response:
    """Say what the words have under `key`; programs read it as `{"error": …}`."""
    if wants_html(request):
        return say(request, status, key, code)
    return _json({"error": words_for(DEFAULT)(f"{key}.detail")}, status)


async def offer(
    request: web.Request, project: Project, target: Target, link: DeepLink, principal: Principal
) -> web.Response:
    """Show the button, and what is shared already; it shares nothing."""
    if not request.config_dict[DOOR].ways.shares.offered:
        return _off(request)
    if not wants_html(request):
        answer = refuse(request, 405, "share.post", "method-not-allowed")
        answer.headers["Allow"] = "POST"
        return answer
    file = link.candidates[0] if link.candidates else ""
    slug = notebook_slug(project.name, principal.subject)
    return await _asked(request, target, slug, "share.ask", file=file)


async def act(
    request: web.Request, project: Project, target: Target, link: DeepLink, principal: Principal
) -> web.Response:
    """Share the file as it is now, or take back what was shared: a page of ours has asked."""
    slug = notebook_slug(project.name, principal.subject)
    if ended := target.values(_END):
        await request.config_dict[DOOR].ways.shares.end(slug, ended[0])
        if not wants_html(request):
            return _json({})
        return await _asked(request, target, slug, "share.ended", file="")
    if not request.config_dict[DOOR].ways.shares.offered:
        return _off(request)
    return await _share(request, project, target, link, slug)


async def _share(
    request: web.Request, project: Project, target: Target, link: DeepLink, slug: str
) -> web.Response:
    door = request.config_dict[DOOR]
    found = await _file(request, slug, link)
    if found is None:
        return refuse(request, 404, "share.no-file", "not-found")
    file, content = found
    if len(content) > LARGEST:
        return refuse(request, 413, "share.large", "too-large")
    secret, share = await door.ways.shares.make(slug, project.name, file, content)
    door.count("share", "made")
    url = f"{pages_of(request).origin}{COPIES}{secret}"
    if not wants_html(request):
        return _json({"url_path": f"{COPIES}{secret}", "url": url})
    return await _asked(request, target, slug, "share.made", file=file, url=url, share=share)


async def _file(request: web.Request, slug: str, link: DeepLink) -> tuple[str, bytes] | None:
    """Return path and content of the person's file that a link may mean, or None."""
    if pages_of(request).catalogue.find(slug) is None:
        return None
    reading = request.config_dict[DOOR].ways.reading
    for file in link.candidates:
        content = await reading.file(slug, file.split("/"))
        if content is not None:
            return file, content
    return None


async def _asked(
    request: web.Request,
    target: Target,
    slug: str,
    key: str,
    *,
    file: str,
    url: str = "",
    share: Share | None = None,
) -> web.Response:
    """Return the page about a person's copies; `url` and `share` are those of a new one."""
    copies = await request.config_dict[DOOR].ways.shares.of(slug)
    values: dict[str, Any] = {
        "key": key,
        "file": file,
        "url": url,
        "until": "" if share is None else in_words(share.expires),
        "action": str(Target(target.segments)),
        "copies": [
            {
                "file": one.file,
                "made": in_words(one.made),
                "until": in_words(one.expires),
                "end": str(Target(target.segments, ((_END, one.digest),))),
                "new": share is not None and one.digest == share.digest,
            }
            for one in copies
        ],
    }
    return page(request, "share.html", **values)


def _off(request: web.Request) -> web.Response:
    return refuse(request, 403, "share.off", "sharing-off")


def _json(content: dict[str, str], status: int = 200) -> web.Response:
    headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    return web.json_response(content, status=status, headers=headers)


def in_words(moment: datetime) -> str:
    """Return a moment, which is UTC, as the pages tell it; to the minute."""
    return f"{moment:%Y-%m-%d %H:%M} UTC"


@routes.get(COPIES + "{secret}")
async def show(request: web.Request) -> web.Response:
    """Show a copy to whoever has its address."""
    secret = request.match_info["secret"]
    if not _SECRET.fullmatch(secret):
        return _sealed(say(request, 404, "share.none", "not-found"))
    if not at_own_origin(request):
        return see_other(f"{pages_of(request).origin}{COPIES}{secret}")
    door = request.config_dict.get(DOOR)
    if door is None:
        return _sealed(say(request, 404, "share.none", "not-found"))
    answer = await door.copies.make(secret, lambda: _shown(request, door, secret))
    if answer is None:
        answer = _sealed(say(request, 429, "read.busy", "too-many"))
        answer.headers["Retry-After"] = str(_AGAIN_AFTER)
    return answer


async def _shown(request: web.Request, door: Door, secret: str) -> web.Response:
    found = await door.ways.shares.find(secret)
    if found is None or not _takes_links(request, found[0].project):
        return _sealed(say(request, 404, "share.none", "not-found"))
    door.count("share", "opened")
    return await asyncio.to_thread(_copy, request, *found)


def _takes_links(request: web.Request, course: str) -> bool:
    """Whether there is still a page where whoever shares can take the copy back."""
    try:
        return pages_of(request).catalogue.project(course).links is not Links.OFF
    except NotFound:
        return False


def _copy(request: web.Request, share: Share, content: bytes) -> web.Response:
    answer = page(
        request,
        "shared.html",
        file=share.file,
        made=in_words(share.made),
        until=in_words(share.expires),
        cells=cells_of(share.file, content),
    )
    # Whoever has made it may be anybody: it gets no origin, no script, no form, and no request but
    # for the page's own style.
    answer.headers["Content-Security-Policy"] = (
        "default-src 'none'; style-src 'self'; img-src data:; form-action 'none'; base-uri 'none'; "
        f"sandbox allow-popups allow-popups-to-escape-sandbox; "
        f"frame-ancestors {ancestors_of(request, share.project)}"
    )
    return _sealed(answer)


def _sealed(answer: web.Response) -> web.Response:
    """Keep the address out of other sites' hands and of search engines."""
    answer.headers["Referrer-Policy"] = "no-referrer"
    answer.headers["X-Robots-Tag"] = "noindex, nofollow"
    return answer
