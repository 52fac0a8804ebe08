"""When a person's files were last changed: a script that writes is at work, whoever looks.

Students plant symlinks and may change everything while we look, so folders are opened by their
descriptors, and no symlink is followed. It is a look, not an inventory: bounded in entries, depth
and time. Everything here blocks: run it in a thread.
"""

from __future__ import annotations

import contextlib
import os
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass

from gateway.spaces import folders

ENTRIES = 20_000
SECONDS = 2.0
DEEPEST = 40

_OF_PROGRAMS = frozenset({".git", ".ipynb_checkpoints", "__pycache__"})
_OF_THE_HOME = frozenset({".cache", ".config", ".ipython", ".jupyter", ".local"})
_BEING_WRITTEN = ".~"


@dataclass(slots=True)
class Look:
    """One look at a space.

    Attributes:
        entries: how many more may be looked at.
        until: by `clock`, when to end.
        clock: monotonic seconds.
        newest: the latest change of a file so far, seconds since the epoch; None for none.
    """

    entries: int
    until: float
    clock: Callable[[], float]
    newest: float | None = None

    @property
    def over(self) -> bool:
        """Whether a bound is reached."""
        return self.entries <= 0 or self.clock() >= self.until

    def into(self, folder: int, depth: int = 0) -> None:
        """Look at what is in the folder `folder`: files first, then the folders."""
        below = []
        with os.scandir(folder) as entries:
            for entry in entries:
                if self.over:
                    return
                self.entries -= 1
                if not _ignored(entry.name, depth) and self._look_at(entry):
                    below.append(entry.name)
        for name in below if depth < DEEPEST else ():
            if self.over:
                return
            # Gone, not readable, or a symlink by now: then it tells nothing.
            with contextlib.suppress(OSError), folders.opened_folder(name, folder) as handle:
                self.into(handle, depth + 1)

    def _look_at(self, entry: os.DirEntry[str]) -> bool:
        """Take a file's change into account; return whether it is a folder."""
        try:
            found = entry.stat(follow_symlinks=False)
        except OSError:
            return False
        if stat.S_ISREG(found.st_mode):
            # Not st_mtime: what is unpacked or copied brings its own along, and anybody sets it.
            self.newest = max(self.newest or 0.0, found.st_ctime)
        return stat.S_ISDIR(found.st_mode)


def _ignored(name: str, depth: int) -> bool:
    if name in _OF_PROGRAMS or name.startswith(_BEING_WRITTEN):
        return True
    return depth == 0 and name in _OF_THE_HOME


def newest_change(
    space: int,
    entries: int = ENTRIES,
    seconds: float = SECONDS,
    clock: Callable[[], float] = time.monotonic,
) -> float | None:
    """Return when a file in the folder `space` last changed; None if none was seen.

    Files count, folders do not: Jupyter makes some of its own. What Jupyter and programs write
    by themselves does not count: `.git`, `.ipynb_checkpoints` and `__pycache__` anywhere, and
    `.cache`, `.config`, `.ipython`, `.jupyter` and `.local` at the top.

    Args:
        space: a descriptor of the folder.
        entries: how many entries to look at, at most.
        seconds: how long to look, at most.
        clock: monotonic seconds.
    """
    look = Look(entries, clock() + seconds, clock)
    look.into(space)
    return look.newest
