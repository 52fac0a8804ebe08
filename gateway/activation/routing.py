"""The route service: the one writer of the route table and of the file httpd reads.

Plain routes (set by operators, or found in the file) live in the file and are loaded from it;
those that came through JupyterHub's API are apiroutes.py's. What they may be says routerules.py.
Notebooks' routes are derived: they are in the table always, and in the file only while hot and
where httpd may serve them directly, which publishing.py sees to.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gateway.activation.apiroutes import ApiRoutes
from gateway.activation.publishing import NotebookFiles
from gateway.activation.routerules import RouteRules, Targets, in_canonical_form
from gateway.errors import Conflict, InvalidInput, NotFound
from gateway.proxy.interface import DataPath, RouteEntry, shut_out
from routes import extras as companion
from routes.admission import AdmissionMaps
from routes.apachedb import ApacheDB, check
from routes.keys import InvalidTarget
from routes.publisher import Publisher
from routes.table import Table

logger = logging.getLogger(__name__)

_LOOKED_AT_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class RouteRecord:
    """One route, for people.

    `target` is None while cold; `slug`, `owner` and `project` are None for plain routes.
    """

    key: str
    target: str | None
    slug: str | None
    owner: str | None = None
    project: str | None = None
    engine_id: str = "local"

    @property
    def hot(self) -> bool:
        """Whether it leads somewhere now."""
        return self.target is not None


class RouteService:
    """See the module's docstring.

    Args:
        table: what requests are matched against.
        database: the route file, opened for writing.
        publisher: writes `database`.
        secrets: publisher of the map of hop secrets for httpd; None unless httpd serves directly.
        rules: what plain routes may be.
        extras: publisher of the companion with the JSON of routes; None to keep those that come
            through JupyterHub's API in memory only.
        people: the maps from which httpd admits people; None where it admits nobody.

    Attributes:
        api: those routes.
    """

    def __init__(
        self,
        table: Table[RouteEntry],
        database: ApacheDB,
        publisher: Publisher,
        secrets: Publisher | None,
        rules: RouteRules,
        extras: Publisher | None = None,
        people: AdmissionMaps | None = None,
    ) -> None:
        self._table = table
        self._database = database
        self._publisher = publisher
        self._rules = rules
        self._data_path: DataPath | None = None
        self.api = ApiRoutes(table, publisher, extras, rules.taken, rules.allowed)
        self._files = NotebookFiles(table, self.api, publisher, secrets, people)

    def attach(self, data_path: DataPath) -> None:
        """From now on a change is done when `data_path` has it in force."""
        self._data_path = data_path

    async def load(self) -> int:
        """Fill the table with the file's plain routes; return how many there are.

        What cannot be used is reported and kept. Notebooks' routes in the file are left from an
        earlier run: `prune` takes out what did not come to life again.
        """
        plain, targets = {}, Targets(self._rules.target)
        for raw_key, raw_target in self._database.entries.items():
            key = raw_key.decode("ascii")
            if not self._rules.is_notebook(key) and (target := targets.of(key, raw_target)):
                plain[key] = target
        self.api.load(plain)
        for key, entry in list(self._table.items()):
            if entry.slug is None and key not in plain and not self.api.decides(key):
                self._table.remove(key)
        for key, target in plain.items():
            if not self.api.decides(key):
                self._table.place(key, RouteEntry(key, target))
        if not self._files.used:
            await self.prune()
        return sum(entry.slug is None for entry in self._table.values())

    async def prune(self) -> None:
        """Take notebooks that are not to be served by httpd out of the file.

        Where it cannot be written that is done with `publish_missed`.
        """
        found = []
        for number, raw_key in enumerate(self._database.entries):
            key = raw_key.decode("ascii")
            if self._rules.is_notebook(key):
                found.append(key)
            if not number % _LOOKED_AT_AT_ONCE:
                await asyncio.sleep(0)
        await self._files.prune(found)

    async def reload(self) -> int:
        """Read the file again, after somebody else wrote it; return the number of plain routes."""
        await self.api.reload()
        await self._publisher.reload()
        count = await self.load()
        await self._files.put_all()
        return count

    async def flush(self) -> None:
        """Return when what came through JupyterHub's API is in the files; see ApiRoutes."""
        await self.api.flush()

    def list(self) -> Sequence[RouteRecord]:
        """Return all routes, sorted by key."""
        return sorted(
            (_record(entry) for _, entry in self._table.items()), key=lambda record: record.key
        )

    def get(self, key: str) -> RouteRecord:
        """Return one route. Raises NotFound, InvalidInput."""
        entry = self._table.get(in_canonical_form(key))
        if entry is None:
            raise NotFound("route", key)
        return _record(entry)

    async def set(self, key: str, target: str) -> RouteRecord:
        """Set a plain route; when this returns, the file has it.

        Raises:
            InvalidInput: key or target cannot be used.
            Conflict: the key is the gateway's or a notebook's.
        """
        canonical = in_canonical_form(key)
        if reason := self._rules.taken(canonical):
            raise Conflict(f"key {canonical!r} {reason}")
        try:
            parsed = self._rules.target(target)
        except InvalidTarget as error:
            raise InvalidInput(str(error)) from error
        await self._publisher.put_stored(canonical, str(parsed))
        entry = RouteEntry(canonical, parsed)
        self.api.forget(canonical, str(parsed))
        self._table.place(canonical, entry)
        await self.settled()
        logger.info("route set key=%s target=%s", canonical, target)
        return _record(entry)

    async def delete(self, key: str) -> None:
        """Delete a plain route. Raises NotFound, InvalidInput, Conflict."""
        canonical = in_canonical_form(key)
        entry = self._table.get(canonical)
        if entry is None:
            raise NotFound("route", key)
        if entry.slug is not None:
            raise Conflict(f"key {canonical!r} belongs to a notebook; its route follows its state")
        self.api.forget(canonical, None)
        self._table.remove(canonical)
        await self._publisher.delete(canonical)
        await self.settled()
        logger.info("route deleted key=%s", canonical)

    def check(self) -> Sequence[str]:
        """Return what is wrong with the file and its companions; empty when all is sound."""
        maps = self._files.check(self._database.path)
        extras = companion.check(companion.beside(self._database.path))
        return [*check(self._database.path), *maps, *extras]

    async def rebuild(self, kept: Path | None = None) -> str:
        """Write a fresh file from the table; a damaged one is kept beside it.

        Args:
            kept: where a damaged file was kept already; None if none was.

        Returns:
            One line for people.
        """
        maps = await self._files.rebuild_maps()
        extras = await self.api.rebuild()
        kept = await self._publisher.replace(self._files.targets()) or kept
        damaged = (kept, *maps, extras)
        beside = "".join(f"; the damaged file is kept as {file}" for file in damaged if file)
        return f"wrote {len(self._files.targets())} routes to {self._database.path}{beside}"

    async def put_notebook(self, entry: RouteEntry) -> None:
        """Put a notebook's entry into the table; if httpd may serve it, the file has it on return.

        Where the file cannot be written, the gateway serves the notebook itself, and httpd is told
        with the next one that can be.
        """
        self._put(entry)
        await self._files.put(entry)
        await self.settled()

    async def publish_missed(self) -> None:
        """Tell httpd of the notebooks that it could not be told of.

        Raises:
            RouteFileError, OSError: it still cannot.
        """
        await self._files.put_missed()

    async def cool_notebook(self, entry: RouteEntry) -> None:
        """Put a cold entry into the table; on return nobody uses the target it had.

        Neither the data path does, nor httpd: the file does not have the key any more.
        """
        before = self._table.get(entry.key)
        self._put(entry)
        if self._data_path is not None:
            await self._data_path.drained(before)
        await self.unpublish(entry.key)

    async def unpublish(self, key: str) -> None:
        """Take a notebook's key out of the file; the table stays as it is."""
        await self._files.remove(key)

    def put_cold(self, entry: RouteEntry) -> None:
        """Put a cold entry into the table, at once; what httpd was told is taken back later."""
        before = self._table.get(entry.key)
        if before is not None and before.target is not None:
            self._files.leave_out(entry.key)
        if before is not None and before.owner != entry.owner:
            self._files.disown(before)
        self._put(entry)

    def admit(self, entry: RouteEntry) -> None:
        """Put an entry into the table that differs in who may use or frame it, at once."""
        self._put(entry)

    def drop_notebook(self, key: str) -> None:
        """Forget a deleted notebook's key."""
        entry = self._table.get(key)
        if entry is not None:
            self._files.disown(entry)
            self._table.remove(key)

    def entry(self, key: str) -> RouteEntry | None:
        """Return the table's entry of exactly this key."""
        return self._table.get(key)

    def __len__(self) -> int:
        return len(self._table)

    def _put(self, entry: RouteEntry) -> None:
        """Put a notebook's entry into the table; who may use it no more is out of it at once."""
        before = self._table.get(entry.key)
        self._table.put(entry.key, entry)
        people = shut_out(before, entry)
        if people and self._data_path is not None:
            self._data_path.end_use(entry.key, people)

    async def settled(self) -> None:
        """Return when the data path has the changes so far in force."""
        if self._data_path is not None:
            await self._data_path.settled()


def _record(entry: RouteEntry) -> RouteRecord:
    return RouteRecord(
        entry.key,
        str(entry.target) if entry.target else None,
        entry.slug,
        entry.owner,
        entry.project,
        entry.engine_id,
    )
