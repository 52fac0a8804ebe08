"""What people are told about a start: a status in words. Pure; the page and its events share it."""

from __future__ import annotations

from gateway.activation.causes import exit_code_of
from gateway.activation.progress import Phase, StartStatus
from gateway.web.language import Words

Told = dict[str, str | int | float | bool | None]
"""What the page shows: JSON of the events, and the values of its template."""

STAGES = (Phase.QUEUED, Phase.CREATING, Phase.STARTING, Phase.READY)
FULL = "full"
_MEGABYTE = 1_000_000
_COMES_BACK = frozenset({"engine-unavailable"})
_OPENS_BY_ITSELF = 5.0


def told(status: StartStatus, words: Words, log: str = "") -> Told:
    """Return a status in words.

    Args:
        status: how far the start has come.
        words: of the reader's language.
        log: the end of the server's log, after a failure; "" for none.
    """
    step, detail, progress = _going(status, words)
    answer: Told = {
        "phase": status.phase.value,
        "step": step,
        "detail": detail,
        "pulling": status.pull is not None,
        "progress": progress,
        "position": status.position,
        "failed": False,
        "reason": "",
        "log": "",
        "again_in": None,
        "retry_after": round(status.retry_after, 1),
    }
    return answer | _failed(status, words, log) if status.phase is Phase.FAILED else answer


def told_full(retry_after: float, words: Words) -> Told:
    """Return in words that there is no room in the queue; `retry_after` is seconds."""
    status = told(StartStatus(Phase.COLD, retry_after=retry_after), words)
    said = {"phase": FULL, "step": words("full"), "detail": words("full.detail")}
    return status | said | {"again_in": retry_after}


def _going(status: StartStatus, words: Words) -> tuple[str, str, float | None]:
    """Return the step, more about it, and how much of it is done (0 to 1, None: unknown)."""
    if status.phase is Phase.QUEUED and status.short_of_memory:
        return words("queued.memory"), words("memory.detail"), None
    if status.phase is Phase.QUEUED and status.position > 1:
        place = words("queued.place", position=status.position)
        return place, words("queued.detail"), None
    if status.phase is Phase.QUEUED:
        return words("queued.next"), "", None
    if status.pull is not None and status.pull.total:
        done, total = status.pull.done, status.pull.total
        numbers = {"done": done // _MEGABYTE, "total": -(-total // _MEGABYTE)}
        amount = words("pulling.amount", **numbers)
        return words("pulling"), f"{amount}. {words('pulling.detail')}", min(1.0, done / total)
    if status.pull is not None:
        return words("pulling"), words("pulling.detail"), None
    return words(status.phase.value), "", None


def _failed(status: StartStatus, words: Words, log: str) -> Told:
    key = f"failed.{status.cause}"
    hint = words(key if status.cause and key in words else "failed.other")
    code = exit_code_of(status.reason)
    if code is not None and f"exit.{code}" in words:
        hint = f"{hint} {words(f'exit.{code}')}"
    again = max(_OPENS_BY_ITSELF, status.retry_after) if status.cause in _COMES_BACK else None
    return {
        "step": words("failed"),
        "detail": hint,
        "failed": True,
        "reason": status.reason,
        "log": log,
        "again_in": again,
    }
