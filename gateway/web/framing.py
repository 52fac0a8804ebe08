"""Who may show a page of the gateway in a frame: the project's sites, where it is known whose.

What a stranger is answered must not tell which notebooks there are. So a notebook counts for those
who may use it; for others, the name of a course does, as far as it takes links: that is no secret.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from aiohttp import web

from gateway.errors import NotFound
from gateway.launch.deeplinks import read_link, target_of
from gateway.launch.targets import BadLink
from gateway.notebooks.ancestors import sources_of
from gateway.notebooks.model import Links
from gateway.notebooks.names import LONGEST_SLUG
from gateway.web.context import own_notebook, pages_of

_OF_ONE_NOTEBOOK = ("status", "start", "stop")


def ancestors_of(request: web.Request, project: str | None = None) -> str:
    """Return the value of `frame-ancestors` for the answer to a request.

    Args:
        request: what is answered.
        project: whose page it is; None to find out.
    """
    pages = pages_of(request)
    name = _project_of(request) if project is None else project
    return sources_of(pages.catalogue.ancestors(name), pages.frame_ancestors)


def _project_of(request: web.Request) -> str:
    """Return the project that a request is about; "" where that is nobody's business."""
    slug = _slug_of(request)
    if slug:
        notebook = own_notebook(request, slug)
        return _course_named_in(request, slug) if notebook is None else notebook.project
    try:
        target = target_of(request.raw_path)
    except BadLink:
        return ""
    if target.segments[:2] == ("gateway", "try") and len(target.segments) > 2:
        return _anonymous(request, target.segments[2])
    link = read_link(target)
    return "" if link is None else _with_links(request, link.course)


def _slug_of(request: web.Request) -> str:
    """Return the notebook that an address is about; "" for none."""
    namespace, told = pages_of(request).namespace, request.headers.get("X-Nbgate-Slug", "")
    if told:
        return told
    match request.path.split("/"):
        case ["", "gateway", "authorize"]:
            return namespace.slug_of(_place_asked_for(request), b"/") or ""
        case ["", "gateway", word, slug] if word in _OF_ONE_NOTEBOOK:
            return slug
        case ["", "gateway", "read", slug, *_]:
            return slug
    host = request.headers.get("X-Nbgate-Host", request.host).lower()
    return namespace.slug_of(host.encode("latin-1", "replace"), request.path.encode()) or ""


def _place_asked_for(request: web.Request) -> bytes:
    """Return the notebook's host to which a browser without a cookie is to go back."""
    try:
        place = urlsplit(request.query.get("next", "")).netloc
    except ValueError:
        return b""
    return place.lower().encode("ascii", "replace")


def _course_named_in(request: web.Request, slug: str) -> str:
    """Return the course that a slug begins with, whether or not there is such a notebook."""
    if len(slug) > LONGEST_SLUG:
        return ""  # no slug; with as many hyphens as fit into a path it would take seconds
    words = slug.split("-")
    names = ("-".join(words[:count]) for count in range(len(words) - 1, 0, -1))
    return next((name for name in names if _with_links(request, name)), "")


def _with_links(request: web.Request, name: str) -> str:
    """Return a course's name if links lead into it; else it is as if there were none."""
    try:
        project = pages_of(request).catalogue.project(name)
    except NotFound:
        return ""
    return "" if project.links is Links.OFF else name


def _anonymous(request: web.Request, name: str) -> str:
    try:
        project = pages_of(request).catalogue.project(name)
    except NotFound:
        return ""
    return name if project.anonymous else ""
