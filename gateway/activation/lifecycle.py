"""The life of one notebook on the engine: create, wait, proxy, stop, sync, delete, adopt.

It offers, asynchronous, the names that users of earlier systems know: `create_container`,
`sleep_until_container_has_started`, `enable_proxying`, `disable_proxying`, `stop_container`,
`sync_container`. Who may start, and how many at once, is activator.py's.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from gateway.access import Namespace
from gateway.activation.readiness import Answer, NotReady, ReadinessProbe
from gateway.activation.routing import RouteService
from gateway.errors import GatewayError, StartFailed
from gateway.notebooks.catalogue import Catalogue
from gateway.notebooks.configuration import configuration_of, first_limits
from gateway.notebooks.identity import Identity
from gateway.notebooks.logs import logger_of
from gateway.notebooks.model import Limits, Notebook, Project, State
from gateway.proxy.interface import Activity, RouteEntry
from gateway.spaces import Source, Spaces
from gateway.spawners.base import Server, ServerSpec, ServerState, Spawner
from routes.errors import RouteFileError

logger = logging.getLogger(__name__)

_LOG_TAIL = 40
_ADOPTION_DEADLINE = 5.0


@dataclass(frozen=True, slots=True)
class ServerDefaults:
    """What a server gets where neither notebook nor project says otherwise.

    Attributes:
        image: container image.
        limits: memory in bytes and cores.
        frame_ancestors: origins that may frame notebooks.
        start_timeout: seconds until ready.
        stop_grace: seconds between SIGTERM and SIGKILL.
    """

    image: str
    limits: Limits
    frame_ancestors: tuple[str, ...]
    start_timeout: float
    stop_grace: float


class Lifecycle:
    """See the module's docstring. Changes of one notebook happen one after the other."""

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
        observe: Callable[[str, float], None],
        clock: Callable[[], float],
    ) -> None:
        self._catalogue = catalogue
        self._spawner = spawner
        self._spaces = spaces
        self._identity = identity
        self._routes = routes
        self._probe = probe
        self._namespace = namespace
        self._defaults = defaults
        self._observe = observe
        self._clock = clock
        self._locks: dict[str, asyncio.Lock] = {}
        self._activities: dict[str, Activity] = {}

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
            return
        entry = self._routes.entry(key)
        if entry is None or entry.slug != slug or entry.owner != notebook.owner:
            self._routes.put_cold(self._cold(notebook))

    def mark_waking(self, slug: str, waking: bool) -> RouteEntry:
        """Say in the table whether a start is under way; return the cold entry."""
        entry = replace(self._cold(self._catalogue.notebook(slug)), waking=waking)
        self._routes.put_cold(entry)
        return entry

    async def create_container(self, slug: str) -> Server:
        """Make the notebook's server run, or join the one that does.

        Raises:
            NotFound, EngineError: see Spawner.start; GatewayError of its space.
        """
        notebook = self._catalogue.notebook(slug)
        running = await self._spawner.inspect(slug)
        if running is not None and running.state is ServerState.RUNNING and running.target:
            return running
        began = self._clock()
        project = self._catalogue.project(notebook.project)
        space = await self._spaces.ensure(slug, Source.parse(project.source))
        generation = await self._catalogue.next_generation(slug)
        spec = self._spec(notebook, project, generation, space)
        self._observe("space", self._clock() - began)
        return await self._spawner.start(spec)

    async def sleep_until_container_has_started(self, slug: str, server: Server) -> None:
        """Return when the notebook answers with its own secret.

        Raises:
            StartFailed: it ended or is not ready in time; carries the end of its log.
        """
        assert server.target is not None

        async def why_dead() -> str | None:
            now = await self._spawner.inspect(slug)
            if now is None or now.id != server.id:
                return "its container was removed while it started"
            if now.state is ServerState.RUNNING:
                return None
            code = "" if now.exit_code is None else f" with exit code {now.exit_code}"
            return now.reason or f"it ended{code} while it started"

        began = self._clock()
        try:
            await self._probe.wait(
                server.target,
                self._namespace.base_url(slug),
                self.secret(slug, server.generation),
                self._defaults.start_timeout,
                why_dead,
            )
        except NotReady as error:
            tail = await self._spawner.logs(server, _LOG_TAIL)
            raise StartFailed(slug, str(error), tail) from error
        self._observe("ready", self._clock() - began)

    async def enable_proxying(self, slug: str, server: Server) -> RouteEntry:
        """Make the route hot: table first, then (where httpd serves directly) the file."""
        notebook = await self._catalogue.update_notebook(
            slug,
            state=State.RUNNING,
            container_id=server.id,
            port=server.port,
            internal_url=server.internal_url,
            engine_id=self._spawner.engine_id,
        )
        entry = replace(
            self._cold(notebook),
            target=server.target,
            secret=self.secret(slug, server.generation),
            generation=server.generation,
            engine_id=self._spawner.engine_id,
        )
        await self._routes.put_notebook(entry)
        return entry

    async def disable_proxying(self, slug: str) -> None:
        """Make the route cold; when this returns, neither we nor httpd use the target."""
        await self._routes.cool_notebook(self._cold(self._catalogue.notebook(slug)))

    async def stop_container(self, slug: str) -> None:
        """Unpublish, then stop and remove the container. A stopped notebook stays stopped.

        Raises:
            NotFound, NotebookLocked, EngineError.
        """
        self._catalogue.check_unlocked(slug)
        async with self.lock(slug):
            self._catalogue.check_unlocked(slug)
            await self._stop(slug)

    async def sync_container(self, slug: str) -> str:
        """Bring the record in line with the engine; return one line about what was found."""
        notebook = self._catalogue.notebook(slug)
        async with self.lock(slug):
            server = await self._spawner.inspect(slug)
            if server is None or server.state is not ServerState.RUNNING:
                was = notebook.state
                await self._went_cold(slug)
                return f"{slug}: nothing runs (the record said {was}); it is cold"
            if await self._is_ours(server):
                await self.enable_proxying(slug, server)
                return f"{slug}: runs as {server.id[:12]} at {server.target}"
            return f"{slug}: runs as {server.id[:12]} but does not answer; stop and start it"

    async def delete(self, slug: str, *, purge_space: bool = False) -> None:
        """Stop the notebook and forget it; its space is kept unless `purge_space`."""
        self._catalogue.check_unlocked(slug)
        async with self.lock(slug):
            self._catalogue.check_unlocked(slug)
            await self._stop(slug)
            if purge_space:
                await self._spaces.remove(slug)
            await self._catalogue.remove_notebook(slug)

    async def discard(self, slug: str, server: Server | None) -> None:
        """Remove what a failed start left, and record the failure; raises nothing of ours.

        Args:
            slug: the notebook.
            server: what the start made; None when it made none, then only an ended one goes.
        """
        try:
            await self._routes.unpublish(self._namespace.key(slug))
            remnant = server or await self._spawner.inspect(slug)
            if remnant is not None and (server or remnant.state is not ServerState.RUNNING):
                await self._spawner.stop(remnant, 0.0)
            if self._catalogue.find(slug) is not None:
                await self._record(slug, State.FAILED)
        except (GatewayError, RouteFileError) as error:
            logger_of(slug).warning("remnant of the failed start stays reason=%s", error)

    async def logs(self, slug: str, lines: int) -> str:
        """Return the end of the server's output; "" when nothing runs."""
        self._catalogue.notebook(slug)
        server = await self._spawner.inspect(slug)
        return "" if server is None else await self._spawner.logs(server, lines)

    async def adopt(self) -> int:
        """Take over what runs on the engine; return how many notebooks are hot.

        Containers without a notebook are reported and left alone, starts and stops that are
        under way are waited for.
        """
        servers = {server.slug: server for server in await self._spawner.list()}
        for slug in servers.keys() - {book.slug for book in self._catalogue.notebooks()}:
            logger.warning("container without a notebook name=%s", slug)
        slugs = [book.slug for book in self._catalogue.notebooks()]
        found = await asyncio.gather(*(self._adopt(slug, servers.get(slug)) for slug in slugs))
        return sum(found)

    async def _adopt(self, slug: str, server: Server | None) -> bool:
        async with self.lock(slug):
            notebook = self._catalogue.find(slug)
            entry = self._routes.entry(self._namespace.key(slug))
            if notebook is None or (entry is not None and entry.target is not None):
                return notebook is not None  # deleted or started since the engine was asked
            return await self._adopt_one(notebook, server)

    async def _adopt_one(self, notebook: Notebook, server: Server | None) -> bool:
        running = server is not None and server.state is ServerState.RUNNING
        if running and server is not None and await self._is_ours(server):
            await self.enable_proxying(notebook.slug, server)
            logger_of(notebook.slug).info("adopted container=%s", server.id[:12])
            return True
        if notebook.state not in (State.COLD, State.FAILED):
            await self._record(notebook.slug, State.COLD)
        return False

    async def _is_ours(self, server: Server) -> bool:
        if server.target is None:
            return False
        secret = self.secret(server.slug, server.generation)
        base_url = self._namespace.base_url(server.slug)
        async with asyncio.timeout(_ADOPTION_DEADLINE * 2):
            return await self._probe.ask(server.target, base_url, secret) is Answer.READY

    async def _stop(self, slug: str) -> None:
        await self.disable_proxying(slug)
        server = await self._spawner.inspect(slug)
        if server is not None:
            await self._catalogue.update_notebook(slug, state=State.STOPPING)
            await self._spawner.stop(server, self._defaults.stop_grace)
            logger_of(slug).info("stopped container=%s", server.id[:12])
        await self._went_cold(slug)

    async def _went_cold(self, slug: str) -> None:
        await self.disable_proxying(slug)
        await self._record(slug, State.COLD)

    async def _record(self, slug: str, state: State) -> None:
        await self._catalogue.update_notebook(
            slug, state=state, container_id=None, port=None, internal_url=None
        )

    def _cold(self, notebook: Notebook) -> RouteEntry:
        return RouteEntry(
            key=self._namespace.key(notebook.slug),
            slug=notebook.slug,
            owner=notebook.owner,
            project=notebook.project,
            generation=notebook.generation,
            engine_id=self._spawner.engine_id,
            activity=self._activities.setdefault(notebook.slug, Activity()),
        )

    def _spec(
        self, notebook: Notebook, project: Project, generation: int, space: Any
    ) -> ServerSpec:
        wanted = configuration_of(notebook, project)
        limits = first_limits(wanted.limits, self._defaults.limits)
        return ServerSpec(
            slug=notebook.slug,
            generation=generation,
            image=wanted.image or self._defaults.image,
            base_url=self._namespace.base_url(notebook.slug),
            token=self.secret(notebook.slug, generation),
            user_name=notebook.owner,
            space=space,
            memory=limits.memory,
            cpus=limits.cpus,
            environment=wanted.environment,
            labels=wanted.labels,
            frame_ancestors=self._defaults.frame_ancestors,
        )
