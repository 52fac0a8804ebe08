"""The activator: cold → hot, single flight per notebook, admitted in order, with back-off.

A start belongs to the application: who asked may go away, the start goes on. Who may start when is
admission.py's. Nothing here knows of HTTP or of an engine.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial

from gateway.activation.admission import Admission, AdmissionLimits, Ticket, available_memory
from gateway.activation.failures import Failures, as_failure
from gateway.activation.lifecycle import Lifecycle, Long
from gateway.activation.operations import Kind, Operation
from gateway.activation.progress import Phase, Start, StartStatus
from gateway.activation.routing import RouteService
from gateway.activation.watching import Watch, Watchers
from gateway.errors import GatewayError, StartFailed
from gateway.metrics import Metrics
from gateway.notebooks.catalogue import Catalogue
from gateway.notebooks.logs import logger_of
from gateway.notebooks.model import Notebook, State
from gateway.proxy.interface import RouteEntry
from gateway.spawners.base import Pull, Server


class Activator:
    """Makes notebooks hot.

    Args:
        lifecycle: does the work of a start.
        catalogue: the notebooks.
        routes: tells whether a notebook is hot.
        metrics: counts starts and times the queue.
        limits: what may start and run.
        clock: monotonic seconds.
        key_of: a notebook's route key.
        available: tells the machine's available memory in bytes; None while it is not known.
    """

    def __init__(
        self,
        lifecycle: Lifecycle,
        catalogue: Catalogue,
        routes: RouteService,
        metrics: Metrics,
        limits: AdmissionLimits,
        clock: Callable[[], float],
        key_of: Callable[[str], str],
        available: Callable[[], int | None] = available_memory,
    ) -> None:
        self._lifecycle = lifecycle
        self._catalogue = catalogue
        self._routes = routes
        self._metrics = metrics
        self._clock = clock
        self._key_of = key_of
        self._watchers = Watchers()
        self._admission = Admission(limits, available, self._watchers.tell_all)
        self._starts: dict[str, Start] = {}
        self._failures = Failures(clock)
        metrics.watch_admission(self._admission)
        catalogue.subscribe(self._follow)

    async def ensure(self, slug: str) -> RouteEntry:
        """Return the hot entry of a notebook, started if need be; callers share one start.

        Raises:
            NotFound: there is no such notebook.
            StartFailed: it failed, now or a moment ago (then without a new try).
            QueueFull, TooManyRunning, AllPlacesTaken: see begin.
        """
        return await asyncio.shield(self.begin(slug))

    def begin(
        self, slug: str, *, by: str | None = None, reason: str = ""
    ) -> asyncio.Future[RouteEntry]:
        """Begin the start, or join the one under way; return its future.

        Args:
            slug: the notebook.
            by: who wants it; None: its owner, whose request came in.
            reason: why, for people.

        Raises:
            NotFound: there is no such notebook.
            StartFailed: it failed a moment ago.
            QueueFull: too many wait already.
            TooManyRunning, AllPlacesTaken: as many run as may.
        """
        start = self._starts.get(slug)
        if start is not None:
            return start.task
        entry = self._hot(slug)
        if entry is not None:
            return _done(entry)
        notebook = self._catalogue.notebook(slug)
        self._failures.check(slug)
        ticket = self._enter(notebook)
        self._lifecycle.mark_waking(slug, waking=True)
        operations = self._lifecycle.operations
        planned = operations.plan(Kind.START, slug, by or notebook.owner, reason)
        run = self._start(slug, ticket, planned)
        task = asyncio.get_running_loop().create_task(run, name=f"start {slug}")
        self._starts[slug] = Start(ticket, task)
        task.add_done_callback(lambda done: self._finished(slug, done))
        self._watchers.tell(slug)
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
        if self._hot(slug) is not None:
            return StartStatus(Phase.READY)
        start = self._starts.get(slug)
        if start is not None:
            position = self._admission.position(start.ticket)
            short = bool(position) and self._admission.short_of_memory
            return StartStatus(start.phase, position, pull=start.pull, short_of_memory=short)
        failure = self._failures.get(slug)
        if failure is None:
            return StartStatus(Phase.COLD)
        return StartStatus(
            Phase.FAILED,
            reason=failure.error.reason,
            retry_after=self._failures.remaining(failure),
            cause=failure.error.cause,
        )

    def subscribe(self, slug: str) -> AbstractContextManager[Watch]:
        """Follow a notebook's start: entered, the watch is told when `status` may have changed."""
        return self._watchers.watching(slug)

    def end_watching(self) -> None:
        """Let all who follow a start go: the gateway stops."""
        self._watchers.end()

    def withdraw(self, slug: str) -> bool:
        """Give up a start that waits, for somebody wants the notebook stopped.

        Returns whether it waited, in the queue or for its image or its files (which others may go
        on to wait for); one whose server is being made is not touched.
        """
        start = self._starts.get(slug)
        if start is None:
            return False
        error = StartFailed(slug, "it was stopped while it waited", cause="withdrawn")
        if start.aside is not None:
            start.aside.cancel()
        elif not self._admission.withdraw(start.ticket, error):
            return False
        start.withdrawn = error
        self._failures.note(slug, error)
        return True

    def failure(self, slug: str) -> StartFailed | None:
        """Return the last start's failure, with its log tail, or None."""
        failure = self._failures.get(slug)
        return None if failure is None else failure.error

    def forgive(self, slug: str) -> None:
        """Forget a failure, so that the next request tries at once."""
        if self._failures.forget(slug):
            self._watchers.tell(slug)

    async def close(self) -> None:
        """Cancel the starts under way. What they made is adopted at the next start."""
        self.end_watching()
        self._admission.close()
        tasks = [start.task for start in self._starts.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _hot(self, slug: str) -> RouteEntry | None:
        entry = self._routes.entry(self._key_of(slug))
        return None if entry is None or entry.target is None else entry

    def _enter(self, notebook: Notebook) -> Ticket:
        """Return a place in the queue; raise where there is none."""
        limits = self._admission.limits
        try:
            if limits.counts_running:
                limits.check(notebook.owner, self._others(notebook.slug))
            return self._admission.enter(notebook.slug, notebook.owner)
        except GatewayError as error:
            self._metrics.start_refused(error.code)
            raise

    def _others(self, slug: str) -> list[tuple[str, str]]:
        """Return slug and owner of each other notebook that runs, or is to."""
        return [
            (book.slug, book.owner)
            for book in self._catalogue.notebooks()
            if book.slug != slug
            and (book.state not in (State.COLD, State.FAILED) or book.slug in self._starts)
        ]

    async def _start(self, slug: str, ticket: Ticket, planned: Operation) -> RouteEntry:
        began, operations = self._clock(), self._lifecycle.operations
        lock = self._lifecycle.lock(slug)
        try:
            await self._admission.admit(ticket, lock)
            async with lock:
                waited = self._clock() - began
                self._metrics.phase("queue", waited)
                if (entry := self._hot(slug)) is not None:  # adopted while this waited
                    operations.drop(planned)
                    return entry
                logger_of(slug).info("start begins waited=%.3f", waited)
                async with operations.carrying_out(planned):
                    return await self._bring_up(slug, ticket)
        except Exception as error:
            operations.drop(planned, error)
            raise
        finally:
            self._admission.leave(ticket)

    async def _bring_up(self, slug: str, ticket: Ticket) -> RouteEntry:
        self._catalogue.notebook(slug)  # it may have been deleted while it waited
        try:
            await self._lifecycle.record_starting(slug)
            await self._routes.unpublish(self._key_of(slug))
            server = await self._create(slug, ticket)
            try:
                await self._lifecycle.sleep_until_container_has_started(slug, server)
            except StartFailed:
                if not await self._lifecycle.is_joined_and_over(server):
                    raise
                server = await self._create(slug, ticket)
                await self._lifecycle.sleep_until_container_has_started(slug, server)
            return await self._lifecycle.enable_proxying(slug, server)
        except Exception as error:
            failed = self._failed(slug, error)
            await self._lifecycle.discard(slug)
            raise failed from error

    async def _create(self, slug: str, ticket: Ticket) -> Server:
        self._enters(slug, Phase.CREATING)
        server = await self._lifecycle.create_container(slug, partial(self._aside, slug, ticket))
        self._enters(slug, Phase.STARTING)
        return server

    async def _aside(self, slug: str, ticket: Ticket, work: Long) -> None:
        """Have something done that takes long; meanwhile its place is others', who can start."""
        start = self._starts[slug]
        self._admission.step_aside(ticket)
        start.aside = asyncio.create_task(
            work(partial(self._pulls, slug)), name=f"what {slug} waits for"
        )
        try:
            await start.aside
        except asyncio.CancelledError:
            if start.withdrawn is None:
                raise
        finally:
            start.aside = None
        if start.withdrawn is not None:
            raise start.withdrawn
        self._enters(slug, Phase.QUEUED)
        await self._admission.come_back(ticket)
        self._enters(slug, Phase.CREATING)

    def _enters(self, slug: str, phase: Phase) -> None:
        self._starts[slug].phase = phase
        self._starts[slug].pull = None
        self._watchers.tell(slug)

    def _pulls(self, slug: str, pull: Pull) -> None:
        if slug in self._starts:
            self._starts[slug].pull = pull
            self._watchers.tell(slug)

    def _failed(self, slug: str, error: Exception) -> StartFailed:
        notebook = self._catalogue.find(slug)
        secret = self._lifecycle.secret(slug, notebook.generation if notebook else 0)
        withdrawn = self._starts[slug].withdrawn
        failure = as_failure(slug, withdrawn or error, secret)
        if withdrawn is None and notebook is not None:
            self._failures.remember(slug, failure)
        return failure

    def _follow(self, slug: str, notebook: Notebook | None) -> None:
        """Forget a deleted notebook's failure: another of its name is somebody else's."""
        if notebook is None:
            self._failures.forget(slug)

    def _finished(self, slug: str, task: asyncio.Task[RouteEntry]) -> None:
        start = self._starts.pop(slug)
        failed = task.cancelled() or task.exception() is not None
        self._metrics.start_finished("failed" if failed else "ready")
        if not failed:
            self._failures.forget(slug)
            logger_of(slug).info("ready target=%s", task.result().target)
        elif self._catalogue.find(slug) is not None and (
            # What was adopted while it waited for its turn stays hot.
            start.phase is not Phase.QUEUED or self._hot(slug) is None
        ):
            self._lifecycle.mark_waking(slug, waking=False)
        self._watchers.tell(slug)


def _done(entry: RouteEntry) -> asyncio.Future[RouteEntry]:
    future: asyncio.Future[RouteEntry] = asyncio.get_running_loop().create_future()
    future.set_result(entry)
    return future
