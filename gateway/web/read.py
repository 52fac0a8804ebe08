"""A notebook's files to look at, without its server: what under path routing all but its owner get.

There all notebooks and these pages are one origin, so what somebody has made is opened live by
nobody else. Nothing here starts or wakes a server, and nothing counts as its owner's activity.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote, unquote_to_bytes

from aiohttp import web

from gateway.notebooks.model import Notebook
from gateway.spaces.reading import MOST_ITEMS, Item
from gateway.web.context import own_notebook, principal_of, title_of, user_of
from gateway.web.door import DOOR
from gateway.web.framing import ancestors_of
from gateway.web.notebook import unknown
from gateway.web.render import page, say
from gateway.web.signin import login_needed, see_other
from gateway.web.static_notebook import Cell, cells_of

routes = web.RouteTableDef()

_SHOWN = (".ipynb", ".md", ".py")
_MOST_SHOWN = 4 * 1024 * 1024
_AGAIN_AFTER = 10
# Where Jupyter's pages have the path of what they show.
_PLACES = (
    ("lab", "tree"),
    ("lab", "workspaces", "*", "tree"),
    ("doc", "tree"),
    ("doc", "workspaces", "*", "tree"),
    ("nbconvert", "*"),
    ("notebooks",),
    ("tree",),
    ("edit",),
    ("view",),
    ("files",),
)


@dataclass(frozen=True, slots=True)
class Link:
    """What is called `text` on the page, and its address."""

    text: str
    url: str


def address(slug: str, parts: Sequence[str] = ()) -> str:
    """Return where a notebook's files are read, or what of them `parts` lead to."""
    names = [quote(os.fsencode(part), safe="") for part in parts or ("",)]
    return "/".join((f"/gateway/read/{slug}", *names))


def instead(request: web.Request, slug: str) -> web.Response:
    """Lead somebody who would open a notebook live to what they can read of it."""
    return see_other(address(slug, _file_in(_segments(request)[3:])))


@routes.get("/gateway/read/{slug}")
@routes.get("/gateway/read/{slug}/{path:(?s:.*)}")
async def read(request: web.Request) -> web.Response:
    """Show a file or a folder of a notebook to whoever may use it."""
    notebook = own_notebook(request, request.match_info["slug"])
    reader = user_of(request, notebook)
    if notebook is None or reader is None:
        return login_needed(request) if principal_of(request) is None else unknown(request)
    parts = _segments(request)[4:]
    if parts and not parts[-1]:
        parts.pop()
    if any(part.startswith(".") for part in parts):
        return _missing(request)
    looking = request.config_dict[DOOR].looking
    answer = await looking.make(reader.subject, lambda: _shown(request, notebook, parts))
    if answer is None:
        answer = say(request, 429, "read.busy", "too-many")
        answer.headers["Retry-After"] = str(_AGAIN_AFTER)
    return answer


async def _shown(request: web.Request, notebook: Notebook, parts: Sequence[str]) -> web.Response:
    files = request.config_dict[DOOR].ways.reading
    content = await files.file(notebook.slug, parts)
    if content is not None:
        return await _file(request, notebook, parts, content)
    items = await files.folder(notebook.slug, parts)
    if items is None and parts:
        return _missing(request)
    links = [_link(notebook.slug, parts, one) for one in items or ()]
    return _page(request, notebook, parts, items=links)


def _segments(request: web.Request) -> list[str]:
    """Return what is between the slashes of the path, as names of files are."""
    raw = request.rel_url.raw_path.split("/")
    return [os.fsdecode(unquote_to_bytes(one)) for one in raw]


def _file_in(segments: Sequence[str]) -> list[str]:
    """Return which file or folder a page of Jupyter shows; nothing where it shows none."""
    for place in _PLACES:
        beginning = segments[: len(place)]
        if len(beginning) == len(place) and all(
            word in ("*", one) for word, one in zip(place, beginning, strict=True)
        ):
            parts = [one for one in segments[len(place) :] if one]
            return [] if {".", ".."} & set(parts) else parts
    return []


async def _file(
    request: web.Request, notebook: Notebook, parts: Sequence[str], content: bytes
) -> web.Response:
    too_large = len(content) > _MOST_SHOWN
    if "download" in request.query or too_large or not parts[-1].endswith(_SHOWN):
        return _download(parts[-1], content)
    cells = await asyncio.to_thread(cells_of, parts[-1], content)
    return await asyncio.to_thread(_page, request, notebook, parts, cells=cells)


def _page(
    request: web.Request,
    notebook: Notebook,
    parts: Sequence[str],
    *,
    items: Sequence[Link] | None = None,
    cells: Sequence[Cell] = (),
) -> web.Response:
    """Return the page of a folder, with `items`, or of a file."""
    title = title_of(request, notebook)
    above = [Link(title, address(notebook.slug))]
    for depth, part in enumerate(parts[:-1], 1):
        above.append(Link(shown(part), address(notebook.slug, (*parts[:depth], ""))))
    answer = page(
        request,
        "read.html",
        above=above if parts else [],
        name=shown(parts[-1]) if parts else title,
        owner=notebook.owner,
        items=items,
        most=MOST_ITEMS,
        cells=cells,
        download=address(notebook.slug, parts) + "?download",
    )
    # Not even requests to this origin, which an image could make in the reader's name.
    answer.headers["Content-Security-Policy"] = (
        "default-src 'none'; style-src 'self'; img-src data:; form-action 'none'; "
        f"base-uri 'none'; frame-ancestors {ancestors_of(request)}"
    )
    return answer


def _download(name: str, content: bytes) -> web.Response:
    """Return a file to keep: nothing shows it here, whatever its owner has put into it."""
    return web.Response(
        body=content,
        headers={
            "Content-Type": "application/octet-stream",
            "Content-Disposition": f"attachment; filename*=UTF-8''{quote(shown(name), safe='')}",
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            "Content-Security-Policy": "default-src 'none'; sandbox",
            "Cross-Origin-Resource-Policy": "same-origin",
        },
    )


def _missing(request: web.Request) -> web.Response:
    return say(request, 404, "read.missing", "not-found")


def _link(slug: str, parts: Sequence[str], item: Item) -> Link:
    below = (*parts, item.name)
    if item.folder:
        return Link(f"{shown(item.name)}/", address(slug, (*below, "")))
    return Link(shown(item.name), address(slug, below))


def shown(name: str) -> str:
    """Return a file's name as text: one that is no UTF-8 has marks in its place."""
    return os.fsencode(name).decode("utf-8", "replace")
