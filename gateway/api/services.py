"""What the management API needs from the rest of the gateway, as protocols and one value.

`app.py` builds a `Services` and hands it over; nothing here knows how the services are made.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from aiohttp import web

from gateway.activation.operations import Operation, Operations
from gateway.errors import StartFailed
from gateway.launch.links import LinkService
from gateway.launch.ways import Ways
from gateway.notebooks.catalogue import Catalogue
from gateway.proxy.interface import RouteEntry
from gateway.spaces import Spaces


class RouteRecord(Protocol):
    """One route as operators see it."""

    @property
    def key(self) -> str:
        """In canonical form."""
        ...

    @property
    def target(self) -> str | None:
        """Where it leads; None means cold."""
        ...

    @property
    def slug(self) -> str | None:
        """The notebook behind it; None for a route that an operator set."""
        ...

    @property
    def hot(self) -> bool:
        """Whether it has a live target."""
        ...

    @property
    def owner(self) -> str | None:
        """Who may use the notebook; None for a plain route."""
        ...

    @property
    def project(self) -> str | None:
        """The notebook's project; None for a plain route."""
        ...

    @property
    def engine_id(self) -> str:
        """The engine that the target is on."""
        ...


class StartStatus(Protocol):
    """How far the start of a notebook is."""

    @property
    def phase(self) -> str:
        """`cold`, `queued`, `creating`, `starting`, `ready` or `failed`."""
        ...

    @property
    def position(self) -> int:
        """Place in the queue, from 1; 0 when it does not wait."""
        ...


class Lifecycle(Protocol):
    """Stops, syncs and removes the servers of notebooks."""

    async def stop_container(self, slug: str, *, reason: str = "") -> bool:
        """Stop the server. Raises NotFound, NotebookLocked, EngineError."""
        ...

    def begin_stop(self, slug: str, *, reason: str = "") -> Operation:
        """Begin to stop the server. Raises NotFound, NotebookLocked."""
        ...

    def begin_delete(self, slug: str, *, purge_space: bool = False) -> Operation:
        """Begin to stop the server and forget the notebook. Raises NotFound, NotebookLocked."""
        ...

    async def sync_container(self, slug: str) -> str:
        """Bring the record in line with the engine; return one line of what was found."""
        ...

    async def logs(self, slug: str, lines: int) -> str:
        """Return the last `lines` lines of the server's output; "" when nothing runs."""
        ...


class Activator(Protocol):
    """Takes notebooks from cold to hot, single flight."""

    async def ensure(self, slug: str) -> RouteEntry:
        """Return the hot route, after a start if it was cold. Raises StartFailed."""
        ...

    def begin(self, slug: str, *, by: str | None = None) -> asyncio.Future[RouteEntry]:
        """Begin a start without waiting for it; the activator owns it."""
        ...

    def withdraw(self, slug: str) -> bool:
        """Take a start that waits for its turn out of the queue; return whether it was there."""
        ...

    def forgive(self, slug: str) -> None:
        """Forget a failure, so that the next start tries at once."""
        ...

    def failure(self, slug: str) -> StartFailed | None:
        """Return why the last start failed; None when it did not."""
        ...

    def status(self, slug: str) -> StartStatus:
        """Return how far the start is."""
        ...


class RouteService(Protocol):
    """The routes: the operators' own, and those derived from notebooks."""

    def list(self) -> Sequence[RouteRecord]:
        """Return all routes, sorted by key."""
        ...

    def get(self, key: str) -> RouteRecord:
        """Return one route. Raises NotFound, InvalidKey."""
        ...

    async def set(self, key: str, target: str) -> RouteRecord:
        """Store and publish an operator's route. Raises InvalidKey, InvalidTarget, Conflict."""
        ...

    async def delete(self, key: str) -> None:
        """Remove an operator's route and publish. Raises NotFound, InvalidKey, Conflict."""
        ...

    def check(self) -> Sequence[str]:
        """Return what is wrong with the route file, one line each; empty when nothing is."""
        ...

    async def rebuild(self) -> str:
        """Write a fresh route file; return one line of what was done."""
        ...

    async def reload(self) -> int:
        """Read the route file again; return the number of routes."""
        ...

    async def settled(self) -> None:
        """Return when the data path has the changes so far in force."""
        ...

    async def flush(self) -> None:
        """Return when all changes so far are in the files. Raises Conflict, RouteFileError."""
        ...


@dataclass(frozen=True, slots=True)
class Facts:
    """What the API tells about the installation.

    Attributes:
        version: of nbgate.
        installation: the installation id.
        spawner: `process` or `docker`.
        mode: returns `dev` or `prod`, or `unknown` while the engine has told nothing.
        hosts: further names that clients may use for the management listener; IP addresses,
            loopback names and names without a dot are always allowed.
    """

    version: str
    installation: str
    spawner: str
    mode: Callable[[], str]
    hosts: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Services:
    """All that the handlers use.

    Attributes:
        token: the management API's token; compared in constant time.
        ways: what stands behind the links of an LMS.
        render_metrics: returns the text of `/gateway/metrics`.
    """

    facts: Facts
    token: str
    catalogue: Catalogue
    lifecycle: Lifecycle
    operations: Operations
    activator: Activator
    routes: RouteService
    spaces: Spaces
    links: LinkService
    ways: Ways
    render_metrics: Callable[[], bytes]


SERVICES = web.AppKey("services", Services)


def services_of(request: web.Request) -> Services:
    """Return the services of the application that handles `request`."""
    return request.config_dict[SERVICES]
