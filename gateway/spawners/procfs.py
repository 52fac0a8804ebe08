"""Processes as Linux tells of them in /proc (proc(5)): which is which, and whose child.

A process id alone names nobody: it is used again. With the start time it does.
"""

from __future__ import annotations

import os
import signal
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

_PROC = Path("/proc")
_DEAD = frozenset("ZXx")


@dataclass(frozen=True, slots=True)
class Stat:
    """The fields of /proc/<pid>/stat that are used.

    Attributes:
        pid: process id.
        state: one letter; Z is a zombie.
        parent: process id of its parent.
        ticks: when it started, in clock ticks since the machine did.
    """

    pid: int
    state: str
    parent: int
    ticks: int


def parse_stat(text: str) -> Stat:
    """Return the fields of a stat line; the name in it may hold blanks and parentheses."""
    head, _, tail = text.rpartition(")")
    fields = tail.split()
    return Stat(int(head.split(" ", 1)[0]), fields[0], int(fields[1]), int(fields[19]))


def stat_of(pid: int) -> Stat | None:
    """Return what /proc tells of `pid`; None when there is no such process."""
    try:
        return parse_stat((_PROC / str(pid) / "stat").read_text())
    except (OSError, IndexError, ValueError):
        return None


def runs(pid: int, ticks: int) -> bool:
    """Tell whether the process that started at `ticks` still runs; a zombie does not."""
    found = stat_of(pid)
    return found is not None and found.ticks == ticks and found.state not in _DEAD


def is_stopped(pid: int) -> bool:
    """Tell whether a process was stopped by SIGSTOP and has not gone on."""
    found = stat_of(pid)
    return found is not None and found.state == "T"


def started(ticks: int) -> datetime:
    """Return when a process started, in UTC."""
    lines = (_PROC / "stat").read_text().splitlines()
    boot = next(int(line.split()[1]) for line in lines if line.startswith("btime "))
    return datetime.fromtimestamp(boot + ticks / os.sysconf("SC_CLK_TCK"), UTC)


def boot_id() -> str:
    """Return what tells this run of the machine from others; ticks begin anew with each."""
    return (_PROC / "sys/kernel/random/boot_id").read_text().strip()


def family(pid: int) -> list[Stat]:
    """Return `pid` and its descendants, whatever session or group they moved to."""
    children: dict[int, list[Stat]] = defaultdict(list)
    root: list[Stat] = []
    for found in _everybody():
        children[found.parent].append(found)
        if found.pid == pid:
            root.append(found)
    members = root
    for member in members:
        members.extend(children[member.pid])
    return members


def survivors(members: Iterable[Stat]) -> list[Stat]:
    """Return those of `members` that still run."""
    return [member for member in members if runs(member.pid, member.ticks)]


def kill(members: Iterable[Stat], number: signal.Signals) -> None:
    """Send a signal to those of `members` that still run."""
    for member in survivors(members):
        with suppress(ProcessLookupError, PermissionError):
            os.kill(member.pid, number)


def _everybody() -> Iterator[Stat]:
    for entry in os.scandir(_PROC):
        if entry.name.isdigit() and (found := stat_of(int(entry.name))) is not None:
            yield found
