"""The engine is the truth: take over what runs, and bring one record in line with the engine."""

from __future__ import annotations

import asyncio
import logging

from gateway.activation.groundwork import Groundwork
from gateway.activation.readiness import Answer
from gateway.notebooks.logs import logger_of
from gateway.notebooks.model import Notebook, State
from gateway.spawners.base import Server, ServerState

logger = logging.getLogger(__name__)

_ADOPTION_DEADLINE = 5.0


class Adoption(Groundwork):
    """Follows the engine; starts and stops nothing."""

    async def sync_container(self, slug: str) -> str:
        """Bring the record in line with the engine; return one line about what was found."""
        notebook = self._catalogue.notebook(slug)
        async with self.lock(slug):
            server = await self._spawner.inspect(slug)
            if server is None or server.state is not ServerState.RUNNING:
                was = notebook.state
                await self.disable_proxying(slug)
                await self._record_stopped(slug, State.COLD)
                return f"{slug}: nothing runs (the record said {was}); it is cold"
            if await self._is_ours(server):
                await self.enable_proxying(slug, server)
                return f"{slug}: runs as {server.id[:12]} at {server.target}"
            return f"{slug}: runs as {server.id[:12]} but does not answer; stop and start it"

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
            await self._record_stopped(notebook.slug, State.COLD)
        return False

    async def _is_ours(self, server: Server) -> bool:
        if server.target is None:
            return False
        secret = self.secret(server.slug, server.generation)
        base_url = self._namespace.base_url(server.slug)
        async with asyncio.timeout(_ADOPTION_DEADLINE * 2):
            return await self._probe.ask(server.target, base_url, secret) is Answer.READY
