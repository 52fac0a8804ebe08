"""Control's changes, numbered: what every worker must come to know, in its order. Pure.

The two tables here are control's own; each change of theirs becomes a number. Sending is hub.py's.
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Callable, Iterator
from datetime import datetime
from itertools import islice
from typing import Any

from gateway.launch.session_table import Principal, SessionTable
from gateway.proxy.interface import RouteEntry
from gateway.workers import records
from routes.table import Table

_KEPT = 65_536
_BATCH = 100
_PART = 100


class Feed:
    """The numbered changes of one control process.

    Attributes:
        epoch: names the run of numbers; numbers of another one mean nothing.
        seq: the number of the last change; it never goes back, not with a new epoch either.

    Args:
        kept: how many changes are kept; who is further behind needs a snapshot.
    """

    def __init__(self, kept: int = _KEPT) -> None:
        self.epoch = secrets.token_hex(8)
        self.seq = 1  # what a worker has in force is 0 as long as it has nothing
        self._log: deque[tuple[Any, ...]] = deque(maxlen=kept)
        self._followers: set[Callable[[], None]] = set()

    def follow(self, changed: Callable[[], None]) -> Callable[[], None]:
        """Call `changed` after each change; return what ends it."""
        self._followers.add(changed)
        return lambda: self._followers.discard(changed)

    def note(self, *change: Any) -> None:
        """Number a change: `route` entry, `unroute` key, `session` …, `drop` session."""
        self.seq += 1
        self._log.append(change)
        for changed in self._followers:
            changed()

    def begin_again(self) -> None:
        """Begin a new epoch: everybody needs a snapshot."""
        self.epoch = secrets.token_hex(8)
        self._log.clear()
        self.note("nothing")

    def since(self, seq: int) -> list[records.Record] | None:
        """Return the changes after number `seq`, a batch at most; None when they are not kept."""
        missing = self.seq - seq
        if missing > len(self._log):
            return None
        first = len(self._log) - missing
        return [_record(change) for change in islice(self._log, first, first + _BATCH)]


class FedTable(Table[RouteEntry]):
    """Control's route table.

    Args:
        feed: takes the changes.
    """

    def __init__(self, feed: Feed) -> None:
        super().__init__()
        self._feed = feed

    def place(self, key: str, value: RouteEntry) -> None:
        """See Table."""
        super().place(key, value)
        self._feed.note("route", value)

    def remove(self, key: str) -> None:
        """See Table."""
        super().remove(key)
        self._feed.note("unroute", key)


class FedSessions(SessionTable):
    """Control's session table.

    Args:
        feed: takes the changes.
    """

    def __init__(self, feed: Feed) -> None:
        super().__init__()
        self._feed = feed

    def put(self, digest: bytes, host: str, expires: datetime, principal: Principal) -> None:
        """See SessionTable."""
        super().put(digest, host, expires, principal)
        self._feed.note("session", digest, host, expires, principal)

    def drop(self, session: str) -> None:
        """See SessionTable."""
        super().drop(session)
        self._feed.note("drop", session)

    def replace(self, other: SessionTable) -> None:
        """See SessionTable."""
        super().replace(other)
        self._feed.begin_again()


class Snapshot:
    """What the tables hold at one moment, to be sent over time.

    Taking it copies references alone; values are immutable.

    Attributes:
        epoch: of the feed.
        seq: the last change that is in it.
    """

    def __init__(self, feed: Feed, table: Table[RouteEntry], sessions: SessionTable) -> None:
        self.epoch, self.seq = feed.epoch, feed.seq
        self._entries = table.values()
        self._tokens = sessions.tokens()

    def parts(self) -> Iterator[dict[str, list[records.Record]]]:
        """Yield messages' members, each small enough to be made and read without a stall."""
        for start in range(0, len(self._entries), _PART):
            part = self._entries[start : start + _PART]
            yield {"routes": [records.of_entry(entry) for entry in part]}
        for start in range(0, len(self._tokens), _PART):
            tokens = self._tokens[start : start + _PART]
            yield {"sessions": [records.of_session(*token) for token in tokens]}


def _record(change: tuple[Any, ...]) -> records.Record:
    match change:
        case ("route", entry):
            return ["route", records.of_entry(entry)]
        case ("session", digest, host, expires, principal):
            return ["session", records.of_session(digest, host, expires, principal)]
        case _:
            return list(change)
