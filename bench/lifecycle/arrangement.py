"""Who runs on which core while a class starts."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterator
from pathlib import Path

_PROC = Path("/proc")


@contextlib.contextmanager
def all_on(cores: Collection[int]) -> Iterator[None]:
    """Let all that could run anywhere on this machine, and what it starts, run on `cores` only.

    That is the engine, but also the machine's own services and the kernel's threads, as far as
    they can be moved. Some of those work for several milliseconds at once, whatever is measured.
    """
    everywhere, narrow = os.sched_getaffinity(0), set(cores)
    _move(everywhere, narrow)
    try:
        yield
    finally:
        _move(narrow, everywhere)


def pin(pid: int, cores: Collection[int]) -> None:
    """Let a process with all its threads run on `cores` only."""
    for thread in (_PROC / str(pid) / "task").iterdir():
        with contextlib.suppress(ProcessLookupError):
            os.sched_setaffinity(int(thread.name), cores)


def proxies_of(port: int) -> list[int]:
    """Return the engine's processes that take connections to a port of this machine."""
    wanted = f"\0-host-port\0{port}\0".encode()
    numbers = (place.name for place in _PROC.iterdir() if place.name.isdigit())
    return [int(number) for number in numbers if wanted in _command(number)]


def _move(found: set[int], cores: set[int]) -> None:
    """Let every thread that runs on the cores `found` run on `cores` instead."""
    for thread in _PROC.glob("[0-9]*/task/*"):
        # Gone by now, or of the kernel's that stay where they are.
        with contextlib.suppress(OSError):
            if os.sched_getaffinity(int(thread.name)) == found:
                os.sched_setaffinity(int(thread.name), cores)


def _command(number: str) -> bytes:
    try:
        return (_PROC / number / "cmdline").read_bytes()
    except OSError:
        return b""
