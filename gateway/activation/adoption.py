"""The engine is the truth: take over what runs, and bring one notebook in line with the engine.

When to look is reconciler.py's.
"""

from __future__ import annotations

import asyncio
import enum
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from gateway.activation.groundwork import Groundwork
from gateway.activation.readiness import Answer
from gateway.errors import EngineUnavailable
from gateway.notebooks.logs import logger_of
from gateway.notebooks.model import Health, Notebook, State
from gateway.proxy.interface import RouteEntry
from gateway.spawners.base import Server, ServerState

logger = logging.getLogger(__name__)

_PROBE_SECONDS = 10.0
_TURN_SECONDS = 5.0
_UNDER_WAY = (State.STARTING, State.STOPPING)
# Of SIGTERM, by an operator or another gateway, whose record is read a moment later; Jupyter's own
# end by it, or when somebody shuts it down, is 0.
_TOLD_TO_END = (0, 143)


class Found(enum.StrEnum):
    """What a look at the engine came to."""

    SAME = "same"
    """Route and record were right."""
    ADOPTED = "adopted"
    """It runs, answers, and is hot now."""
    STARTING = "starting"
    """It was set going a moment ago, and does not answer yet."""
    UNANSWERING = "unanswering"
    """It runs and does not answer."""
    PAUSED = "paused"
    ENDED = "ended"
    GONE = "gone"
    """The route or the record told of a server that is not there."""
    UNKNOWN = "unknown"
    """There is no such notebook."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found, and on what.

    Attributes:
        found: see Found.
        server: what the engine has under the notebook's name; None for nothing.
        was: what the record said before; None where there is no record.
    """

    found: Found
    server: Server | None = None
    was: State | None = None


class Adoption(Groundwork):
    """Follows the engine; starts and stops nothing."""

    async def sync_container(self, slug: str) -> str:
        """Bring the record in line with the engine; return one line about what was found.

        Who starts or stops it for longer than some seconds brings it in line itself: then the
        line is all that is done.

        Raises:
            NotFound, EngineError.
        """
        self._catalogue.notebook(slug)
        lock = self.lock(slug)
        try:
            async with asyncio.timeout(_TURN_SECONDS):
                await lock.acquire()
        except TimeoutError:
            return f"{slug}: {_told_under_way(await self._spawner.inspect(slug))}"
        try:
            finding = await self._settle(slug, anew=True, ask=True)
        finally:
            lock.release()
        return f"{slug}: {_told(finding, self._catalogue.find(slug))}"

    async def adopt(self) -> int:
        """Take over what runs on the engine; return how many notebooks are hot.

        Containers without a notebook are reported and left alone; so is a notebook that is being
        started or stopped, which may take long, or whose stop is carried on: that ends with a
        look of its own.

        Raises:
            EngineError: what runs cannot be listed.
            EngineUnavailable: after all were looked at; other errors are those of one notebook.
        """
        servers = {server.slug: server for server in await self._spawner.list()}
        for slug in servers.keys() - {book.slug for book in self._catalogue.notebooks()}:
            logger.warning("container without a notebook name=%s", slug)
        slugs = [
            slug
            for slug in self.out_of_line(servers, anew=True)
            if not self.lock(slug).locked() and not self.operations.is_ending(slug)
        ]
        settled = (self.settle(slug, anew=True) for slug in slugs)
        found = await asyncio.gather(*settled, return_exceptions=True)
        for slug, one in zip(slugs, found, strict=True):
            if isinstance(one, EngineUnavailable):
                raise one
            if isinstance(one, BaseException):
                # A full disk, a container that the engine cannot tell of. It is found again later.
                logger_of(slug).error("not taken over", exc_info=one)
        return sum(self._is_hot(book.slug) for book in self._catalogue.notebooks())

    def out_of_line(self, servers: Mapping[str, Server], *, anew: bool = False) -> list[str]:
        """Return the notebooks whose route or record differs from what the engine lists.

        Args:
            servers: by slug.
            anew: whether a record of a start or stop that is under way counts as stale.
        """
        return [
            book.slug
            for book in self._catalogue.notebooks()
            if not is_in_line(book, self._entry(book.slug), servers.get(book.slug), anew=anew)
        ]

    async def settle(self, slug: str, *, anew: bool = False, ask: bool = False) -> Finding:
        """Bring a notebook's route and record in line with the engine, under its lock.

        The engine is asked what is there now, so that old news does no harm.

        Args:
            slug: the notebook.
            anew: no other gateway starts or stops it: a record that says so is stale.
            ask: probe the server also where all is in line.

        Raises:
            EngineError.
        """
        async with self.lock(slug):
            return await self._settle(slug, anew=anew, ask=ask)

    async def _settle(self, slug: str, *, anew: bool, ask: bool) -> Finding:
        """Do so under the lock."""
        notebook = self._catalogue.find(slug)
        if notebook is None:
            return Finding(Found.UNKNOWN)
        server = await self._spawner.inspect(slug)
        same = is_in_line(notebook, self._entry(slug), server, anew=anew)
        if server is not None and server.state is ServerState.RUNNING:
            found = await self._settle_running(notebook, server, same=same, ask=ask)
        elif same:
            found = Found.SAME
        elif server is not None and server.state is ServerState.PAUSED:
            found = await self._settle_paused(notebook, server)
        else:
            found = await self._settle_ended(notebook, server)
        return Finding(found, server, notebook.state)

    async def _settle_running(
        self, notebook: Notebook, server: Server, *, same: bool, ask: bool
    ) -> Found:
        if same and not ask:
            return Found.SAME
        slug = notebook.slug
        ours = await self._is_ours(server)
        if same:
            # Where it did not answer this once, the health probes decide.
            if ours:
                await self._note_health(slug, Health.HEALTHY, None)
            return Found.SAME if ours else Found.UNANSWERING
        if ours:
            await self.enable_proxying(slug, server)
            logger_of(slug).info("adopted container=%s", server.id[:12])
            return Found.ADOPTED
        if self._is_hot(slug):
            await self.disable_proxying(slug)
        if self._is_young(server):
            return Found.STARTING
        await self._note_unanswering(notebook, server)
        return Found.UNANSWERING

    async def _note_unanswering(self, notebook: Notebook, server: Server) -> None:
        facts = {
            "state": State.FAILED if notebook.state is State.FAILED else State.COLD,
            "container_id": None,
            "engine_status": server.status or str(server.state),
            "health": Health.UNHEALTHY,
            "health_reason": "it runs and does not answer",
            "started": server.started,
        }
        if any(getattr(notebook, name) != value for name, value in facts.items()):
            await self._note(notebook.slug, **facts)
            logger_of(notebook.slug).warning("does not answer container=%s", server.id[:12])

    async def _settle_paused(self, notebook: Notebook, server: Server) -> Found:
        if self._is_hot(notebook.slug):
            await self.disable_proxying(notebook.slug)
        await self._record_stopped(notebook.slug, State.COLD, kept=server)
        logger_of(notebook.slug).info("is paused container=%s", server.id[:12])
        return Found.PAUSED

    async def _settle_ended(self, notebook: Notebook, server: Server | None) -> Found:
        slug, ran = notebook.slug, self._is_hot(notebook.slug) or notebook.state is State.RUNNING
        if self._is_hot(slug):
            await self.disable_proxying(slug)
        kept = server if is_kept(notebook, server) else None
        reason = _why_ended(server) if ran else None
        state = State.FAILED if notebook.state is State.FAILED else State.COLD
        await self._record_stopped(slug, state, kept=kept, reason=reason)
        if ran and server is not None and server.exit_code in _TOLD_TO_END:
            logger_of(slug).info("was told to end, not by this gateway reason=%s", reason)
        elif ran:
            logger_of(slug).warning("ended by itself reason=%s", reason)
        return Found.GONE if server is None else Found.ENDED

    def _entry(self, slug: str) -> RouteEntry | None:
        return self._routes.entry(self._namespace.key(slug))

    def _is_hot(self, slug: str) -> bool:
        entry = self._entry(slug)
        return entry is not None and entry.target is not None

    def _is_young(self, server: Server) -> bool:
        """Whether it may still be starting."""
        if server.started is None:
            return False
        age = (datetime.now(UTC) - server.started).total_seconds()
        return 0 <= age < self._defaults.start_timeout

    async def _is_ours(self, server: Server) -> bool:
        if server.target is None:
            return False
        secret = self.secret(server.slug, server.generation)
        base_url = self._namespace.base_url(server.slug)
        async with asyncio.timeout(_PROBE_SECONDS):
            return await self._probe.ask(server.target, base_url, secret) is Answer.READY


