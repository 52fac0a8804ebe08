"""Links into notebooks: a one-time login link, or (development only) the server's own URL.

A link never holds a lasting secret, except the direct one, which says so by where it works: on
localhost. Setting the session is the login page's; making slugs and spaces is the catalogue's
and the spaces'.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol
from urllib.parse import quote, urlencode, urlsplit

from gateway.errors import Conflict, InvalidInput, NotFound
from gateway.launch.tickets import Tickets
from gateway.notebooks.catalogue import Catalogue
from gateway.notebooks.model import Notebook
from gateway.proxy.interface import RouteEntry
from gateway.spaces import Source, Spaces

LOGIN = "login"

_LONGEST_FILE = 1024


@dataclass(frozen=True, slots=True)
class Link:
    """A way in for a person.

    Attributes:
        url: what to open.
        expires: UTC, when it stops working; None for a direct link, which lives as long as
            its server.
    """

    url: str
    expires: datetime | None


class Places(Protocol):
    """Where notebooks are found; `gateway.namespace.Namespace` is one."""

    def url(self, slug: str) -> str:
        """Return the notebook's URL: absolute in host routing, else a path; ends with `/`."""
        ...

    def base_url(self, slug: str) -> str:
        """Return the prefix under which its Jupyter serves; ends with `/`."""
        ...


@dataclass(frozen=True, slots=True)
class LinkPolicy:
    """What links are made of.

    Attributes:
        origin: `scheme://host[:port]` of the gateway's own pages.
        lifetime: seconds a login link can be used.
    """

    origin: str
    lifetime: float


class LinkService:
    """Makes links.

    Args:
        policy: origin and lifetime.
        places: where notebooks are found.
        ensure: makes a notebook hot and returns its route; raises StartFailed.
        detect_mode: returns `dev` where servers have localhost ports; raises EngineError while
            that cannot be known.
    """

    def __init__(
        self,
        policy: LinkPolicy,
        places: Places,
        catalogue: Catalogue,
        spaces: Spaces,
        tickets: Tickets,
        ensure: Callable[[str], Awaitable[RouteEntry]],
        detect_mode: Callable[[], Awaitable[str]],
    ) -> None:
        self._policy = policy
        self._places = places
        self._catalogue = catalogue
        self._spaces = spaces
        self._tickets = tickets
        self._ensure = ensure
        self._detect_mode = detect_mode

    async def login(self, notebook: Notebook, file: str | None = None) -> Link:
        """Return a link that logs the notebook's owner in, once, and ends on the notebook.

        Args:
            notebook: its space is made if it is new.
            file: relative to the space; None for the notebook's front page.

        Raises:
            InvalidInput: `file` is not a relative path.
            NotFound: `file` is not in the space.
        """
        await self._check_file(notebook, file)
        next_path = self._places.url(notebook.slug) + document_path(file)
        lifetime = self._policy.lifetime
        ticket = await self._tickets.issue(
            purpose=LOGIN,
            subject=notebook.owner,
            host=host_of(self._policy.origin),
            next_path=next_path,
            lifetime=lifetime,
        )
        url = f"{self._policy.origin}/gateway/login?{urlencode({'ticket': ticket})}"
        return Link(url, datetime.now(UTC) + timedelta(seconds=lifetime))

    async def direct(self, notebook: Notebook, file: str | None = None) -> Link:
        """Return the server's own localhost URL, with its token; the server is started.

        Raises:
            Conflict: this gateway is in prod mode.
            EngineError: the engine, which tells the mode, cannot be asked.
            InvalidInput, NotFound: see `login`.
            StartFailed: the notebook does not start.
        """
        if await self._detect_mode() != "dev":
            raise Conflict(
                "direct links work in dev mode only: in prod mode notebooks have no localhost "
                "port; leave --direct out"
            )
        await self._check_file(notebook, file)
        entry = await self._ensure(notebook.slug)
        path = self._places.base_url(notebook.slug) + document_path(file)
        return Link(f"http://{entry.target}{path}?{urlencode({'token': entry.secret})}", None)

    async def _check_file(self, notebook: Notebook, file: str | None) -> None:
        if file is not None:
            check_file(file)
        source = self._catalogue.project(notebook.project).source
        await self._spaces.ensure(notebook.slug, Source.parse(source))
        if file is not None and not await self._spaces.has_file(notebook.slug, file):
            raise NotFound(f"file in the space of notebook {notebook.slug!r} called", file)


def host_of(origin: str) -> str:
    """Return the Host header that browsers send to `origin`: without the scheme's own port."""
    parts = urlsplit(origin)
    default = ":443" if parts.scheme == "https" else ":80"
    return parts.netloc.lower().removesuffix(default)


def check_file(file: str) -> str:
    """Return `file` if it is a path inside a space.

    Raises:
        InvalidInput: it is empty, absolute, too long, climbs out, or cannot be a file's name.
    """
    shown = repr(file[:80])
    if not file or len(file) > _LONGEST_FILE:
        raise InvalidInput(f"file {shown}: give a path of 1 to {_LONGEST_FILE} characters")
    if any(unicodedata.category(char) in ("Cc", "Cs") for char in file):
        raise InvalidInput(f"file {shown}: control characters cannot be in a file's path")
    if file.startswith("/"):
        raise InvalidInput(f"file {shown}: give it relative to the course's folder")
    if any(part in ("", ".", "..") for part in file.split("/")):
        raise InvalidInput(f"file {shown}: must not have empty, `.` or `..` parts")
    return file


def document_path(file: str | None) -> str:
    """Return where JupyterLab shows `file`, below its base URL; `lab` without one."""
    if file is None:
        return "lab"
    return "lab/tree/" + "/".join(quote(part, safe="") for part in file.split("/"))
