"""What every change of a notebook's server stands on: the parts, its lock, its route, its record.

What is changed, and when, is stopping.py's, adoption.py's and lifecycle.py's.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

from gateway.activation.facts import Facts
from gateway.activation.operations import Operations
from gateway.activation.readiness import Answer, ReadinessProbe
from gateway.activation.routing import RouteService
from gateway.namespace import Namespace
from gateway.notebooks.ancestors import sources_of
from gateway.notebooks.catalogue import Catalogue
from gateway.notebooks.identity import Identity
from gateway.notebooks.logs import logger_of
from gateway.notebooks.model import Health, Limits, Notebook, State
from gateway.proxy.interface import Activity, RouteEntry
from gateway.spaces import Spaces
from gateway.spawners.base import Server, Spawner
from routes.errors import RouteFileError


@dataclass(frozen=True, slots=True)
class ServerDefaults:
    """What a server gets where neither notebook nor project says otherwise.

    Attributes:
        image: container image.
        limits: memory in bytes and cores.
        frame_ancestors: origins that may frame notebooks.
        start_timeout: seconds until ready.
        stop_grace: seconds between SIGTERM and SIGKILL.
        autosave: seconds between two saves of an open document; None for Jupyter's own.
    """

    image: str
    limits: Limits
    frame_ancestors: tuple[str, ...]
    start_timeout: float
    stop_grace: float
    autosave: float | None = None


class Timing(NamedTuple):
    """How phases of a start are measured.

    Attributes:
        observe: told the name of a phase and its seconds.
        clock: monotonic seconds.
    """

    observe: Callable[[str, float], None]
    clock: Callable[[], float]


class Groundwork:
    """See the module's docstring. Changes of one notebook happen one after the other.

    Attributes:
        operations: what is done to notebooks is written down there.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        spawner: Spawner,
        spaces: Spaces,
        identity: Identity,
        routes: RouteService,
        probe: ReadinessProbe,
        namespace: Namespace,
        defaults: ServerDefaults,
        timing: Timing,
        operations: Operations,
    ) -> None:
        self._catalogue = catalogue
        self._spawner = spawner
        self._spaces = spaces
        self._identity = identity
        self._routes = routes
        self._probe = probe
        self._namespace = namespace
        self._defaults = defaults
        self._observe = timing.observe
        self._clock = timing.clock
        self.operations = operations
        self._facts = Facts(catalogue)
        # Each is there for as long as somebody holds it or waits for it.
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._activities: dict[str, Activity] = {}
        self._last_generation: dict[str, int] = {}
        # Ids of servers that a start has set going and that were never ready.
        self._made: dict[str, str] = {}

    def lock(self, slug: str) -> asyncio.Lock:
        """Return the lock under which a notebook starts and stops."""
        return self._locks.setdefault(slug, asyncio.Lock())

    def secret(self, slug: str, generation: int) -> str:
        """Return the hop secret of one generation of a notebook."""
        return self._identity.derive("hop", slug, generation)

    def follow(self, slug: str, notebook: Notebook | None) -> None:
        """Keep the route table in step with the catalogue: a new notebook is cold."""
        key = self._namespace.key(slug)
        if notebook is None:
            self._routes.drop_notebook(key)
            self._activities.pop(slug, None)
            self._made.pop(slug, None)
            self._last_generation.pop(slug, None)
            return
        entry = self._routes.entry(key)
        if entry is None or entry.slug != slug or entry.owner != notebook.owner:
            self._routes.put_cold(self._cold(notebook))
            return
        others, ancestors = self._catalogue.others(notebook), self._ancestors(notebook)
        if (entry.others, entry.ancestors) != (others, ancestors):
            self._routes.admit(replace(entry, others=others, ancestors=ancestors))

    def follow_project(self, project: str) -> None:
        """Let a project's staff, as it is now, and nobody of the former, use its notebooks.

        Likewise those sites that may frame them.
        """
        for notebook in self._catalogue.notebooks(project):
            self.follow(notebook.slug, notebook)

    def _ancestors(self, notebook: Notebook) -> str:
        """Return who may show a notebook in a frame, as its header says it."""
        own = self._catalogue.ancestors(notebook.project)
        return sources_of(own, self._defaults.frame_ancestors)

    def mark_waking(self, slug: str, waking: bool) -> RouteEntry:
        """Say in the table whether a start is under way; return the cold entry."""
        entry = replace(self._cold(self._catalogue.notebook(slug)), waking=waking)
        self._routes.put_cold(entry)
        return entry

    async def enable_proxying(self, slug: str, server: Server) -> RouteEntry:
        """Make the route hot: table first, then (where httpd serves directly) the file.

        The server has just answered to a probe.
        """
        await self._record_running(slug, server)
        self._made.pop(slug, None)
        entry = replace(
            self._cold(self._catalogue.notebook(slug)),
            target=server.target,
            secret=self.secret(slug, server.generation),
            generation=server.generation,
            engine_id=self._spawner.engine_id,
            direct=server.ours,
        )
        await self._routes.put_notebook(entry)
        return entry

    async def disable_proxying(self, slug: str) -> None:
        """Make the route cold; when this returns, neither we nor httpd use the target."""
        cold = self._cold(self._catalogue.notebook(slug))
        now = self._routes.entry(cold.key)
        # A start that waits for its turn meanwhile goes on to be told of.
        await self._routes.cool_notebook(replace(cold, waking=now is not None and now.waking))

    async def _record_running(self, slug: str, server: Server) -> None:
        before = self._catalogue.notebook(slug)
        known = before.started if before.container_id == server.id else None
        await self._note(
            slug,
            state=State.RUNNING,
            container_id=server.id,
            port=server.port,
            internal_url=server.internal_url,
            engine_id=self._spawner.engine_id,
            engine_status=server.status or str(server.state),
            health=Health.HEALTHY,
            health_reason=None,
            started=server.started or known or datetime.now(UTC),
        )

    async def _record_stopped(
        self, slug: str, state: State, *, kept: Server | None = None, reason: str | None = None
    ) -> None:
        """Record that the route is cold.

        Args:
            slug: the notebook.
            state: COLD, or FAILED after a start that failed.
            kept: what waits on the engine to be started or resumed again; None for nothing.
            reason: why it ended by itself; None if it did not.
        """
        await self._note(
            slug,
            state=state,
            container_id=None if kept is None else kept.id,
            port=None,
            internal_url=None,
            engine_status=None if kept is None else kept.status or str(kept.state),
            health=None,
            health_reason=reason,
            started=None,
        )

    async def record_starting(self, slug: str) -> None:
        """Record that a start has begun."""
        await self._note(slug, state=State.STARTING)

    async def ask(self, entry: RouteEntry) -> Answer | None:
        """Probe the server behind a hot entry; None where the entry is not in force any more.

        Then nothing is sent: what is at its address now may be somebody else's.
        """
        assert entry.target is not None
        assert entry.slug is not None
        if not self._stands(entry):
            return None
        base_url = self._namespace.base_url(entry.slug)
        answer = await self._probe.ask(entry.target, base_url, entry.secret or "")
        return answer if self._stands(entry) else None

    async def record_health(self, entry: RouteEntry, health: Health, reason: str | None) -> None:
        """Record what the server behind a hot entry answers; nothing happens where it is gone."""
        slug = entry.slug
        if slug is None or self._has_health(slug, health):
            return
        async with self.lock(slug):
            if self._stands(entry):
                await self._note_health(slug, health, reason)

    async def _note_health(self, slug: str, health: Health, reason: str | None) -> None:
        """Note it under the lock, where it is news."""
        if self._has_health(slug, health):
            return
        await self._note(slug, health=health, health_reason=reason)
        if health is Health.UNHEALTHY:
            logger_of(slug).warning("unhealthy reason=%s", reason)
        else:
            logger_of(slug).info("healthy again")

    def _stands(self, entry: RouteEntry) -> bool:
        """Whether the entry's server is still the one behind its route."""
        now = self._routes.entry(entry.key)
        return now is not None and (now.target, now.generation) == (entry.target, entry.generation)

    def _has_health(self, slug: str, health: Health) -> bool:
        notebook = self._catalogue.find(slug)
        return notebook is None or notebook.health is health

    async def settle_records(self) -> None:
        """Write what is owed to the database and to httpd, as far as it can be written again."""
        await self._facts.settle()
        await self.operations.flush()
        with contextlib.suppress(RouteFileError, OSError):  # said when it failed first
            await self._routes.publish_missed()

    async def _note(self, slug: str, **facts: Any) -> None:
        """Put facts into the record; a database that fails is no hindrance."""
        await self._facts.note(slug, **facts)

    def _cold(self, notebook: Notebook) -> RouteEntry:
        return RouteEntry(
            key=self._namespace.key(notebook.slug),
            slug=notebook.slug,
            owner=notebook.owner,
            project=notebook.project,
            generation=notebook.generation,
            engine_id=self._spawner.engine_id,
            activity=self._activities.setdefault(notebook.slug, Activity()),
            others=self._catalogue.others(notebook),
            ancestors=self._ancestors(notebook),
        )
