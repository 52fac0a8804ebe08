"""The routes: each with the JSON that came with it, in memory, over the data path's table.

The JSON is kept as text: it goes back verbatim, and a listing of many routes is a matter of
joining. What a request needs of a route is in the table as one object, which is replaced whole.
What the API needs of routes is `Book`; `nbgate serve` has another one, over its own routes.
"""

from __future__ import annotations

import asyncio
import functools
import json
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Protocol

from gateway.chp.paths import table_key, target_of
from gateway.proxy.interface import Activity, Clock, Relay, RouteEntry, monotonic
from routes.keys import Target
from routes.table import Table

_LISTED_AT_ONCE = 250
_CLOCK_STEP = 0.5


class NotKept(Exception):
    """Routes are in memory only: there is nothing to flush."""


class Book(Protocol):
    """All routes, as the API sees them. Keys are those of paths.key_of."""

    def put(self, key: str, data: dict[str, object]) -> None:
        """Add or replace a route; it is used at once, and counts as active now.

        Args:
            key: of the route.
            data: JSON; its member `target` is a string.

        Raises:
            InvalidKey, InvalidTarget: the key or the target cannot be used.
            Conflict: the key is not the API's to set.
        """
        ...

    def remove(self, key: str) -> bool:
        """Remove a route; return whether it was there. Raises InvalidKey, Conflict."""
        ...

    def get(self, key: str) -> str | None:
        """Return a route as JSON, or None."""
        ...

    async def listing(self, inactive_since: float | None = None) -> bytes:
        """Return a JSON object of all routes by their keys.

        Between parts the event loop goes on: a route that changes meanwhile is told before or
        after its change.

        Args:
            inactive_since: seconds since the epoch; only routes whose last activity was before.
        """
        ...

    async def settled(self) -> None:
        """Return when the changes so far are in force."""
        ...

    async def flush(self) -> None:
        """Return when the changes so far are in the file.

        Raises:
            NotKept: none is written.
            RouteFileError, OSError: it cannot be written now.
        """
        ...


class Keeper(Protocol):
    """What makes routes outlive the process."""

    def note(self, record: Record) -> None:
        """Keep a route, in place of what was kept of its key."""
        ...

    def drop(self, record: Record) -> None:
        """Keep a route no more."""
        ...

    async def flush(self) -> None:
        """See Book."""
        ...


class Relays(Protocol):
    """Where the entries of routes go: a Table[Relay] is one."""

    def put(self, key: str, value: Relay) -> None:
        """Set what a key leads to. Raises InvalidKey."""
        ...

    def get(self, key: str) -> Relay | None:
        """Return what leads to the entry of a key; None where it has none."""
        ...

    def remove(self, key: str) -> None:
        """Forget a key."""
        ...


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


class Stamps:
    """Tells moments of the data path's clock as moments of the day.

    Args:
        clock: monotonic seconds; that of the data path.
        wall: seconds since the epoch.
    """

    def __init__(self, clock: Clock = monotonic, wall: Clock = time.time) -> None:
        self._clock = clock
        self._wall = wall
        self._offset = wall() - clock()

    def now(self) -> float:
        """Return the data path's time."""
        return self._clock()

    def of(self, moment: float) -> float:
        """Return a moment in seconds since the epoch, whole milliseconds."""
        offset = self._wall() - self._clock()
        if abs(offset - self._offset) > _CLOCK_STEP:  # else the same activity would seem to move
            self._offset = offset
        return round(moment + self._offset, 3)


