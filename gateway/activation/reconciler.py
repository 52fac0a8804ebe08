"""The reconciler: follows the engine, and has notebooks brought in line with it.

Events are only hints of what to look at, for they get lost, come late, and tell of servers that
have been replaced meanwhile: what is done is decided by a look at the engine under the notebook's
lock (adoption.py). So it subscribes first, then lists, then applies; it resumes at the last event's
own moment, and lists again now and then and whenever it had to connect anew.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass

from gateway.activation.adoption import Found
from gateway.activation.figures import EngineFigures
from gateway.activation.lifecycle import Lifecycle
from gateway.activation.strays import Strays
from gateway.errors import EngineError, GatewayError
from gateway.notebooks.logs import logger_of
from gateway.notebooks.model import Notebook
from gateway.proxy.interface import RouteEntry
from gateway.spawners.base import Change, Server, ServerEvent, Spawner
from routes.errors import RouteFileError

logger = logging.getLogger(__name__)

_Look = Callable[[str], tuple[Notebook | None, RouteEntry | None]]


@dataclass(frozen=True, slots=True)
class Times:
    """How often; seconds.

    Attributes:
        relist: between two lists of all servers.
        retry: before the engine is asked again that was not there.
        again: between two looks at a server that was just started and does not answer yet.
        looks: how often it is looked at in vain before that is left to the next list.
        grace: leftovers of this age are removed.
    """

    relist: float = 30.0
    retry: float = 3.0
    again: float = 1.0
    looks: int = 60
    grace: float = 3600.0


class Reconciler:
    """See the module's docstring.

    Args:
        spawner: of the engine.
        lifecycle: brings notebooks in line.
        look: returns a notebook's record and its route's entry.
        figures: what is measured.
        times: how often.
        adopt: takes over what runs, once the engine answers for the first time; None when that
            was done.
        recovered: told when the engine is back after it was away.
        told: why the engine was away when this began, as was said already; "" if it was not.
        pause: waits for some seconds.
    """

    def __init__(
        self,
        spawner: Spawner,
        lifecycle: Lifecycle,
        look: _Look,
        strays: Strays,
        figures: EngineFigures,
        times: Times,
        adopt: Callable[[], Awaitable[None]] | None = None,
        recovered: Callable[[], None] = lambda: None,
        told: str = "",
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._spawner = spawner
        self._lifecycle = lifecycle
        self._look = look
        self._strays = strays
        self._figures = figures
        self._times = times
        self._adopt = adopt
        self._recovered = recovered
        self._pause = pause
        self._since: float | None = None
        self._told = told
        self._wanted: set[str] = set()
        self._looks: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Follow the engine until cancelled."""
        try:
            while True:
                try:
                    await self._follow()
                except (GatewayError, RouteFileError, OSError) as error:
                    self._tell(str(error))
                except Exception:
                    logger.exception("following the engine failed; it is tried again")
                self._figures.watching.set(0)
                await self._pause(self._times.retry)
                self._figures.reconnected()
        finally:
            await self._end_looks()

    async def _follow(self) -> None:
        """Subscribe, list, apply; raise when the engine goes away."""
        async with self._spawner.watch(self._since) as events:
            servers = await self._list()
            if self._told:
                self._told = ""
                logger.info("the engine is back")
                self._recovered()
            self._figures.watching.set(1)
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._read(events), name="engine events")
                    group.create_task(self._list_now_and_then(servers), name="engine list")
            except ExceptionGroup as found:
                raise found.exceptions[0] from found

    async def _read(self, events: AsyncIterator[ServerEvent]) -> None:
        async for event in events:
            self._since = event.moment
            self._figures.happened("event")
            if is_news(event, *self._look(event.slug)):
                self._look_at(event.slug)
        raise EngineError("the engine has ended its stream of events")

    async def _list_now_and_then(self, servers: Mapping[str, Server]) -> None:
        """Put in order what may take long, while events are read, and list again."""
        while True:
            await self._lifecycle.settle_records()
            await self._sweep(servers)
            await self._pause(self._times.relist)
            servers = await self._list()

    async def _list(self) -> Mapping[str, Server]:
        if self._adopt is not None:
            await self._adopt()
            self._adopt = None
        servers = {server.slug: server for server in await self._spawner.list()}
        self._figures.happened("list")
        for slug in self._lifecycle.out_of_line(servers):
            self._look_at(slug)
        return servers

    async def _sweep(self, servers: Mapping[str, Server]) -> None:
        try:
            removed = [
                *await self._strays.sweep(servers),
                *await self._spawner.sweep(self._times.grace),
            ]
        except EngineError as error:
            logger.warning("leftovers stay on the engine reason=%s", error)
            return
        self._figures.strays.set(self._strays.count)
        self._figures.swept(len(removed))
        for line in removed:
            logger.info("removed from the engine what=%s", line)

    def _look_at(self, slug: str) -> None:
        """Have a notebook brought in line; once more if that is under way."""
        self._wanted.add(slug)
        if slug not in self._looks:
            task = asyncio.create_task(self._settle(slug), name=f"look at {slug}")
            self._looks[slug] = task
            task.add_done_callback(lambda done: self._looked(slug, done))

    async def _settle(self, slug: str) -> None:
        for _ in range(self._times.looks):
            self._wanted.discard(slug)
            found = (await self._lifecycle.settle(slug)).found
            self._figures.reconciled(found)
            if found is Found.STARTING:
                await self._pause(self._times.again)
            elif slug not in self._wanted:
                return

    def _looked(self, slug: str, task: asyncio.Task[None]) -> None:
        del self._looks[slug]
        if task.cancelled():
            return
        error = task.exception()
        if error is None:
            if slug in self._wanted:
                self._look_at(slug)
        elif isinstance(error, (GatewayError, RouteFileError, OSError)):
            # The next list finds it again.
            logger_of(slug).warning("not brought in line with the engine reason=%s", error)
        else:
            logger_of(slug).error("not brought in line with the engine", exc_info=error)

    def _tell(self, reason: str) -> None:
        if reason != self._told:
            self._told = reason
            logger.warning("the engine is not followed reason=%s", reason)

    async def _end_looks(self) -> None:
        looks = list(self._looks.values())
        for task in looks:
            task.cancel()
        await asyncio.gather(*looks, return_exceptions=True)


def is_news(event: ServerEvent, notebook: Notebook | None, entry: RouteEntry | None) -> bool:
    """Whether an event may tell something that route and record do not say yet.

    Args:
        event: what happened.
        notebook: the record; None for none.
        entry: of its route.
    """
    if notebook is None:
        return False
    hot = entry is not None and entry.target is not None
    ours = notebook.container_id == event.id
    if event.change in (Change.STARTED, Change.RESUMED):
        return not (hot and ours) or event.change is Change.STARTED
    # The end of a server that has been replaced, or was stopped by us.
    return ours
