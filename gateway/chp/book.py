"""The routes: each with the JSON that came with it, in memory, over the data path's table.

The JSON is kept as text: it goes back verbatim, and a listing of many routes is a matter of
joining. What a request needs of a route is in the table as one object, which is replaced whole.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from gateway.chp.paths import table_key
from gateway.proxy.interface import Activity, Clock, Relay, RouteEntry, monotonic
from routes.keys import Target, parse_target
from routes.table import Table

_LISTED_AT_ONCE = 2000
_CLOCK_STEP = 0.5


@dataclass(frozen=True, slots=True)
class Record:
    """A route.

    Attributes:
        key: as clients of the API know it.
        members: its JSON object without the closing brace and without `last_activity`.
        relay: what the table holds.
    """

    key: str
    members: str
    relay: Relay

    @property
    def activity(self) -> Activity:
        """What the traffic of the route was."""
        activity = self.relay.entry.activity
        assert activity is not None
        return activity


class RouteBook:
    """All routes.

    Args:
        by_host: the first segment of a key is a host.
        prepend_path: whether the path of a target comes before a request's.
        retired: is told of a target that a route had.
        clock: monotonic seconds; that of the data path.
        wall: seconds since the epoch.

    Attributes:
        table: for the Gate.
    """

    def __init__(
        self,
        *,
        by_host: bool = False,
        prepend_path: bool = True,
        retired: Callable[[Target], None] = lambda target: None,
        clock: Clock = monotonic,
        wall: Clock = time.time,
    ) -> None:
        self.table: Table[Relay] = Table()
        self._records: dict[str, Record] = {}
        self._by_host = by_host
        self._prepend_path = prepend_path
        self._retired = retired
        self._clock = clock
        self._wall = wall
        self._offset = wall() - clock()

    def __len__(self) -> int:
        return len(self._records)

    def put(self, key: str, data: dict[str, object]) -> None:
        """Add or replace a route; it is used at once, and counts as active now.

        Args:
            key: from paths.key_of.
            data: JSON; its member `target` is a string.

        Raises:
            InvalidKey, InvalidTarget: the key or the target cannot be used.
        """
        place = table_key(key, by_host=self._by_host)
        target = parse_target(str(data["target"]), tls=True)
        if not self._prepend_path:
            target = Target(target.host, target.port, target.scheme, "", target.socket)
        kept = {name: value for name, value in data.items() if name != "last_activity"}
        if self._by_host and key != "/":
            kept["host"] = key.split("/")[1]
        relay = Relay(RouteEntry(place, target, activity=Activity(last=self._clock())))
        before = self._records.get(key)
        self.table.put(place, relay)
        self._records[key] = Record(key, json.dumps(kept)[:-1], relay)
        if before is not None and before.relay.entry.target != target:
            self._retire(before)

    def remove(self, key: str) -> bool:
        """Remove a route; return whether it was there."""
        record = self._records.pop(key, None)
        if record is None:
            return False
        place = record.relay.entry.key
        if self.table.get(place) is record.relay:
            self.table.remove(place)
        self._retire(record)
        return True

    def get(self, key: str) -> str | None:
        """Return a route as JSON, or None."""
        record = self._records.get(key)
        return None if record is None else self._shown(record)

    async def listing(self, inactive_since: float | None = None) -> bytes:
        """Return a JSON object of all routes by their keys.

        Between parts the event loop goes on: a route that changes meanwhile is told before or
        after its change.

        Args:
            inactive_since: seconds since the epoch; only routes whose last activity was before.
        """
        parts: list[str] = []
        for number, record in enumerate(tuple(self._records.values()), 1):
            if inactive_since is None or self._active_at(record) < inactive_since:
                parts.append(f"{json.dumps(record.key)}: {self._shown(record)}")
            if not number % _LISTED_AT_ONCE:
                await asyncio.sleep(0)
        return ("{" + ", ".join(parts) + "}").encode("ascii")

    def _retire(self, record: Record) -> None:
        if record.relay.entry.target is not None:
            self._retired(record.relay.entry.target)

    def _shown(self, record: Record) -> str:
        stamp = datetime.fromtimestamp(self._active_at(record), UTC)
        text = stamp.isoformat(timespec="milliseconds").removesuffix("+00:00")
        return f'{record.members}, "last_activity": "{text}Z"}}'

    def _active_at(self, record: Record) -> float:
        """Return when the route was active, in seconds since the epoch, whole milliseconds."""
        offset = self._wall() - self._clock()
        if abs(offset - self._offset) > _CLOCK_STEP:  # else the same activity would seem to move
            self._offset = offset
        return round(record.activity.last + self._offset, 3)
