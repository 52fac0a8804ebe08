"""The life of one notebook on the engine: create, wait, proxy, stop, sync, delete, adopt.

It offers, asynchronous, the names that users of earlier systems know: `create_container`,
`sleep_until_container_has_started`, `enable_proxying`, `disable_proxying`, `stop_container`,
`sync_container`. How it ends is stopping.py's, what is found on the engine adoption.py's; who may
start, and how many at once, is activator.py's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from functools import partial
from typing import Any

from gateway.activation.adoption import is_kept
from gateway.activation.groundwork import ServerDefaults, Timing
from gateway.activation.readiness import NotReady
from gateway.activation.resuming import Resuming
from gateway.errors import EngineError, ImageMissing, StartFailed
from gateway.notebooks.configuration import configuration_of, first_limits
from gateway.notebooks.database import DatabaseError
from gateway.notebooks.logs import logger_of
from gateway.notebooks.model import Notebook, Project
from gateway.spaces import Source
from gateway.spawners.base import OnPull, Server, ServerSpec, ServerState, untold

__all__ = ["Lifecycle", "ServerDefaults", "Timing"]

Long = Callable[[OnPull], Coroutine[Any, Any, None]]
"""What a start needs and may take long: the pull of an image, the files of a repository."""

Aside = Callable[[Long], Awaitable[None]]
"""Has it done; meanwhile others may start."""

_LOG_TAIL = 40
_GENERATION_SECONDS = 5.0


async def _in_place(work: Long) -> None:
    await work(untold)


class Lifecycle(Resuming):
    """See the module's docstring. Changes of one notebook happen one after the other."""

    async def create_container(self, slug: str, aside: Aside = _in_place) -> Server:
        """Make the notebook's server run, or join the one that does.

        One that is paused goes on. One that was stopped and kept is started again, with its
        generation and so its secret, as long as nothing that it was made with has changed; all
        else that has ended makes room for a new one, of a new generation.

        Args:
            slug: the notebook.
            aside: has done what may take long.

        Raises:
            NotFound, EngineError: see Spawner.start; GatewayError of its space.
        """
        notebook = self._catalogue.notebook(slug)
        found = await self._spawner.inspect(slug)
        if found is not None and found.state is ServerState.RUNNING and found.target:
            return found
        began = self._clock()
        project = self._catalogue.project(notebook.project)
        source = Source.parse(project.source)
        if source is not None and await self._spaces.has_to_fetch(slug, source):
            await aside(lambda _: self._spaces.fetch(source))
        space = await self._spaces.ensure(slug, source)
        spec = self._spec(notebook, project, 0 if found is None else found.generation, space)
        if found is None or not await self._goes_on(notebook, found, spec):
            spec = self._of_generation(spec, await self._next_generation(notebook, found))
        self._observe("space", self._clock() - began)
        server = await self._started(spec, aside)
        resumed = found is not None and found.state is ServerState.PAUSED
        if server.generation == spec.generation and not resumed:
            self._made[slug] = server.id
        return server

    async def _started(self, spec: ServerSpec, aside: Aside) -> Server:
        try:
            return await self._spawner.start(spec, None)
        except ImageMissing:
            await aside(partial(self._spawner.pull, spec.image))
            return await self._spawner.start(spec, None)

    async def sleep_until_container_has_started(self, slug: str, server: Server) -> None:
        """Return when the notebook answers with its own secret.

        Raises:
            StartFailed: it ended or is not ready in time; carries the end of its log.
        """

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
            if server.target is None:  # it had ended before its address could be read
                raise NotReady(await why_dead() or "its server has no address")
            await self._probe.wait(
                server.target,
                self._namespace.base_url(slug),
                self.secret(slug, server.generation),
                self._defaults.start_timeout,
                why_dead,
            )
        except NotReady as error:
            raise StartFailed(slug, str(error), await self._tail_of(server)) from error
        self._observe("ready", self._clock() - began)

    async def is_joined_and_over(self, server: Server) -> bool:
        """Whether a start has joined what is over now: another gateway was stopping it perhaps.

        Raises:
            EngineError.
        """
        if self._made.get(server.slug) == server.id:
            return False
        now = await self._spawner.inspect(server.slug)
        return now is None or now.id != server.id or now.state is not ServerState.RUNNING

    async def _tail_of(self, server: Server) -> str:
        """Return the end of the log of one that did not become ready; "" if it cannot be read."""
        try:
            return await self._spawner.logs(server, _LOG_TAIL)
        except EngineError as error:
            logger_of(server.slug).warning("its log cannot be read reason=%s", error)
            return ""

    async def logs(self, slug: str, lines: int) -> str:
        """Return the end of the server's output; "" when nothing runs."""
        self._catalogue.notebook(slug)
        server = await self._spawner.inspect(slug)
        return "" if server is None else await self._spawner.logs(server, lines)

    async def _goes_on(self, notebook: Notebook, found: Server, spec: ServerSpec) -> bool:
        """Whether `found` will run again as it is, rather than make room for a new one."""
        if found.state is ServerState.PAUSED:
            return True
        # Only what a stop kept: one that ended by itself may have spoilt its container.
        return is_kept(notebook, found) and await self._spawner.fits(found, spec)

    async def _next_generation(self, notebook: Notebook, found: Server | None) -> int:
        """Return a generation that no server of the notebook had, whatever the database does."""
        slug = notebook.slug
        last = max(self._last_generation.get(slug, 0), 0 if found is None else found.generation)
        generation = 0
        try:
            async with asyncio.timeout(_GENERATION_SECONDS):
                while generation <= last:
                    generation = await self._catalogue.next_generation(slug)
        except (DatabaseError, TimeoutError) as error:
            generation = max(last, notebook.generation) + 1
            logger_of(slug).error("generation=%d is not written down reason=%s", generation, error)
        self._last_generation[slug] = generation
        return generation

    def _of_generation(self, spec: ServerSpec, generation: int) -> ServerSpec:
        token = self.secret(spec.slug, generation)
        return replace(spec, generation=generation, token=token)

    def _spec(
        self, notebook: Notebook, project: Project, generation: int, space: Any
    ) -> ServerSpec:
        wanted = configuration_of(notebook, project)
        limits = first_limits(wanted.limits, self._defaults.limits)
        autosave = project.lifetimes.autosave
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
            frame_ancestors=(
                self._defaults.frame_ancestors
                if project.frame_ancestors is None
                else project.frame_ancestors
            ),
            autosave=self._defaults.autosave if autosave is None else autosave,
        )
