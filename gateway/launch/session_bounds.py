"""What keeps sessions in bounds: when each ends, and how many one person has. In memory alone."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterable
from datetime import datetime

_SPARE = 1000

End = tuple[datetime, str]


class Ends:
    """The ends that are to come, each with its session's id. Some have ended before their time."""

    def __init__(self) -> None:
        self._heap: list[End] = []

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, expires: datetime, session: str) -> None:
        """Add an end; a session that was put off has several."""
        heapq.heappush(self._heap, (expires, session))

    def pass_by(self, now: datetime) -> bool:
        """Forget the ends whose time has come; return whether there were any."""
        before = len(self._heap)
        while self._heap and self._heap[0][0] <= now:
            heapq.heappop(self._heap)
        return len(self._heap) < before

    def bound(self, alive: int, ends: Callable[[], Iterable[End]]) -> None:
        """Keep this about as small as what is alive: most sessions end long before their time.

        Args:
            alive: how many ends are true, or a few more.
            ends: asked for all of them, in any order, when there are too many here.
        """
        if len(self._heap) > 2 * alive + _SPARE:
            self._heap = sorted(set(ends()))


class Begun:
    """The sessions that were begun here, by person, the oldest first. Some have ended.

    Args:
        most: that one person gets.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._sessions: dict[str, deque[str]] = {}

    def add(self, subject: str, session: str) -> list[str]:
        """Add one; return those that are too many now."""
        begun = self._sessions.setdefault(subject, deque())
        begun.append(session)
        return [begun.popleft() for _ in range(len(begun) - self._most)]

    def keep(self, alive: Callable[[str], bool]) -> None:
        """Forget those that are not alive."""
        left = {
            subject: deque(one for one in begun if alive(one))
            for subject, begun in self._sessions.items()
        }
        self._sessions = {subject: begun for subject, begun in left.items() if begun}