def is_in_line(
    notebook: Notebook, entry: RouteEntry | None, server: Server | None, *, anew: bool
) -> bool:
    """Whether route and record say what the engine says.

    Args:
        notebook: the record.
        entry: of its route.
        server: on the engine; None for none.
        anew: whether a record of a start or stop that is under way counts as stale.
    """
    hot = entry is not None and entry.target is not None
    if server is not None and server.state is ServerState.RUNNING:
        return (
            hot
            and entry is not None
            and (entry.target, entry.generation) == (server.target, server.generation)
            and notebook.container_id == server.id
        )
    if hot:
        return False
    if notebook.state in _UNDER_WAY:
        return not anew
    if server is not None and server.state is ServerState.PAUSED:
        known = notebook.container_id == server.id and notebook.started is None
        return known and notebook.engine_status == (server.status or str(server.state))
    told = notebook.container_id is None or is_kept(notebook, server)
    return told and notebook.health is None and notebook.state is not State.RUNNING


def is_kept(notebook: Notebook, server: Server | None) -> bool:
    """Whether it is the stopped server that a stop has kept, as the record says."""
    return (
        server is not None
        and server.state is ServerState.EXITED
        and notebook.container_id == server.id
        and notebook.started is None
    )


def _why_ended(server: Server | None) -> str:
    if server is None:
        return "its container was removed"
    if server.reason:
        return server.reason
    return "it ended" if server.exit_code is None else f"it ended with exit code {server.exit_code}"


def _told_under_way(server: Server | None) -> str:
    now = "has nothing" if server is None else f"tells of {server.id[:12]}, {server.state}"
    return f"is just being started or stopped; the engine {now}"


def _told(finding: Finding, notebook: Notebook | None) -> str:
    """Return what was found, for people."""
    server = finding.server
    said = "" if finding.found is Found.SAME else f" (the record said {finding.was})"
    if notebook is None:
        return "there is no such notebook any more"
    if server is None:
        return f"nothing runs{said}; it is cold"
    return f"{_state_told(finding.found, server, notebook)}{said}"


def _state_told(found: Found, server: Server, notebook: Notebook) -> str:
    what = f"{server.id[:12]}, generation {server.generation}"
    if found in (Found.STARTING, Found.UNANSWERING):
        remedy = "stop and start it if that lasts"
        return f"runs as {what} but does not answer{' yet' * (found is Found.STARTING)}; {remedy}"
    if server.state is ServerState.RUNNING:
        return f"runs as {what} at {server.target}, {notebook.health}"
    if server.state is ServerState.PAUSED:
        return f"is paused as {what}; the next visit lets it go on"
    if is_kept(notebook, server):
        return f"is stopped, and {what} is kept for its next start"
    return f"nothing runs: {what} is {server.status or server.state}, {_why_ended(server)}"
