"""A worker's copy of control's tables: snapshots, numbered changes, and what is out of step.

Pure: bytes and sockets are remote.py's. It knows when a target must not be used any more, and says
so at once.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any

from gateway.launch.session_table import SessionTable
from gateway.proxy.interface import Activity, RouteEntry, shut_out
from gateway.workers import records
from gateway.workers.frames import Message
from routes.keys import Target
from routes.table import Table


def _nobody(session_ids: Collection[str]) -> None:
    """Nobody asks for ended sessions."""


def _none_out(key: str, people: frozenset[str]) -> None:
    """Nobody asks for people that a route names no more."""


class OutOfStep(Exception):
    """A change is missing, or is of another epoch: only a snapshot helps."""


class Replica:
    """The copy.

    Attributes:
        table: routes; always the same object.
        sessions: session tokens; always the same object.
        activities: of this process's traffic, by key, for routes that have one.
        epoch: control's; "" before the first snapshot.
        seq: number of the last change that is in force here.

    Args:
        forget: told of a target that must not be used any more.
        ended: told of sessions that have ended, when nobody is let in with them any more.
        out: told of a route, and of people that it let in and does no more.
    """

    def __init__(
        self,
        forget: Callable[[Target], None],
        ended: Callable[[Collection[str]], None] = _nobody,
        out: Callable[[str, frozenset[str]], None] = _none_out,
    ) -> None:
        self.table: Table[RouteEntry] = Table()
        self.sessions = SessionTable()
        self.activities: dict[str, Activity] = {}
        self.epoch = ""
        self.seq = 0
        self._forget = forget
        self._ended = ended
        self._out = out
        self._hot: dict[str, Target] = {}
        self._suspects: dict[str, RouteEntry] = {}
        self._growing: _Growing | None = None

    def begin(self, message: Message) -> None:
        """Begin a snapshot; what is in force stays until it is whole."""
        self._growing = _Growing(message["epoch"], message["seq"])

    def part(self, message: Message) -> None:
        """Take a part of the snapshot."""
        growing = self._growing
        if growing is None:
            return
        for record in message.get("routes", ()):
            entry = self._entry(record)
            growing.table.place(entry.key, entry)
            growing.note(entry)
        for record in message.get("sessions", ()):
            growing.sessions.put(*records.to_session(record))

    def end(self) -> Table[RouteEntry]:
        """Put the snapshot in force, whole, and forget targets that are not in it.

        Returns:
            The routes that were in force before. Freeing a large table takes long: the caller
            does it bit by bit.
        """
        growing, self._growing = self._growing, None
        if growing is None:
            return Table()
        before, self._hot = self._hot, growing.hot
        self.table.swap(growing.table)
        gone = self.sessions.ids() - growing.sessions.ids()
        self.sessions.replace(growing.sessions)
        if gone:
            self._ended(gone)
        self.epoch, self.seq = growing.epoch, growing.seq
        self._suspects.clear()
        for key in tuple(self.activities):
            now = self.table.get(key)
            if now is None:
                del self.activities[key]
            else:
                self._shut_out(growing.table.get(key), now)
        for key, target in before.items():
            if growing.hot.get(key) != target:
                self._forget(target)
        return growing.table

    def apply(self, message: Message) -> bool:
        """Take changes; return False where a snapshot is on its way that has them.

        Raises:
            OutOfStep: they do not follow on what is in force.
        """
        if self._growing is not None:
            return False
        if message["epoch"] != self.epoch or message["first"] != self.seq + 1:
            raise OutOfStep
        for change in message["changes"]:
            self._change(*change)
            self.seq += 1
        ended = [change[1] for change in message["changes"] if change[0] == "drop"]
        if ended:
            self._ended(ended)
        return True

    def suspect(self, entry: RouteEntry) -> RouteEntry | None:
        """Take a target out of use here, until control's change arrives; see AccessGate."""
        now = self.table.get(entry.key)
        if entry.slug is None or now is None:
            return None
        if now.target is None or now.generation != entry.generation:
            return now
        cold = replace(now, target=None, secret=None, waking=True)
        self._put(cold)
        self._suspects[entry.key] = now
        return cold

    def trust(self) -> None:
        """Put back what was suspected and not judged: nobody could wake it again now."""
        for entry in tuple(self._suspects.values()):
            self._put(entry)

    def _change(self, kind: str, *value: Any) -> None:
        if kind == "route":
            self._put(self._entry(value[0]))
        elif kind == "unroute":
            self._remove(value[0])
        elif kind == "session":
            self.sessions.put(*records.to_session(value[0]))
        elif kind == "drop":
            self.sessions.drop(value[0])

    def _put(self, entry: RouteEntry) -> None:
        before = self.table.get(entry.key)
        self.table.place(entry.key, entry)
        self._shut_out(before, entry)
        self._suspects.pop(entry.key, None)
        if entry.activity is None:
            self.activities.pop(entry.key, None)
        was = self._hot.pop(entry.key, None)
        if records.counted(entry) and entry.target is not None:
            self._hot[entry.key] = entry.target
        if was is not None and was != entry.target:
            self._forget(was)

    def _remove(self, key: str) -> None:
        self.table.remove(key)
        self._suspects.pop(key, None)
        was = self._hot.pop(key, None)
        if was is not None:
            self._forget(was)
        self.activities.pop(key, None)

    def _shut_out(self, before: RouteEntry | None, now: RouteEntry) -> None:
        people = shut_out(before, now)
        if people:
            self._out(now.key, people)

    def _entry(self, record: records.Record) -> RouteEntry:
        return records.to_entry(record, self._activity)

    def _activity(self, key: str) -> Activity:
        return self.activities.setdefault(key, Activity())


class _Growing:
    """A snapshot that is not whole yet."""

    def __init__(self, epoch: str, seq: int) -> None:
        self.epoch, self.seq = epoch, seq
        self.table: Table[RouteEntry] = Table()
        self.sessions = SessionTable()
        self.hot: dict[str, Target] = {}

    def note(self, entry: RouteEntry) -> None:
        if records.counted(entry) and entry.target is not None:
            self.hot[entry.key] = entry.target
