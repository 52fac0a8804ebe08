"""Cores: pinning to them, and what a process tree used of processor and memory (Linux, /proc)."""

from __future__ import annotations

import contextlib
import os
import resource
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_PROC = Path("/proc")


@contextlib.contextmanager
def pinned(cores: Collection[int]) -> Iterator[None]:
    """Let this thread, and what is started meanwhile, run on `cores` only."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@dataclass(frozen=True, slots=True)
class ProcessStat:
    """One line of /proc/<pid>/stat.

    Attributes:
        pid: the process.
        parent: its parent.
        ticks: user and system time, children that have been waited for included.
    """

    pid: int
    parent: int
    ticks: int


def parse_stat(text: str) -> ProcessStat:
    """Return what /proc/<pid>/stat says (proc_pid_stat(5)); the name may hold any character."""
    pid, _, rest = text.partition(" ")
    fields = rest.rpartition(")")[2].split()
    return ProcessStat(int(pid), int(fields[1]), sum(int(ticks) for ticks in fields[11:15]))


def tree(root: int) -> list[ProcessStat]:
    """Return a process and its descendants."""
    children: dict[int, list[ProcessStat]] = {}
    found = []
    for stat in _all():
        children.setdefault(stat.parent, []).append(stat)
        if stat.pid == root:
            found.append(stat)
    for stat in found:  # grows while it is walked
        found.extend(children.get(stat.pid, ()))
    return found


def cpu_seconds(root: int) -> float:
    """Return the user and system seconds that a tree has used so far."""
    return sum(stat.ticks for stat in tree(root)) / _TICKS


@dataclass(frozen=True, slots=True)
class Usage:
    """What was used of some cores, and by whom, up to a moment.

    Attributes:
        when: monotonic seconds.
        busy: seconds that the cores were busy, or taken away by the machine below.
        ours: seconds of the trees that belong to the benchmark.
    """

    when: float
    busy: float
    ours: float

    def disturbance(self, earlier: Usage) -> float:
        """Return what others used since `earlier`, in cores; 0.05 is five per cent of one."""
        others = (self.busy - earlier.busy) - (self.ours - earlier.ours)
        return max(0.0, others / max(self.when - earlier.when, 1e-9))


def usage(cores: Collection[int], roots: Collection[int]) -> Usage:
    """Return the usage of cores up to now; `roots` are the benchmark's trees, ended ones apart."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    ours = sum(cpu_seconds(pid) for pid in roots) + ended.ru_utime + ended.ru_stime
    own = resource.getrusage(resource.RUSAGE_SELF)
    text = (_PROC / "stat").read_text()
    busy = sum(parse_busy(text, core) for core in cores) / _TICKS
    return Usage(time.monotonic(), busy, ours + own.ru_utime + own.ru_stime)


def parse_busy(text: str, core: int) -> int:
    """Return the ticks of user, nice, system and steal in /proc/stat for a core (proc_stat(5)).

    Interrupts are left out: they come with our own packets and are on no program's account.
    """
    for line in text.splitlines():
        name, _, rest = line.partition(" ")
        if name == f"cpu{core}":
            ticks = [int(field) for field in rest.split()]
            return sum(ticks[0:3]) + ticks[7]
    raise ValueError(f"no core {core}")


def memory_bytes(root: int) -> int:
    """Return the memory of a tree: proportional set size, so shared pages count once."""
    return sum(_rollup(stat.pid, "Pss:") for stat in tree(root))


def resident_bytes(root: int) -> int:
    """Return the resident memory of a tree; pages that processes share count for each of them."""
    return sum(_rollup(stat.pid, "Rss:") for stat in tree(root))


def descriptors(root: int) -> int:
    """Return how many descriptors a tree has open."""
    return sum(len(list((_PROC / str(stat.pid) / "fd").iterdir())) for stat in tree(root))


def _all() -> Iterator[ProcessStat]:
    for entry in _PROC.iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                yield parse_stat((entry / "stat").read_text())


def _rollup(pid: int, name: str) -> int:
    """Return a line of /proc/<pid>/smaps_rollup, in bytes; 0 for a process that has ended."""
    with contextlib.suppress(OSError):
        for line in (_PROC / str(pid) / "smaps_rollup").read_text().splitlines():
            if line.startswith(name):
                return int(line.split()[1]) * 1024
    return 0
