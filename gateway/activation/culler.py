"""The idle culler: ends, pauses and removes servers that nobody needs, and says so before.

What is idle is decided by idleness.py, what a server does is asked by usage.py; the engine and the
route table are lifecycle.py's.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Traffic:
    """What the traffic of one notebook was, of all gateways together.

    Attributes:
        last: the last sign of a person, UTC; None for never.
        requests: in flight now.
        websockets: open now.
    """

    last: datetime | None = None
    requests: int = 0
    websockets: int = 0


@dataclass(frozen=True, slots=True)
class Notice:
    """What the open pages of a notebook are told.

    Attributes:
        kind: `warning`: it is going to be stopped.
        seconds: until then.
        reason: one line for people.
    """

    kind: str
    seconds: float
    reason: str


class Culler:
    """See the module's docstring."""

    def notice(self, slug: str) -> Notice | None:
        """Return what open pages are to be told now, or None."""
        raise NotImplementedError

    def keep(self, slug: str) -> Notice | None:
        """Take it that a person is there; return what is still to come: None if nothing is."""
        raise NotImplementedError
