"""Hot → cold: stop, pause, remove what was kept, delete, and clean up after a failed start."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

from gateway.activation.groundwork import Groundwork
from gateway.activation.operations import Kind, Operation
from gateway.errors import EngineError, GatewayError
from gateway.notebooks.logs import logger_of
from gateway.notebooks.model import State
from gateway.notebooks.names import ADMINISTRATOR
from gateway.proxy.interface import RouteEntry
from gateway.spawners.base import Server, ServerState
from routes.errors import RouteFileError

Still = Callable[[], Awaitable[bool]]
"""Asked under the notebook's lock, just before: whether it is still to be done."""


class Stopping(Groundwork):
    """Ends servers. The route is cold, and nobody uses the target, before a server is touched."""

    async def stop_container(
        self,
        slug: str,
        *,
        by: str = ADMINISTRATOR,
        reason: str = "",
        still: Still | None = None,
        keep: bool = False,
        planned: Operation | None = None,
    ) -> bool:
        """Unpublish, then stop and remove the container. A stopped notebook stays stopped.

        Args:
            slug: the notebook.
            by: who wants it.
            reason: why, for people.
            still: see Still; where it says no, nothing is done.
            keep: the stopped container stays, for the next start.
            planned: the operation that this is; None for a new one.

        Returns:
            Whether it was done.

        Raises:
            NotFound, NotebookLocked, EngineError.
        """
        self._catalogue.check_unlocked(slug)
        async with self.lock(slug):
            self._catalogue.check_unlocked(slug)
            if still is not None:
                await self._spawner.inspect(slug)  # while the engine is away, hot routes go on
            if not await self._agreed(slug, still):
                return False
            async with self.operations.running(Kind.STOP, slug, by, reason, planned):
                await self._stop(slug, keep=keep)
            logger_of(slug).info("stopped by=%s reason=%s", by, reason or "-")
            return True

    async def pause_container(self, slug: str, *, still: Still | None = None) -> bool:
        """Unpublish, then freeze the server: it keeps its memory. The next start resumes it.

        Returns:
            Whether it was done: not where `still` says no, or nothing runs.

        Raises:
            NotFound, NotebookLocked, EngineError; then it is hot as before.
        """
        self._catalogue.check_unlocked(slug)
        async with self.lock(slug):
            self._catalogue.check_unlocked(slug)
            server = await self._spawner.inspect(slug)
            if server is None or server.state is not ServerState.RUNNING:
                return False
            if not await self._agreed(slug, still):
                return False
            await self.disable_proxying(slug)
            try:
                await self._spawner.pause(server)
            except EngineError:
                await self.enable_proxying(slug, server)
                raise
            paused = await self._spawner.inspect(slug)
            await self._record_stopped(slug, State.COLD, kept=paused or server)
            logger_of(slug).info("paused container=%s", server.id[:12])
            return True

    async def _agreed(self, slug: str, still: Still | None) -> bool:
        """Ask `still`; where it says yes the route is cold in the same turn of the loop.

        So no request comes between here. What came to a worker just before is known once the worker
        has the change: then the route is hot again, and nothing is done.
        """
        if still is None:
            return True
        if not await still():
            return False
        entry = self._routes.entry(self._namespace.key(slug))
        activity = None if entry is None else entry.activity
        before = None if activity is None else (activity.requests, activity.last)
        await self.disable_proxying(slug)
        if entry is None or activity is None or before is None:
            return True
        if activity.requests <= before[0] and activity.last <= before[1]:
            return True
        await self._make_hot_again(entry)
        return False

    async def _make_hot_again(self, before: RouteEntry) -> None:
        """Put back what a route led to, for those who may use it now."""
        now = self._routes.entry(before.key)
        if now is not None and before.target is not None:
            same = replace(before, others=now.others, ancestors=now.ancestors)
            await self._routes.put_notebook(same)

    async def remove_container(
        self,
        slug: str,
        *,
        by: str = ADMINISTRATOR,
        reason: str = "",
        planned: Operation | None = None,
    ) -> bool:
        """Remove a stopped container that was kept; return whether there was one.

        Raises:
            NotFound, NotebookLocked, EngineError.
        """
        self._catalogue.check_unlocked(slug)
        async with self.lock(slug):
            self._catalogue.check_unlocked(slug)
            server = await self._spawner.inspect(slug)
            if server is None or server.state not in (ServerState.EXITED, ServerState.CREATED):
                return False
            async with self.operations.running(Kind.REMOVE, slug, by, reason, planned):
                await self._spawner.stop(server, 0.0)
                await self._record_stopped(slug, State.COLD)
            logger_of(slug).info("removed what was kept container=%s", server.id[:12])
            return True

    async def delete(
        self,
        slug: str,
        *,
        purge_space: bool = False,
        by: str = ADMINISTRATOR,
        reason: str = "",
        planned: Operation | None = None,
    ) -> None:
        """Stop the notebook and forget it; its space is kept unless `purge_space`.

        Raises:
            NotFound, NotebookLocked, EngineError, SpaceError, DatabaseError.
        """
        kind = Kind.PURGE if purge_space else Kind.DELETE
        self._catalogue.check_unlocked(slug)
        async with self.lock(slug):
            self._catalogue.check_unlocked(slug)
            async with self.operations.running(kind, slug, by, reason, planned):
                await self._stop(slug)
                if purge_space:
                    await self._spaces.remove(slug)
                await self._catalogue.remove_notebook(slug)

    def begin_stop(self, slug: str, *, by: str = ADMINISTRATOR, reason: str = "") -> Operation:
        """Begin to stop a notebook, and return the operation; see stop_container.

        Raises:
            NotFound, NotebookLocked.
        """
        self._catalogue.check_unlocked(slug)
        return self.operations.begin(
            Kind.STOP,
            slug,
            by,
            reason,
            lambda planned: self.stop_container(slug, by=by, reason=reason, planned=planned),
        )

    def begin_delete(
        self, slug: str, *, purge_space: bool = False, by: str = ADMINISTRATOR, reason: str = ""
    ) -> Operation:
        """Begin to delete a notebook, and return the operation; see delete.

        Raises:
            NotFound, NotebookLocked.
        """
        self._catalogue.check_unlocked(slug)
        return self.operations.begin(
            Kind.PURGE if purge_space else Kind.DELETE,
            slug,
            by,
            reason,
            lambda planned: self.delete(
                slug, purge_space=purge_space, by=by, reason=reason, planned=planned
            ),
        )

    async def discard(self, slug: str) -> None:
        """Remove what a failed start left, and record the failure; raises nothing of ours.

        What ran before, or another gateway has made, is left alone: the fault may be on this side.
        """
        try:
            await self._routes.unpublish(self._namespace.key(slug))
            remnant = await self._spawner.inspect(slug)
            if remnant is not None and self._is_remnant(remnant):
                await self._spawner.stop(remnant, 0.0)
        except (GatewayError, RouteFileError, OSError) as error:
            logger_of(slug).warning("remnant of the failed start stays reason=%s", error)
        if self._catalogue.find(slug) is not None:
            await self._try_to_record_failure(slug)

    def _is_remnant(self, server: Server) -> bool:
        """Whether a start of ours set it going, or it has ended."""
        ended = server.state not in (ServerState.RUNNING, ServerState.PAUSED)
        return ended or self._made.get(server.slug) == server.id

    async def _try_to_record_failure(self, slug: str) -> None:
        try:
            await self._record_stopped(slug, State.FAILED)
        except GatewayError as error:
            logger_of(slug).warning("the failed start is not in the record reason=%s", error)

    async def _stop(self, slug: str, *, keep: bool = False) -> None:
        await self._spawner.inspect(slug)  # while the engine is away, hot routes go on
        await self.disable_proxying(slug)
        server = await self._spawner.inspect(slug)
        kept = None
        if server is not None:
            await self._end(server, keep=keep)
            kept = await self._spawner.inspect(slug) if keep else None
        await self.disable_proxying(slug)
        await self._record_stopped(slug, State.COLD, kept=kept)

    async def _end(self, server: Server, *, keep: bool) -> None:
        slug = server.slug
        await self._note(slug, state=State.STOPPING)
        try:
            await self._spawner.stop(server, self._defaults.stop_grace, keep=keep)
        except Exception:
            # Nobody stops it any more, and its route is cold; what became of it the engine tells.
            await self._note(slug, state=State.COLD)
            raise
        logger_of(slug).info("ended container=%s kept=%s", server.id[:12], keep)
