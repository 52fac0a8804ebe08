"""What the pages need from the rest of the gateway, and who sent a request."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import unquote

from aiohttp import web

from gateway.access import may_use
from gateway.activation.activator import Activator
from gateway.launch.cookies import MOST_COURSES, tokens_from
from gateway.launch.links import host_of as origin_host
from gateway.launch.session_table import Principal, SessionTable, token_digest
from gateway.launch.sessions import Sessions
from gateway.launch.tickets import Tickets
from gateway.namespace import Namespace
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


def principal_of(request: web.Request, notebook: Notebook | None = None) -> Principal | None:
    """Return whose session the request carries, or None.

    A browser may be several people, one per course; who may use `notebook` comes first among
    them, its owner before all others.
    """
    pages, digests = pages_of(request), map(token_digest, _tokens_of(request))
    if notebook is None:
        return pages.table.first(digests, host_of(request))
    others = pages.catalogue.others(notebook)
    return pages.table.first(digests, host_of(request), notebook.owner, others)


def principals_of(request: web.Request) -> list[Principal]:
    """Return everybody whose sessions the request carries."""
    digests = map(token_digest, _tokens_of(request))
    return pages_of(request).table.all(digests, host_of(request))


def cookie_of(request: web.Request) -> bytes:
    """Return the Cookie header as it was sent; b"" for none."""
    return request.headers.get("Cookie", "").encode("latin-1")


def told_user(request: web.Request) -> str | None:
    """Return whom a trusted proxy in front has authenticated, or None; the data path says so."""
    told = request.headers.get("X-Nbgate-Told-User")
    return None if told is None else unquote(told)


def _tokens_of(request: web.Request) -> list[bytes]:
    tokens = tokens_from(cookie_of(request), is_https(request), MOST_COURSES)
    told = told_user(request)
    if told is None:
        return tokens
    table, host = pages_of(request).table, host_of(request)
    found = ((token, table.first((token_digest(token),), host)) for token in tokens)
    return [token for token, one in found if one is not None and one.subject == told]


def user_of(request: web.Request, notebook: Notebook | None) -> Principal | None:
    """Return who of the request's browser may use the notebook, or None."""
    principal = principal_of(request, notebook)
    if principal is None or notebook is None:
        return None
    others = pages_of(request).catalogue.others(notebook)
    return principal if may_use(principal, notebook.owner, others) else None


def own_notebook(request: web.Request, slug: str) -> Notebook | None:
    """Return the notebook if the request's session may use it, else None."""
    notebook = pages_of(request).catalogue.find(slug)
    if user_of(request, notebook) is None:
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
    """Whether a POST comes from a page of the origin it goes to (RFC 6454; Fetch Metadata).

    Every browser sends one of the two headers with a POST; what sends neither is no page of ours.
    """
    origin = request.headers.get("Origin")
    if origin is not None:
        scheme = "https" if is_https(request) else "http"
        return origin.lower() == f"{scheme}://{host_of(request)}"
    return request.headers.get("Sec-Fetch-Site") == "same-origin"
