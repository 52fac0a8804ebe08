"""The activator: cold → hot, single flight per notebook, so many at once, with back-off.

A start belongs to the application: who asked may go away, the start goes on. Nothing here knows
of HTTP or of an engine.
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Callable
from dataclasses import dataclass

from gateway.activation.lifecycle import Lifecycle
from gateway.activation.routing import RouteService
from gateway.errors import GatewayError, StartFailed, problem_of
from gateway.metrics import Metrics
from gateway.notebooks.catalogue import Catalogue
from gateway.notebooks.logs import logger_of
from gateway.notebooks.model import State
from gateway.proxy.interface import RouteEntry
from gateway.spawners.base import Server

_FIRST_BACK_OFF = 2.0
_LONGEST_BACK_OFF = 60.0


class Phase(enum.StrEnum):
    """How far a start has come."""

    COLD = "cold"
    QUEUED = "queued"
    CREATING = "creating"
    STARTING = "starting"
    READY = "ready"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class StartStatus:
    """What the waiting page shows.

    Attributes:
        phase: see Phase.
        position: place in the queue, from 1; 0 when not queued.
        reason: why the last start failed; "" if it did not.
        retry_after: seconds until the next try is allowed.
    """

    phase: Phase
    position: int = 0
    reason: str = ""
    retry_after: float = 0.0


@dataclass(slots=True)
class _Failure:
    error: StartFailed
    count: int
    until: float


class Activator:
    """Makes notebooks hot.

    Args:
        lifecycle: does the work of a start.
        catalogue: the notebooks.
        routes: tells whether a notebook is hot.
        metrics: counts starts and times the queue.
        starts_at_once: how many starts run at the same time; the rest queue in order.
        clock: monotonic seconds.
        key_of: a notebook's route key.
    """

    def __init__(
        self,
        lifecycle: Lifecycle,
        catalogue: Catalogue,
        routes: RouteService,
        metrics: Metrics,
        starts_at_once: int,
        clock: Callable[[], float],
        key_of: Callable[[str], str],
    ) -> None:
        self._lifecycle = lifecycle
        self._catalogue = catalogue
        self._routes = routes
        self._metrics = metrics
        self._clock = clock
        self._key_of = key_of
        self._slots = asyncio.Semaphore(starts_at_once)
        self._queue: list[str] = []
        self._tasks: dict[str, asyncio.Task[RouteEntry]] = {}
        self._phases: dict[str, Phase] = {}
        self._failures: dict[str, _Failure] = {}

    async def ensure(self, slug: str) -> RouteEntry:
        """Return the hot entry of a notebook, started if need be; callers share one start.

        Raises:
            NotFound: there is no such notebook.
            StartFailed: it failed, now or a moment ago (then without a new try).
        """
        return await asyncio.shield(self.begin(slug))

    def begin(self, slug: str) -> asyncio.Future[RouteEntry]:
        """Begin the start, or join the one under way; return its future."""
        task = self._tasks.get(slug)
        if task is not None:
            return task
        entry = self._routes.entry(self._key_of(slug))
        if entry is not None and entry.target is not None:
            return _done(entry)
        self._catalogue.notebook(slug)
        self._check_back_off(slug)
        self._lifecycle.mark_waking(slug, waking=True)
        self._phases[slug] = Phase.QUEUED
        task = asyncio.get_running_loop().create_task(self._start(slug), name=f"start {slug}")
        self._tasks[slug] = task
        task.add_done_callback(lambda done: self._finished(slug, done))
        return task

    def suspect(self, entry: RouteEntry) -> RouteEntry | None:
        """Take a target whose connections fail out of use; return the entry to wait for.

        None for plain routes, and where the entry's notebook is gone.
        """
        slug = entry.slug
        if slug is None or self._catalogue.find(slug) is None:
            return None
        now = self._routes.entry(entry.key)
        if now is not None and (now.target is None or now.generation != entry.generation):
            return now
        logger_of(slug).warning("target refuses connections target=%s", entry.target)
        return self._lifecycle.mark_waking(slug, waking=False)

    def status(self, slug: str) -> StartStatus:
        """Return how far the notebook's start has come."""
        entry = self._routes.entry(self._key_of(slug))
        if entry is not None and entry.target is not None:
            return StartStatus(Phase.READY)
        if slug in self._tasks:
            phase = self._phases[slug]
            position = self._queue.index(slug) + 1 if slug in self._queue else 0
            return StartStatus(phase, position)
        failure = self._failures.get(slug)
        if failure is None:
            return StartStatus(Phase.COLD)
        remaining = max(0.0, failure.until - self._clock())
        return StartStatus(Phase.FAILED, reason=failure.error.reason, retry_after=remaining)

    def failure(self, slug: str) -> StartFailed | None:
        """Return the last start's failure, with its log tail, or None."""
        failure = self._failures.get(slug)
        return None if failure is None else failure.error

    def forgive(self, slug: str) -> None:
        """Forget a failure, so that the next request tries at once."""
        self._failures.pop(slug, None)

    async def close(self) -> None:
        """Cancel the starts under way. What they made is adopted at the next start."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _start(self, slug: str) -> RouteEntry:
        began = self._clock()
        self._queue.append(slug)
        # The lock first: who waits for a notebook that is still stopping takes nobody's slot.
        async with self._lifecycle.lock(slug):
            try:
                await self._slots.acquire()
            finally:
                self._queue.remove(slug)
            try:
                self._metrics.phase("queue", self._clock() - began)
                return await self._bring_up(slug)
            finally:
                self._slots.release()

    async def _bring_up(self, slug: str) -> RouteEntry:
        server: Server | None = None
        before = self._catalogue.notebook(slug).generation
        try:
            await self._catalogue.update_notebook(slug, state=State.STARTING)
            await self._routes.unpublish(self._key_of(slug))
            self._phases[slug] = Phase.CREATING
            server = await self._lifecycle.create_container(slug)
            self._phases[slug] = Phase.STARTING
            await self._lifecycle.sleep_until_container_has_started(slug, server)
            return await self._lifecycle.enable_proxying(slug, server)
        except Exception as error:
            failed = self._remember(slug, _as_failure(slug, error))
            # What ran before is not ours to end: the fault may be on this side.
            made = server if server is not None and server.generation != before else None
            await self._lifecycle.discard(slug, made)
            raise failed from error

    def _remember(self, slug: str, error: StartFailed) -> StartFailed:
        before = self._failures.get(slug)
        count = before.count + 1 if before else 1
        wait = min(_LONGEST_BACK_OFF, _FIRST_BACK_OFF * 2 ** (count - 1))
        error.retry_after = wait
        self._failures[slug] = _Failure(error, count, self._clock() + wait)
        logger_of(slug).error("start failed reason=%s log_tail=%r", error.reason, error.log_tail)
        return error

    def _check_back_off(self, slug: str) -> None:
        failure = self._failures.get(slug)
        if failure is not None and self._clock() < failure.until:
            error = failure.error
            remaining = failure.until - self._clock()
            raise StartFailed(slug, error.reason, error.log_tail, remaining)

    def _finished(self, slug: str, task: asyncio.Task[RouteEntry]) -> None:
        self._tasks.pop(slug, None)
        self._phases.pop(slug, None)
        failed = task.cancelled() or task.exception() is not None
        self._metrics.start_finished("failed" if failed else "ready")
        if not failed:
            self._failures.pop(slug, None)
            logger_of(slug).info("ready target=%s", task.result().target)
        elif self._catalogue.find(slug) is not None:
            self._lifecycle.mark_waking(slug, waking=False)


def _as_failure(slug: str, error: Exception) -> StartFailed:
    if isinstance(error, StartFailed):
        return error
    if not isinstance(error, GatewayError):
        logger_of(slug).exception("start failed unexpectedly")
    return StartFailed(slug, problem_of(error).detail)


def _done(entry: RouteEntry) -> asyncio.Future[RouteEntry]:
    future: asyncio.Future[RouteEntry] = asyncio.get_running_loop().create_future()
    future.set_result(entry)
    return future
