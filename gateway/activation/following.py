"""What another gateway has changed in the shared database is read anew here, and followed.

Each change is noted in the transaction that makes it (see notebooks/shared.py). The notes are
polled: that needs nothing of the database but a query, and nothing is lost while it is away. Of
two transactions at once the later note may be seen first, so the last ones are looked at again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from gateway.errors import GatewayError
from gateway.launch.sessions import Sessions
from gateway.notebooks.catalogue import Catalogue
from gateway.notebooks.database import Database
from gateway.notebooks.logs import logger_of
from gateway.notebooks.model import Notebook, State
from gateway.notebooks.shared import NOTEBOOK, PROJECT, SESSION, ChangeRows, Noted
from gateway.proxy.interface import RouteEntry
from routes.errors import RouteFileError

logger = logging.getLogger(__name__)

FOLLOW_SECONDS = 0.5
_OVERLAP = 500


class Follows(Protocol):
    """The life cycle, as far as it is needed here."""

    def lock(self, slug: str) -> asyncio.Lock:
        """Return the lock under which a notebook starts and stops."""
        ...

    async def sync_container(self, slug: str) -> str:
        """Bring the record and the route in line with the engine."""
        ...

    async def disable_proxying(self, slug: str) -> None:
        """Make the route cold."""
        ...


class Following:
    """See the module's docstring.

    Args:
        database: open; shared by the gateways.
        catalogue: to be kept in step.
        sessions: to be kept in step.
        lifecycle: takes over what another gateway has started.
        entry_of: a notebook's route, by slug.
        accompanied: whether there is another gateway; without one nothing is polled.
    """

    def __init__(
        self,
        database: Database,
        catalogue: Catalogue,
        sessions: Sessions,
        lifecycle: Follows,
        entry_of: Callable[[str], RouteEntry | None],
        accompanied: Callable[[], bool],
    ) -> None:
        self._database = database
        self._catalogue = catalogue
        self._sessions = sessions
        self._lifecycle = lifecycle
        self._entry_of = entry_of
        self._accompanied = accompanied
        self._seen = 0
        self._applied: set[int] = set()
        self._wanted: set[str] = set()
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def begin(self) -> None:
        """Begin with what is noted now; before catalogue and sessions are loaded."""
        async with self._database.reading() as connection:
            _, self._seen = await ChangeRows(connection).bounds()

    async def follow(self) -> None:
        """Read anew what was changed since the last time.

        Raises:
            DatabaseError: it cannot be read; the next time there will be more to read.
        """
        async with self._database.reading() as connection:
            rows = ChangeRows(connection)
            first, _ = await rows.bounds()
            noted = await rows.after(max(0, self._seen - _OVERLAP))
        if first > self._seen + 1:  # away for so long that notes were removed
            await self._catalogue.load()
            await self._sessions.load()
        fresh = [one for one in noted if one.number not in self._applied]
        if fresh:
            await self._apply(fresh)
        self._seen = max([self._seen, *(one.number for one in noted)])
        self._applied = {one.number for one in noted if one.number > self._seen - _OVERLAP}

    async def run(self) -> None:
        """Follow until cancelled."""
        told = ""
        while True:
            await asyncio.sleep(FOLLOW_SECONDS)
            if not self._accompanied():
                continue
            try:
                await self.follow()
                told = ""
            except GatewayError as error:
                if told != str(error):
                    told = str(error)
                    logger.warning("other gateways' changes are not read reason=%s", told)

    async def settled(self) -> None:
        """Return when the routes of all that was read are as they should be."""
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def close(self) -> None:
        """Cancel what is under way."""
        for task in self._tasks.values():
            task.cancel()
        await self.settled()

    async def _apply(self, noted: Sequence[Noted]) -> None:
        names: dict[str, set[str]] = {NOTEBOOK: set(), PROJECT: set(), SESSION: set()}
        for one in noted:
            names.setdefault(one.kind, set()).add(one.name)
        if names[NOTEBOOK] or names[PROJECT]:
            await self._catalogue.refresh(names[NOTEBOOK], names[PROJECT])
        if names[SESSION]:
            await self._sessions.refresh(names[SESSION])
        for slug in names[NOTEBOOK]:
            self._follow_route(slug)

    def _follow_route(self, slug: str) -> None:
        """Have a notebook's route brought in line; once more if that is under way."""
        self._wanted.add(slug)
        if slug not in self._tasks:
            self._tasks[slug] = asyncio.create_task(self._carry_out(slug), name=f"follow {slug}")

    async def _carry_out(self, slug: str) -> None:
        try:
            while slug in self._wanted:
                self._wanted.discard(slug)
                await self._bring_in_line(slug)
        except (GatewayError, RouteFileError, OSError) as error:
            logger_of(slug).warning("another gateway's change not followed reason=%s", error)
        except Exception:  # noqa: BLE001 - nobody waits for it
            logger_of(slug).exception("another gateway's change not followed")
        finally:
            del self._tasks[slug]

    async def _bring_in_line(self, slug: str) -> None:
        """Look once this gateway does nothing with it: that may have made it right."""
        async with self._lifecycle.lock(slug):
            notebook, entry = self._catalogue.find(slug), self._entry_of(slug)
            if notebook is None or entry is None:
                return
            if notebook.state is State.STOPPING and entry.target is not None:
                await self._lifecycle.disable_proxying(slug)
        if _is_astray(entry, notebook):
            found = await self._lifecycle.sync_container(slug)
            logger_of(slug).info("followed another gateway found=%r", str(found))


def _is_astray(entry: RouteEntry, notebook: Notebook) -> bool:
    """Whether a route leads elsewhere than the record says."""
    if notebook.state is State.RUNNING:
        return not _leads_there(entry, notebook)
    return notebook.state in (State.COLD, State.FAILED) and entry.target is not None


def _leads_there(entry: RouteEntry, notebook: Notebook) -> bool:
    """Whether a route leads to what the record says that runs."""
    if entry.target is None:
        return False
    if notebook.port is not None:
        return entry.target.port == notebook.port
    return notebook.internal_url == f"http://{entry.target}"
