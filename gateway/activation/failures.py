"""The starts that failed: why, and when they may be tried again. It tries nothing itself."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from gateway.activation.causes import cause_of
from gateway.errors import GatewayError, StartFailed
from gateway.notebooks.logs import logger_of
from gateway.problems import INTERNAL, problem_of

_FIRST_BACK_OFF = 2.0
_LONGEST_BACK_OFF = 60.0
_ENDED = "it ended while it started"
_FOLDER = re.compile(r"(?<![\w.:/])/[^\s/]+/")


@dataclass(frozen=True, slots=True)
class Failure:
    """The last start of a notebook, which failed.

    Attributes:
        error: why.
        count: how often it failed in a row.
        until: clock time before which a request makes no new try.
    """

    error: StartFailed
    count: int
    until: float


class Failures:
    """See the module's docstring.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._by_slug: dict[str, Failure] = {}

    def get(self, slug: str) -> Failure | None:
        """Return the failure of a notebook's last start, or None."""
        return self._by_slug.get(slug)

    def remember(self, slug: str, error: StartFailed) -> None:
        """Note a failure; the next try is allowed later each time."""
        before = self._by_slug.get(slug)
        count = before.count + 1 if before else 1
        wait = min(_LONGEST_BACK_OFF, _FIRST_BACK_OFF * 2 ** (count - 1))
        error.retry_after = wait
        self._by_slug[slug] = Failure(error, count, self._clock() + wait)
        logger_of(slug).error("start failed reason=%s log_tail=%r", error.in_full, error.log_tail)

    def note(self, slug: str, error: StartFailed) -> None:
        """Note what is no fault, so that people are told; a try is allowed at once."""
        self._by_slug[slug] = Failure(error, 0, self._clock())

    def forget(self, slug: str) -> bool:
        """Forget a failure; return whether there was one."""
        return self._by_slug.pop(slug, None) is not None

    def remaining(self, failure: Failure) -> float:
        """Return the seconds until the next try is allowed."""
        return max(0.0, failure.until - self._clock())

    def check(self, slug: str) -> None:
        """Raise StartFailed when a start failed a moment ago."""
        failure = self._by_slug.get(slug)
        remaining = 0.0 if failure is None else self.remaining(failure)
        if failure is not None and remaining:
            raise replace(failure.error, retry_after=remaining)


def as_failure(slug: str, error: Exception, secret: str) -> StartFailed:
    """Return what people, and in full operators, are told about a start that failed.

    Args:
        slug: the notebook.
        error: what was raised.
        secret: the hop secret, which is taken out of the end of the log.
    """
    cause = cause_of(error)
    if isinstance(error, StartFailed):
        tail = error.log_tail.replace(secret, "…")
        reason = _ENDED if _FOLDER.search(error.reason) else error.reason
        return StartFailed(slug, reason, tail, error.retry_after, cause, error.in_full)
    if not isinstance(error, GatewayError):
        logger_of(slug).exception("start failed unexpectedly")
        return StartFailed(slug, problem_of(error).detail, cause=cause)
    return StartFailed(slug, error.for_people() or INTERNAL, cause=cause, detail=str(error))
