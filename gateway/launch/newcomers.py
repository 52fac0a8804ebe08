"""How many ids a course takes anew by plain links: nothing else bounds ids that are made up.

Pure, in memory: each gateway counts what came to it, since it was started.
"""

from __future__ import annotations

import time
from collections.abc import Callable

NEW_IDS_PER_HOUR = 1000
_HOUR = 3600.0


class Newcomers:
    """The ids that were new in each course within the last hour.

    An id counts once, however often it comes: frames of one page bring it at once.

    Args:
        per_hour: ids that a course takes anew in an hour.
        clock: monotonic seconds.
    """

    def __init__(
        self, per_hour: int = NEW_IDS_PER_HOUR, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._per_hour = per_hour
        self._clock = clock
        self._came: dict[str, dict[str, float]] = {}  # course → id → when; the oldest first

    def wait(self, course: str, student: str) -> float:
        """Let an id into a course and return 0.0, or the seconds until it has room."""
        now, came = self._clock(), self._came.setdefault(course, {})
        while came and (oldest := next(iter(came.items())))[1] <= now - _HOUR:
            del came[oldest[0]]
        if student in came:
            return 0.0
        if len(came) < self._per_hour:
            came[student] = now
            return 0.0
        return next(iter(came.values())) + _HOUR - now
