"""What httpd is told of notebooks, so that it can serve the hot ones by itself.

Three files: their targets are in the route file, among the plain routes, and only while they are
hot; their hop secrets and their owners are in maps beside it. What could not be written is told
with the next one that can be: a notebook that httpd was not told of is missed, one that it was
not told is cold is stale. Which routes there are is routing.py's, how files are written
`routes`'s.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from gateway.activation.apiroutes import ApiRoutes
from gateway.proxy.interface import RouteEntry
from routes import admission, secretmap
from routes.admission import OWNS, AdmissionMaps
from routes.errors import RouteFileError
from routes.publisher import Publisher
from routes.table import Table

logger = logging.getLogger(__name__)


class NotebookFiles:
    """See the module's docstring.

    Args:
        table: what requests are matched against.
        api: plain routes that came through JupyterHub's API.
        publisher: of the route file.
        secrets: publisher of the map of hop secrets for httpd; None unless httpd serves directly.
        people: the maps from which httpd admits people; None where it admits nobody.
    """

    def __init__(
        self,
        table: Table[RouteEntry],
        api: ApiRoutes,
        publisher: Publisher,
        secrets: Publisher | None,
        people: AdmissionMaps | None,
    ) -> None:
        self._table = table
        self._api = api
        self._publisher = publisher
        self._secrets = secrets
        self._people = people
        self._missed = False
        self._stale: set[str] = set()

    @property
    def used(self) -> bool:
        """Whether httpd serves notebooks at all."""
        return self._secrets is not None

    def targets(self) -> Mapping[str, str]:
        """Return what is to be in the route file: plain routes as well."""
        return {
            entry.key: str(entry.target)
            for entry in self._table.values()
            if self._is_published(entry.key)
        }

    def check(self, route_file: Path) -> Sequence[str]:
        """Return what is wrong with the maps beside the route file."""
        if self._secrets is None:
            hidden = secretmap.check(secretmap.beside(route_file), wanted=False)
        else:
            hidden = secretmap.check(self._secrets.path, wanted=True)
        return [*hidden, *admission.check(route_file, wanted=self._secrets is not None)]

    async def rebuild_maps(self) -> Sequence[Path | None]:
        """Write fresh maps; return where damaged ones are kept."""
        hidden = None
        if self._secrets is not None:
            hidden = await self._secrets.replace(self._hop_secrets())
        people = () if self._people is None else await self._people.rebuild(self._owned())
        return (hidden, *people)

    async def put(self, entry: RouteEntry) -> None:
        """Tell httpd of an entry of the table, if it may serve that; on return it knows.

        Where the files cannot be written, it is missed.
        """
        if self._secrets is None or not self._is_published(entry.key):
            return
        assert entry.secret is not None
        try:
            await self._secrets.put(entry.key, entry.secret)
            await self._own(_pairs(entry))
            await self._publisher.put(entry.key, str(entry.target))
            await self.put_missed()
        except (RouteFileError, OSError) as error:
            self._missed = True
            logger.error("httpd is not told of key=%s reason=%s", entry.key, error)

    async def put_all(self) -> None:
        """Tell httpd of all notebooks that it may serve."""
        if self._secrets is not None:
            await self._secrets.update(self._hop_secrets(), ())
            await self._own(self._owned())
            await self._publisher.update(self.targets(), ())

    async def put_missed(self) -> None:
        """Tell httpd of what it could not be told of.

        Raises:
            RouteFileError, OSError: it still cannot.
        """
        if self._stale:
            await self._take_out_stale()
        if self._missed:
            await self.put_all()
            self._missed = False

    async def remove(self, key: str) -> None:
        """Take a notebook's key out of the files.

        Raises:
            RouteFileError, OSError: it cannot be; it is stale.
        """
        self._stale.add(key)
        await self._publisher.delete(key)
        if self._secrets is not None:
            await self._secrets.delete(key)
        self.disown(self._table.get(key))
        self._stale.discard(key)

    def leave_out(self, key: str) -> None:
        """Take a notebook's key out of the files with what is written next: it is stale."""
        self._stale.add(key)

    def disown(self, entry: RouteEntry | None) -> None:
        """Let httpd forget, in a moment, whose notebook it was: it is cold."""
        if self._people is not None and entry is not None:
            for pair in _pairs(entry):
                self._people.owners.drop(pair)

    async def prune(self, keys: Iterable[str]) -> None:
        """Take out what is not to be there; where the files cannot be written, it is stale.

        Args:
            keys: the notebooks' in the route file.
        """
        self._stale.update(key for key in keys if not self._is_published(key))
        if self._people is not None:
            self._people.owners.retain(self._owned())
        try:
            await self._take_out_stale()
        except (RouteFileError, OSError) as error:
            logger.error("httpd is not told of what is cold reason=%s", error)

    async def _take_out_stale(self) -> None:
        stale = list(self._stale)
        await self._publisher.update({}, [key for key in stale if not self._is_published(key)])
        if self._secrets is not None:
            # A start may have ended meanwhile.
            await self._secrets.update({}, [key for key in stale if not self._is_published(key)])
        self._stale.difference_update(stale)

    def _is_published(self, key: str) -> bool:
        """Whether a key of the table is one for the route file."""
        entry = self._table.get(key)
        if entry is None or entry.target is None:
            return False
        if entry.slug is None:
            return self._api.in_file(entry)
        return self._secrets is not None and entry.direct

    def _hop_secrets(self) -> Mapping[str, str]:
        entries = (entry for _, entry in self._table.items() if self._is_published(entry.key))
        return {entry.key: entry.secret for entry in entries if entry.secret is not None}

    def _owned(self) -> Mapping[str, str]:
        published = (entry for entry in self._table.values() if self._is_published(entry.key))
        return {pair: OWNS for entry in published for pair in _pairs(entry)}

    async def _own(self, pairs: Iterable[str]) -> None:
        """Let httpd know whose notebooks they are; on return it does."""
        if self._people is not None:
            for pair in pairs:
                self._people.owners.put(pair, OWNS)
            await self._people.owners.flush()


def _pairs(entry: RouteEntry) -> Sequence[str]:
    """Return what the map of owners has about a notebook: one pair or none."""
    if entry.owner is None or entry.slug is None:
        return ()
    pair = admission.pair(entry.owner, entry.slug)
    return () if pair is None else (pair,)
