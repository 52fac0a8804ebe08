"""The idle culler: ends, pauses and removes servers that nobody needs, and says so before.

What is to happen is judged by idleness.py from what signals.py knows and asks; the engine and the
route table are lifecycle.py's. Where several gateways share an engine all of them look, so that
each can tell its pages what is coming, and one of them acts.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from gateway.activation.idleness import (
    NEVER,
    Keep,
    Pause,
    Reason,
    Remove,
    Stop,
    Verdict,
    Warn,
    judge,
)
from gateway.activation.lifecycle import Lifecycle
from gateway.activation.signals import Watched
from gateway.activation.weighing import Case, Traffic, Weigher, traffic_in
from gateway.errors import GatewayError, NotebookLocked
from gateway.notebooks.catalogue import Catalogue
from gateway.notebooks.logs import logger_of
from gateway.notebooks.model import Notebook
from gateway.spawners.base import Server, ServerState, Spawner
from routes.errors import RouteFileError

__all__ = ["CULLER", "Culler", "Notice", "Traffic"]

logger = logging.getLogger(__name__)

CULLER = "culler"
_AT_ONCE = 8
_SHORTEST = 1.0
_AGAIN = 5.0


@dataclass(frozen=True, slots=True)
class Notice:
    """What the open pages of a notebook are told.

    Attributes:
        kind: `warning`: it is going to be stopped.
        seconds: until then.
        reason: one line for people.
    """

    kind: str
    seconds: float
    reason: str


class Culler:
    """See the module's docstring.

    Args:
        catalogue: the notebooks.
        lifecycle: ends, pauses and removes their servers.
        spawner: lists them.
        weigher: comes to the verdicts.
        leads: whether this gateway is the one that acts.
        count: counts what was done, by a word for the metrics.
        interval: seconds between two looks, if nothing is due before.
        sleep: waits so many seconds.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        lifecycle: Lifecycle,
        spawner: Spawner,
        weigher: Weigher,
        leads: Callable[[], bool],
        count: Callable[[str], None],
        interval: float,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._catalogue = catalogue
        self._lifecycle = lifecycle
        self._spawner = spawner
        self._weigher = weigher
        self._leads = leads
        self._count = count
        self._interval = interval
        self._sleep = sleep
        self._watched: dict[str, Watched] = {}
        self._warnings: dict[str, Warn] = {}
        self._slots = asyncio.Semaphore(_AT_ONCE)

    def notice(self, slug: str) -> Notice | None:
        """Return what open pages are to be told now, or None."""
        warning, watched = self._warnings.get(slug), self._watched.get(slug)
        if warning is None or watched is None or watched.warned is None:
            return None
        activity = self._weigher.activity(slug)
        if warning.reason is Reason.IDLE and activity and activity.last > watched.warned:
            return None  # they are back; the next look finds it too
        seconds = max(0.0, warning.at - self._weigher.clock())
        return Notice("warning", seconds, self._explain(slug, warning.reason))

    def keep(self, slug: str) -> Notice | None:
        """Take it that a person is there; return what is still to come: None if nothing is."""
        now = self._weigher.clock()
        activity = self._weigher.activity(slug)
        if activity is not None:
            activity.last = now
        watched = self._watched.get(slug)
        if watched is not None:
            watched.person = now
        warning = self._warnings.get(slug)
        if warning is not None and warning.reason is Reason.IDLE:
            self._call_off(slug)
        return self.notice(slug)

    async def run(self) -> None:
        """Look for ever."""
        told = ""
        while True:
            due = self._weigher.clock() + self._interval
            try:
                due = min(due, await self.look())
                told = ""
            except GatewayError as error:
                if told != str(error):
                    told = str(error)
                    logger.warning("nothing is culled for now reason=%s", told)
            except Exception:
                logger.exception("the culler failed; it looks again")
            await self._sleep(max(_SHORTEST, due - self._weigher.clock()))

    async def look(self) -> float:
        """Look at every notebook once, and do what is to be done.

        Returns:
            The moment, in the clock's seconds, when something is due next; infinite for never.

        Raises:
            GatewayError: the traffic cannot be told, so nothing is done.
        """
        traffic = await self._weigher.traffic()
        books = self._catalogue.notebooks()
        for slug in self._watched.keys() - {book.slug for book in books}:
            self._forget(slug)
        hot = [book for book in books if self._is_hot(book.slug)]
        resting = await self._resting(books) if self._leads() else []
        looks = [
            *(self._guarded(book, self._look_at(book, traffic_in(traffic, book))) for book in hot),
            *(self._guarded(book, self._look_at_resting(book, server)) for book, server in resting),
        ]
        return min(await asyncio.gather(*looks), default=NEVER)

    async def _resting(self, books: Sequence[Notebook]) -> list[tuple[Notebook, Server]]:
        """Return what is paused, or stopped and kept."""
        try:
            servers = {server.slug: server for server in await self._spawner.list()}
        except GatewayError as error:
            logger.info("paused and stopped servers cannot be listed reason=%s", error)
            return []
        resting = (ServerState.PAUSED, ServerState.EXITED)
        return [
            (book, servers[book.slug])
            for book in books
            if not self._is_hot(book.slug)
            and book.slug in servers
            and servers[book.slug].state in resting
        ]

    async def _look_at(self, notebook: Notebook, traffic: Traffic) -> float:
        async with self._slots:
            case = self._case(notebook, hot=True)
            if case.terms.endless:
                return NEVER
            verdict = await self._weigher.weigh(case, traffic)
            await self._weigher.record(case)
            return await self._carry_out(case, verdict)

    async def _look_at_resting(self, notebook: Notebook, server: Server) -> float:
        async with self._slots:
            case = self._case(notebook, hot=False)
            if self._lifecycle.lock(notebook.slug).locked():
                return NEVER  # who is at it may take long, e.g. pull an image
            return await self._carry_out(case, self._weigher.judge_resting(case, server.state))

    def _case(self, notebook: Notebook, *, hot: bool) -> Case:
        watched = self._watched.setdefault(notebook.slug, Watched())
        return self._weigher.case(notebook, watched, hot=hot)

    async def _guarded(self, notebook: Notebook, look: Awaitable[float]) -> float:
        """Look at one; whatever comes of it, the others are looked at too."""
        slug = notebook.slug
        try:
            return await look
        except NotebookLocked as error:
            self._watched[slug].tell(slug, f"left alone: {error}")
        except (GatewayError, RouteFileError, OSError) as error:
            self._count("failed")
            logger_of(slug).warning("could not be put to rest reason=%s", error)
        except Exception:  # noqa: BLE001 - the others are looked at all the same
            self._count("failed")
            logger_of(slug).exception("could not be looked at")
        return NEVER

    async def _carry_out(self, case: Case, verdict: Verdict) -> float:
        slug, lock = case.notebook.slug, case.notebook.lock
        if not isinstance(verdict, Warn | Stop):
            self._call_off(slug)
        if isinstance(verdict, Keep):
            return verdict.until
        if lock is not None:
            self._call_off(slug)
            raise NotebookLocked(slug, lock.locked_by, lock.reason)
        if isinstance(verdict, Warn):
            self._warn(case, verdict)
            return verdict.at
        if not self._leads():
            return NEVER
        if await self._act(case, verdict):
            self._call_off(slug)
            return NEVER
        return self._weigher.clock() + _AGAIN

    def _warn(self, case: Case, warning: Warn) -> None:
        slug, now = case.notebook.slug, self._weigher.clock()
        if case.watched.warned is None:
            case.watched.warned = now
            logger_of(slug).info("will stop reason=%s in=%.0f", warning.reason, warning.at - now)
        self._warnings[slug] = warning

    def _call_off(self, slug: str) -> None:
        self._warnings.pop(slug, None)
        watched = self._watched.get(slug)
        if watched is not None:
            watched.warned = None

    async def _act(self, case: Case, verdict: Pause | Stop | Remove) -> bool:
        slug, lifecycle = case.notebook.slug, self._lifecycle
        match verdict:
            case Pause():
                done = await lifecycle.pause_container(slug, still=self._still(case, Pause))
                word = "paused"
            case Stop():
                why = self._explain(slug, verdict.reason)
                still = self._still(case, Stop) if case.watched.hot else self._rests(case)
                done = await lifecycle.stop_container(
                    slug, by=CULLER, reason=why, still=still, keep=verdict.keep
                )
                word = f"stopped-{verdict.reason}"
            case Remove():
                done = await lifecycle.remove_container(slug, by=CULLER)
                word = "removed"
        self._count(word if done else "spared")
        return done

    def _still(self, case: Case, wanted: type[Verdict]) -> Callable[[], Awaitable[bool]]:
        """Return what is asked under the notebook's lock, just before."""

        async def still() -> bool:
            traffic = traffic_in(await self._weigher.traffic(), case.notebook)
            # What goes on for longer is weighed as work, up to its cap: an open stream is no veto.
            if traffic.requests > case.watched.requests:
                return False
            verdict = await self._weigher.weigh(case, traffic)
            await self._weigher.record(case, at_once=True)
            # What has come meanwhile; from here on nothing is awaited until the route is cold.
            self._weigher.hear(case)
            if isinstance(verdict, wanted):
                verdict = judge(case.watched.use, case.terms, self._weigher.clock())
            activity = self._weigher.activity(case.notebook.slug)
            fresh = activity is not None and activity.requests > case.watched.requests
            return isinstance(verdict, wanted) and not fresh

        return still

    def _rests(self, case: Case) -> Callable[[], Awaitable[bool]]:
        """Return the same for one that is paused: nobody has woken it, or is about to."""

        async def rests() -> bool:
            entry = self._weigher.entry(case.notebook.slug)
            if entry is None or entry.target is not None or entry.waking:
                return False
            return isinstance(self._weigher.judge_resting(case, ServerState.PAUSED), Stop)

        return rests

    def _explain(self, slug: str, reason: Reason) -> str:
        watched = self._watched[slug]
        if reason is Reason.AGE:
            age = self._weigher.clock() - watched.started
            return f"it has run for {_in_words(age)}, as long as it may"
        unused = self._weigher.clock() - watched.last_active
        return f"nobody has used it for {_in_words(unused)}"

    def _is_hot(self, slug: str) -> bool:
        entry = self._weigher.entry(slug)
        return entry is not None and entry.target is not None

    def _forget(self, slug: str) -> None:
        self._watched.pop(slug, None)
        self._warnings.pop(slug, None)


def _in_words(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} seconds"
    if seconds < 7200:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:.0f} hours"
