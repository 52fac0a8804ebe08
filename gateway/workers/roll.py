"""The workers that may serve, as control knows them: who was there before it, and who came to it.

A worker serves nobody before its first snapshot, and gets that from a control. So one that was
started after this control, and has not come to it, cannot do harm. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable


class Roll:
    """Their process ids.

    Attributes:
        pids: of those that have not ended.

    Args:
        before: of those that were started before this control.
    """

    def __init__(self, before: Iterable[int]) -> None:
        self.pids = set(before)
        self._changed: Callable[[], None] | None = None

    def on_change(self, changed: Callable[[], None]) -> None:
        """Call `changed` when somebody ends."""
        self._changed = changed

    def add(self, pid: int) -> None:
        """Note that a worker has come."""
        self.pids.add(pid)

    def ended(self, pid: int) -> None:
        """Note that a worker has ended."""
        self.pids.discard(pid)
        if self._changed is not None:
            self._changed()

    def only(self, pids: set[int]) -> None:
        """Note that all others have ended."""
        self.pids &= pids
