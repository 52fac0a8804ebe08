"""What went wrong with a start, as a stable word: pages have their own words for each.

The life cycle tells it in one line for people; its own wording is recognised here, and a test
goes through the real ones.
"""

from __future__ import annotations

import re

from gateway.errors import GatewayError, StartFailed

_CODE = re.compile(r"\b(?:exit code|status) (\d+)\b")
_KILLED = re.compile(r"\bkilled\b|\bsignal 9\b|\bSIGKILL\b")
_SAID = (
    ("out-of-memory", re.compile(r"out of memory|memory limit", re.IGNORECASE)),
    ("timeout", re.compile(r"was not ready within")),
    ("removed", re.compile(r"was removed while it started")),
    ("impostor", re.compile(r"does not accept its secret")),
    ("exited", re.compile(rf"{_CODE.pattern}|{_KILLED.pattern}|\bended\b")),
)
_KILLED_CODE = 137


def cause_of(error: Exception) -> str:
    """Return the word; "" for what has none."""
    if isinstance(error, StartFailed):
        return error.cause or next((word for word, said in _SAID if said.search(error.reason)), "")
    return error.code if isinstance(error, GatewayError) and error.for_people() else ""


def exit_code_of(reason: str) -> int | None:
    """Return the exit code that a reason names or means, as a shell tells it; None for none."""
    found = _CODE.search(reason)
    if found:
        return int(found[1])
    return _KILLED_CODE if _KILLED.search(reason) else None