class RouteBook:
    """The routes of nbgate-proxy.

    Args:
        by_host: the first segment of a key is a host.
        prepend_path: whether the path of a target comes before a request's.
        retired: is told of a target that a route had.
        clock: monotonic seconds; that of the data path.
        wall: seconds since the epoch.
        relays: takes the entries in place of `table`.

    Attributes:
        table: for the Gate.
        keeper: is told of changes; None where routes are in memory only.
        in_force: returns when changes are in force; None where they are at once.
    """

    def __init__(
        self,
        *,
        by_host: bool = False,
        prepend_path: bool = True,
        retired: Callable[[Target], None] = lambda target: None,
        clock: Clock = monotonic,
        wall: Clock = time.time,
        relays: Relays | None = None,
    ) -> None:
        self.table: Table[Relay] = Table()
        self.keeper: Keeper | None = None
        self.in_force: Callable[[], Awaitable[None]] | None = None
        self._relays: Relays = self.table if relays is None else relays
        self._records: dict[str, Record] = {}
        self._by_host = by_host
        self._prepend_path = prepend_path
        self._retired = retired
        self._stamps = Stamps(clock, wall)

    def __len__(self) -> int:
        return len(self._records)

    def put(self, key: str, data: dict[str, object]) -> None:
        """See Book."""
        place = table_key(key, by_host=self._by_host)
        target = target_of(str(data["target"]))
        if not self._prepend_path:
            target = replace(target, path="", query="")
        if self._by_host and key != "/":
            data = data | {"host": key.split("/")[1]}
        relay = Relay(RouteEntry(place, target, activity=Activity(last=self._stamps.now())))
        before = self._records.get(key)
        self._relays.put(place, relay)
        record = self._records[key] = Record(key, members_of(data), relay)
        if self.keeper is not None:
            self.keeper.note(record)
        if before is not None and before.relay.entry.target != target:
            self._retire(before)

    def restore(self, key: str, data: dict[str, object], last: float) -> None:
        """Put a route that was there before, and was active at `last` by the clock."""
        self.put(key, data)
        self._records[key].activity.last = last

    def remove(self, key: str) -> bool:
        """See Book."""
        record = self._records.pop(key, None)
        if record is None:
            return False
        place = record.relay.entry.key
        held = self._relays.get(place)  # another key may have come to the same place
        if held is not None and held.entry is record.relay.entry:
            self._relays.remove(place)
        if self.keeper is not None:
            self.keeper.drop(record)
        self._retire(record)
        return True

    def records(self) -> tuple[Record, ...]:
        """Return all routes."""
        return tuple(self._records.values())

    def get(self, key: str) -> str | None:
        """See Book."""
        record = self._records.get(key)
        if record is None:
            return None
        return shown(record.members, self._stamps.of(record.activity.last))

    async def listing(self, inactive_since: float | None = None) -> bytes:
        """See Book."""
        rows = ((record.key, record.members, record.activity) for record in self.records())
        return await listed(rows, self._stamps, inactive_since)

    async def settled(self) -> None:
        """See Book."""
        if self.in_force is not None:
            await self.in_force()

    async def flush(self) -> None:
        """See Book."""
        if self.keeper is None:
            raise NotKept("routes are in memory only; --persist-routes keeps them")
        await self.keeper.flush()

    def _retire(self, record: Record) -> None:
        if record.relay.entry.target is not None:
            self._retired(record.relay.entry.target)


def members_of(data: dict[str, object]) -> str:
    """Return the members of a route's JSON object: all but `last_activity`, which is ours."""
    kept = {name: value for name, value in data.items() if name != "last_activity"}
    return json.dumps(kept)[:-1]


def shown(members: str, active: float) -> str:
    """Return a route as JSON.

    Args:
        members: from members_of.
        active: when it was, in seconds since the epoch.
    """
    second, millisecond = divmod(round(active * 1000), 1000)
    return f'{members}, "last_activity": "{_second(second)}.{millisecond:03}Z"}}'


@functools.lru_cache(maxsize=1024)
def _second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).isoformat().removesuffix("+00:00")


async def listed(
    rows: Iterable[tuple[str, str, Activity]], stamps: Stamps, inactive_since: float | None
) -> bytes:
    """Return a listing; see Book.

    Args:
        rows: key, members and activity of each route.
        stamps: of the clock by which they were active.
        inactive_since: see Book.
    """
    parts: list[str] = []
    for number, (key, members, activity) in enumerate(rows, 1):
        active = stamps.of(activity.last)
        if inactive_since is None or active < inactive_since:
            parts.append(f"{json.dumps(key)}: {shown(members, active)}")
        if not number % _LISTED_AT_ONCE:
            await asyncio.sleep(0)
    return ("{" + ", ".join(parts) + "}").encode("ascii")
