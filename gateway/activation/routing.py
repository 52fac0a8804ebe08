"""The route service: the one writer of the route table and of the file httpd reads.

Plain routes (set by operators, or found in the file) live in the file and are loaded from it;
those that came through JupyterHub's API are apiroutes.py's.
Notebooks' routes are derived: they are in the table always, and in the file only while hot and
where httpd may serve them directly.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gateway.access import Namespace
from gateway.activation.apiroutes import ApiRoutes
from gateway.errors import Conflict, InvalidInput, NotFound
from gateway.proxy.interface import DataPath, RouteEntry
from routes import extras as companion
from routes import secretmap
from routes.apachedb import ApacheDB, check
from routes.errors import RouteFileError
from routes.keys import InvalidKey, InvalidTarget, Target, canonical_key, parse_target
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
        namespace: where notebooks live.
        is_known: whether a slug is a notebook's.
        own_host: the gateway's own host, which no route may take.
        own_sockets: the folder of the gateway's own Unix sockets, where no route may lead; None
            if it has none.
        extras: publisher of the companion with the JSON of routes; None to keep those that come
            through JupyterHub's API in memory only.

    Attributes:
        api: those routes.
    """

    def __init__(
        self,
        table: Table[RouteEntry],
        database: ApacheDB,
        publisher: Publisher,
        secrets: Publisher | None,
        namespace: Namespace,
        is_known: Callable[[str], bool],
        own_host: str,
        own_sockets: Path | None = None,
        extras: Publisher | None = None,
    ) -> None:
        self._table = table
        self._database = database
        self._publisher = publisher
        self._secrets = secrets
        self._namespace = namespace
        self._is_known = is_known
        self._own_host = own_host
        self._own_sockets = own_sockets
        self._data_path: DataPath | None = None
        self._missed = False
        self._stale: set[str] = set()
        self.api = ApiRoutes(table, publisher, extras, self._is_taken, self._allowed)

    def attach(self, data_path: DataPath) -> None:
        """From now on a change is done when `data_path` has it in force."""
        self._data_path = data_path

    async def load(self) -> int:
        """Fill the table with the file's plain routes; return how many there are.

        What cannot be used is reported and kept. Notebooks' routes in the file are left from an
        earlier run: `prune` takes out what did not come to life again.
        """
        plain, targets = {}, _Targets(self._target)
        for raw_key, raw_target in self._database.entries.items():
            key = raw_key.decode("ascii")
            if not self._is_notebook(key) and (target := targets.of(key, raw_target)):
                plain[key] = target
        self.api.load(plain)
        for key, entry in list(self._table.items()):
            if entry.slug is None and key not in plain and not self.api.decides(key):
                self._table.remove(key)
        for key, target in plain.items():
            if not self.api.decides(key):
                self._table.place(key, RouteEntry(key, target))
        if self._secrets is None:
            await self.prune()
        return sum(entry.slug is None for entry in self._table.values())

    async def prune(self) -> None:
        """Take notebooks that are not to be served by httpd out of the file.

        Where it cannot be written that is done with `publish_missed`.
        """
        found = []
        for number, raw_key in enumerate(self._database.entries):
            key = raw_key.decode("ascii")
            if self._is_notebook(key):
                found.append(key)
            if not number % _LOOKED_AT_AT_ONCE:
                await asyncio.sleep(0)
        self._stale.update(key for key in found if not self._is_published(key))
        try:
            await self._take_out_stale()
        except (RouteFileError, OSError) as error:
            logger.error("httpd is not told of what is cold reason=%s", error)

    async def reload(self) -> int:
        """Read the file again, after somebody else wrote it; return the number of plain routes."""
        await self.api.reload()
        await self._publisher.reload()
        count = await self.load()
        await self._publish_notebooks()
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
        entry = self._table.get(_canonical(key))
        if entry is None:
            raise NotFound("route", key)
        return _record(entry)

    async def set(self, key: str, target: str) -> RouteRecord:
        """Set a plain route; when this returns, the file has it.

        Raises:
            InvalidInput: key or target cannot be used.
            Conflict: the key is the gateway's or a notebook's.
        """
        canonical = _canonical(key)
        if reason := self._is_taken(canonical):
            raise Conflict(f"key {canonical!r} {reason}")
        try:
            parsed = self._target(target)
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
        canonical = _canonical(key)
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
        if self._secrets is None:
            hidden = secretmap.check(secretmap.beside(self._database.path), wanted=False)
        else:
            hidden = secretmap.check(self._secrets.path, wanted=True)
        extras = companion.check(companion.beside(self._database.path))
        return [*check(self._database.path), *hidden, *extras]

    async def rebuild(self, kept: Path | None = None) -> str:
        """Write a fresh file from the table; a damaged one is kept beside it.

        Args:
            kept: where a damaged file was kept already; None if none was.

        Returns:
            One line for people.
        """
        hidden = None
        if self._secrets is not None:
            hidden = await self._secrets.replace(self._hop_secrets())
        extras = await self.api.rebuild()
        kept = await self._publisher.replace(self._published()) or kept
        damaged = (kept, hidden, extras)
        beside = "".join(f"; the damaged file is kept as {file}" for file in damaged if file)
        return f"wrote {len(self._published())} routes to {self._database.path}{beside}"

    async def put_notebook(self, entry: RouteEntry) -> None:
        """Put a notebook's entry into the table; if it is hot, the file has it on return.

        Where the file cannot be written, the gateway serves the notebook itself, and httpd is told
        with the next one that can be.
        """
        self._table.put(entry.key, entry)
        if self._secrets is not None and entry.target is not None:
            assert entry.secret is not None
            try:
                await self._secrets.put(entry.key, entry.secret)
                await self._publisher.put(entry.key, str(entry.target))
                await self.publish_missed()
            except (RouteFileError, OSError) as error:
                self._missed = True
                logger.error("httpd is not told of key=%s reason=%s", entry.key, error)
        await self.settled()

    async def publish_missed(self) -> None:
        """Tell httpd of the notebooks that it could not be told of.

        Raises:
            RouteFileError, OSError: it still cannot.
        """
        if self._stale:
            await self._take_out_stale()
        if self._missed:
            await self._publish_notebooks()
            self._missed = False

    async def cool_notebook(self, entry: RouteEntry) -> None:
        """Put a cold entry into the table; on return nobody uses the target it had.

        Neither the data path does, nor httpd: the file does not have the key any more.
        """
        before = self._table.get(entry.key)
        self._table.put(entry.key, entry)
        if self._data_path is not None:
            await self._data_path.drained(before)
        await self.unpublish(entry.key)

    async def unpublish(self, key: str) -> None:
        """Take a notebook's key out of the file; the table stays as it is."""
        self._stale.add(key)
        await self._publisher.delete(key)
        if self._secrets is not None:
            await self._secrets.delete(key)
        self._stale.discard(key)

    def put_cold(self, entry: RouteEntry) -> None:
        """Put an entry that never was in the file into the table, at once."""
        self._table.put(entry.key, entry)

    def drop_notebook(self, key: str) -> None:
        """Forget a deleted notebook's key."""
        if self._table.get(key) is not None:
            self._table.remove(key)

    def entry(self, key: str) -> RouteEntry | None:
        """Return the table's entry of exactly this key."""
        return self._table.get(key)

    def __len__(self) -> int:
        return len(self._table)

    async def settled(self) -> None:
        """Return when the data path has the changes so far in force."""
        if self._data_path is not None:
            await self._data_path.settled()

    async def _take_out_stale(self) -> None:
        stale = list(self._stale)
        await self._publisher.update({}, [key for key in stale if not self._is_published(key)])
        if self._secrets is not None:
            # A start may have ended meanwhile.
            await self._secrets.update({}, [key for key in stale if not self._is_published(key)])
        self._stale.difference_update(stale)

    async def _publish_notebooks(self) -> None:
        if self._secrets is not None:
            await self._secrets.update(self._hop_secrets(), ())
            await self._publisher.update(self._published(), ())

    def _published(self) -> Mapping[str, str]:
        return {
            entry.key: str(entry.target)
            for entry in self._table.values()
            if self._is_published(entry.key)
        }

    def _is_published(self, key: str) -> bool:
        """Whether a key of the table is one for the file."""
        entry = self._table.get(key)
        if entry is None or entry.target is None:
            return False
        return self.api.in_file(entry) if entry.slug is None else self._secrets is not None

    def _is_notebook(self, key: str) -> bool:
        slug = self._namespace.slug_of(key.encode(), key.encode())
        return slug is not None and self._namespace.key(slug) == key and self._is_known(slug)

    def _is_taken(self, key: str) -> str:
        """Return why a key cannot be an operator's; "" when it can."""
        if key == "/gateway" or key.startswith("/gateway/"):
            return "is reserved for the gateway's own pages"
        if key == self._own_host:
            return "is the gateway's own host"
        if self._namespace.holds(key):
            return "is where notebooks live; their routes follow their state"
        return ""

    def _target(self, text: str | bytes) -> Target:
        return self._allowed(parse_target(text), text)

    def _allowed(self, target: Target, text: str | bytes) -> Target:
        """Return the target; the pages would take a route to their socket for the data path."""
        if target.socket and self._own_sockets is not None:
            own = os.path.realpath(self._own_sockets)
            if own in map(str, Path(os.path.realpath(target.socket)).parents):
                raise InvalidTarget(text, "is one of the gateway's own sockets")
        return target

    def _hop_secrets(self) -> Mapping[str, str]:
        entries = (entry for _, entry in self._table.items() if entry.target is not None)
        return {entry.key: entry.secret for entry in entries if entry.secret is not None}


class _Targets:
    """The targets in a file; routes to the same one share it."""

    def __init__(self, parse: Callable[[bytes], Target]) -> None:
        self._parse = parse
        self._known: dict[bytes, Target] = {}

    def of(self, key: str, raw: bytes) -> Target | None:
        """Return a route's target; None, and say so, where it cannot be used."""
        target = self._known.get(raw)
        if target is None:
            try:
                target = self._known[raw] = self._parse(raw)
            except InvalidTarget as error:
                logger.warning("route in the file cannot be used key=%s reason=%s", key, error)
        return target


def _canonical(key: str) -> str:
    try:
        return canonical_key(key)
    except InvalidKey as error:
        raise InvalidInput(str(error)) from error


def _record(entry: RouteEntry) -> RouteRecord:
    return RouteRecord(
        entry.key,
        str(entry.target) if entry.target else None,
        entry.slug,
        entry.owner,
        entry.project,
        entry.engine_id,
    )
