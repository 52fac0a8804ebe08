"""Counting traffic: the Observer that metrics read. Nothing here knows how it is shown."""

from __future__ import annotations

from collections import defaultdict


class Traffic:
    """What the data path counts: plain numbers, since it counts each request. Its Observer.

    Attributes:
        in_flight: requests being answered.
        websockets: open tunnels.
        outcomes: requests that ended, by `1xx` (a tunnel was opened) … `5xx`, or `aborted`.
    """

    __slots__ = ("in_flight", "outcomes", "websockets")

    def __init__(self) -> None:
        self.in_flight = 0
        self.websockets = 0
        self.outcomes: defaultdict[str, int] = defaultdict(int)

    def request_started(self) -> None:
        """Count a request in flight."""
        self.in_flight += 1

    def request_finished(self, outcome: str) -> None:
        """Count its end."""
        self.in_flight -= 1
        self.outcomes[outcome] += 1

    def websocket_opened(self) -> None:
        """Count a tunnel that was set up."""
        self.websockets += 1

    def websocket_closed(self) -> None:
        """Count a tunnel that ended."""
        self.websockets -= 1
