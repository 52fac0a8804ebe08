"""Plain routes that came through JupyterHub's API, with the JSON that came with them.

They stand in the one table like routes that operators set, and in the route file as far as it can
hold them; the JSON, and routes that httpd could not use, are in the companion. All of it is
written a moment later (routes/trailing.py). Where the files differ, the route file is right: an
operator's word on a key ends what the API said of it.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from gateway.errors import Conflict
from gateway.proxy.interface import Activity, Clock, RouteEntry, monotonic
from routes.extras import object_of
from routes.keys import InvalidTarget, Target, parse_target
from routes.pair import Kept, RoutePair
from routes.publisher import Publisher
from routes.table import Table
from routes.trailing import Trailing

logger = logging.getLogger(__name__)


class ApiRoutes:
    """See the module's docstring. Keys are in the table's form.

    Args:
        table: what requests are matched against.
        publisher: of the route file.
        extras: of the companion; None to keep routes in memory only.
        refusal: returns why a key is not to be had; "" where it is.
        allowed: raises InvalidTarget for targets that no route may have.
        clock: monotonic seconds; that of the data path.
    """

    def __init__(
        self,
        table: Table[RouteEntry],
        publisher: Publisher,
        extras: Publisher | None,
        refusal: Callable[[str], str],
        allowed: Callable[[Target, str], Target],
        clock: Clock = monotonic,
    ) -> None:
        self._table = table
        self._extras = extras
        self._refusal = refusal
        self._allowed = allowed
        self._clock = clock
        self._members: dict[str, str] = {}
        self._files = Trailing(RoutePair(publisher, extras).write, f"route file {publisher.path}")

    def __contains__(self, key: str) -> bool:
        return key in self._members

    def decides(self, key: str) -> bool:
        """Whether what is in memory of a key counts, and not what the route file has."""
        kept = self._files.get(key)
        return key in self._members or (kept is not None and bool(kept.key))

    def put(self, key: str, target: str, members: str) -> None:
        """Set a route; it is used at once.

        Args:
            key: of the route.
            target: as it was told.
            members: its JSON object without the closing brace.

        Raises:
            InvalidTarget: it cannot be used.
            Conflict: the key is the gateway's or a notebook's.
        """
        self._check(key)
        entry = self._place(key, self._target(target), members)
        if self._extras is not None:
            self._files.note(key, _kept(entry, members))

    def remove(self, key: str) -> bool:
        """Remove a route, whoever set it; return whether it was there. Raises Conflict."""
        self._check(key)
        if self._table.get(key) is None:
            return False
        self._table.remove(key)
        self._members.pop(key, None)
        self._files.note(key, Kept(None, key))
        return True

    def members(self, entry: RouteEntry) -> str:
        """Return what the API tells of a plain route, without the closing brace."""
        told = self._members.get(entry.key)
        return f'{{"target": {json.dumps(_url(entry.target))}' if told is None else told

    def entries(self) -> Iterator[RouteEntry]:
        """Yield every plain route whose key is a path."""
        return (
            entry
            for entry in self._table.values()
            if entry.slug is None and entry.key.startswith("/")
        )

    def in_file(self, entry: RouteEntry) -> bool:
        """Whether a plain route is one for the route file."""
        if entry.key not in self._members:
            return True
        return self._extras is not None and _kept(entry, "").target is not None

    def forget(self, key: str, target: str | None) -> None:
        """An operator has set or deleted a route: what the API said of it counts no more.

        Args:
            key: of the route.
            target: what the route file has of it now; None for nothing.
        """
        # Something of the API's may be on its way to the file.
        if self._members.pop(key, None) is not None or self._files.get(key):
            self._files.note(key, Kept(None, key, target))

    def load(self, in_file: Mapping[str, Target]) -> None:
        """Put what the companion has into the table, as far as the route file agrees.

        Args:
            in_file: the route file's plain routes.
        """
        if self._extras is None:
            return
        found: set[str] = set()
        for raw_key, text in self._extras.entries.items():
            key = raw_key.decode("ascii")
            if self._files.get(key):
                continue  # it has changed meanwhile
            if self._stands(key, text, in_file) or self._load_one(key, object_of(text), in_file):
                found.add(key)
        for key in self._members.keys() - found:
            if not self._files.get(key):
                del self._members[key]

    async def flush(self) -> None:
        """Return when all changes so far are in the files.

        Raises:
            Conflict: routes are not kept.
            RouteFileError, OSError: the files cannot be written; it will be tried again.
        """
        if self._extras is None:
            raise Conflict(
                "routes that are set through /api/routes are in memory only; NBGATE_PERSIST_ROUTES "
                "keeps them"
            )
        await self._files.flush()

    async def reload(self) -> None:
        """Write what is to be written, and read the companion again."""
        await self._files.flush()
        if self._extras is not None:
            await self._extras.reload()

    async def rebuild(self) -> Path | None:
        """Write a fresh companion; return where a damaged one is kept, None for nowhere."""
        if self._extras is None:
            return None
        return await self._extras.replace({key: text + "}" for key, text in self._members.items()})

    async def close(self) -> None:
        """Write what is left."""
        await self._files.close()

    def _load_one(
        self, key: str, data: dict[str, Any] | None, in_file: Mapping[str, Target]
    ) -> bool:
        """Put a route of the companion into the table; return whether it is one."""
        try:
            if data is None or self._refusal(key):
                raise Conflict(self._refusal(key) or "has no JSON of a route")
            target = self._target(data["target"])
        except (Conflict, InvalidTarget) as error:
            logger.warning("route in the companion cannot be used key=%s reason=%s", key, error)
            return False
        if in_file.get(key) != (target if target.plain else None):
            logger.info("the route file has the last word key=%s", key)
            self._files.note(key, Kept(None))
            return False
        self._place(key, target, json.dumps(data)[:-1])
        return True

    def _stands(self, key: str, text: bytes, in_file: Mapping[str, Target]) -> bool:
        """Whether a route is in the table as both files have it."""
        members, entry = self._members.get(key), self._table.get(key)
        if members is None or entry is None or entry.target is None:
            return False
        plain = entry.target if entry.target.plain else None
        return in_file.get(key) == plain and f"{members}}}".encode() == text

    def _place(self, key: str, target: Target, members: str) -> RouteEntry:
        entry = RouteEntry(key, target, activity=Activity(last=self._clock()))
        self._table.place(key, entry)
        self._members[key] = members
        return entry

    def _target(self, text: str) -> Target:
        return self._allowed(parse_target(text, tls=True), text)

    def _check(self, key: str) -> None:
        if reason := self._refusal(key):
            raise Conflict(f"key {key!r} {reason}")


def _kept(entry: RouteEntry, members: str) -> Kept:
    """Return what the files have of a route: only what httpd can use is in the route file."""
    target = entry.target
    return Kept(members + "}", entry.key, str(target) if target and target.plain else None)


def _url(target: Target | None) -> str:
    text = str(target)
    return text if "://" in text else f"http://{text}"
