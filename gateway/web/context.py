"""What the pages need from the rest of the gateway, and who sent a request."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web

from gateway.access import Namespace, may_use
from gateway.activation.activator import Activator
from gateway.launch.cookies import tokens_from
from gateway.launch.links import host_of as origin_host
from gateway.launch.session_table import Principal, SessionTable, token_digest
from gateway.launch.sessions import Sessions
from gateway.launch.tickets import Tickets
from gateway.notebooks.catalogue import Catalogue
from gateway.notebooks.model import Notebook


@dataclass(frozen=True, slots=True)
class Pages:
    """All that the handlers use.

    Attributes:
        origin: `scheme://host[:port]` of the gateway's own pages.
        frame_ancestors: origins that may frame pages.
        session_lifetime: seconds.
        stop: stops a notebook; the second argument is who asked.
    """

    sessions: Sessions
    table: SessionTable
    tickets: Tickets
    catalogue: Catalogue
    activator: Activator
    namespace: Namespace
    origin: str
    frame_ancestors: tuple[str, ...]
    session_lifetime: float
    stop: Callable[[str, str], Awaitable[None]]


PAGES: web.AppKey[Pages] = web.AppKey("pages")


def pages_of(request: web.Request) -> Pages:
    """Return the context of the application that handles `request`."""
    return request.config_dict[PAGES]


def is_https(request: web.Request) -> bool:
    """Whether the client came by https; the data path says so."""
    return request.headers.get("X-Nbgate-Scheme") == "https"


def host_of(request: web.Request) -> str:
    """Return the host, with its port, as the client sees it; the data path says so."""
    return request.headers.get("X-Nbgate-Host", request.host).lower()


def at_own_origin(request: web.Request) -> bool:
    """Whether the request came to the gateway's origin, not to a notebook's."""
    return host_of(request) == origin_host(pages_of(request).origin)


def principal_of(request: web.Request, owner: str | None = None) -> Principal | None:
    """Return whose session the request carries, or None.

    A browser may be several people, one per course; `owner` is who comes first among them.
    """
    digests = map(token_digest, _tokens_of(request))
    return pages_of(request).table.first(digests, host_of(request), owner)


def principals_of(request: web.Request) -> list[Principal]:
    """Return everybody whose sessions the request carries."""
    digests = map(token_digest, _tokens_of(request))
    return pages_of(request).table.all(digests, host_of(request))


def cookie_of(request: web.Request) -> bytes:
    """Return the Cookie header as it was sent; b"" for none."""
    return request.headers.get("Cookie", "").encode("latin-1")


def _tokens_of(request: web.Request) -> list[bytes]:
    return tokens_from(cookie_of(request), is_https(request))


def own_notebook(request: web.Request, slug: str) -> Notebook | None:
    """Return the notebook if the request's session may use it, else None."""
    notebook = pages_of(request).catalogue.find(slug)
    principal = principal_of(request, notebook.owner if notebook is not None else None)
    if principal is None or notebook is None or not may_use(principal, notebook.owner):
        return None
    if pages_of(request).namespace.base_domain and not at_own_origin(request):
        host = host_of(request).encode("latin-1")
        return notebook if pages_of(request).namespace.slug_of(host, b"/") == slug else None
    return notebook


def title_of(request: web.Request, notebook: Notebook) -> str:
    """Return what people call a notebook: its name, or its course's title."""
    if notebook.name != notebook.project:
        return notebook.name
    return pages_of(request).catalogue.project(notebook.project).title


def wants_html(request: web.Request) -> bool:
    """Whether a person looks at the answer."""
    return "text/html" in request.headers.get("Accept", "")


def from_own_page(request: web.Request) -> bool:
    """Whether a POST comes from a page of the origin it goes to (RFC 6454; Fetch Metadata)."""
    origin = request.headers.get("Origin")
    if origin is not None:
        scheme = "https" if is_https(request) else "http"
        return origin.lower() == f"{scheme}://{host_of(request)}"
    return request.headers.get("Sec-Fetch-Site", "same-origin") == "same-origin"
