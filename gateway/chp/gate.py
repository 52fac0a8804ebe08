"""The Gate: every route is open, and decides by the longest prefix alone.

Who may use what is JupyterHub's and its servers' to say, as it is behind its own proxy.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from gateway.chp.paths import BrokenEscape, host_segment, lookup_path
from gateway.proxy.interface import Client, Decision, Hold, Refuse, Relay, RouteEntry
from gateway.proxy.messages import RequestHead
from routes.table import Table

HEALTH: Final = b"/_chp_healthz"
HEALTHY: Final = Refuse(200, "healthy", "the proxy is up")

_UNKNOWN: Final = Refuse(404, "no-route", "there is no route for this path")
_BROKEN: Final = Refuse(500, "broken-path", "the path has a % that begins no escape")


class OpenGate:
    """Finds the route of a request; see gateway.proxy.interface.Gate.

    Args:
        table: the routes.
    """

    def __init__(self, table: Table[Relay]) -> None:
        self._table = table

    def decide(self, head: RequestHead, client: Client) -> Decision:
        """Return what to do with a request."""
        target = head.target
        if target == HEALTH:
            return HEALTHY
        try:
            path = lookup_path(target) if b"%" in target else target
        except BrokenEscape:
            return _BROKEN
        return self._table.find("", path) or _UNKNOWN

    async def awaken(self, hold: Hold) -> Relay | Refuse:
        """Nothing is ever held."""
        return _UNKNOWN

    def stands(self, relay: Relay) -> bool:
        """Routes are used until they are removed."""
        return True

    def suspect(self, relay: Relay) -> Hold | None:
        """Nothing is started here."""
        return None


class HostGate(OpenGate):
    """Finds the route under the request's host, `/` where there is none."""

    def decide(self, head: RequestHead, client: Client) -> Decision:
        """Return what to do with a request."""
        if head.target == HEALTH:
            return HEALTHY
        try:
            path = b"/" + host_segment(head.host) + lookup_path(head.target)
        except BrokenEscape:
            return _BROKEN
        return self._table.find("", path) or _UNKNOWN


class CopyGate(OpenGate):
    """The same over a worker's copy of the table.

    Args:
        entries: the copy.
        by_host: find the route under the request's host.
    """

    def __init__(self, entries: Table[RouteEntry], *, by_host: bool) -> None:
        super().__init__(Table())
        self._entries = entries
        self._by_host = by_host

    def decide(self, head: RequestHead, client: Client) -> Decision:
        """Return what to do with a request."""
        if head.target == HEALTH:
            return HEALTHY
        try:
            path = lookup_path(head.target)
        except BrokenEscape:
            return _BROKEN
        if self._by_host:
            path = b"/" + host_segment(head.host) + path
        entry = self._entries.find("", path)
        return _UNKNOWN if entry is None else Relay(entry)


class TimedGate:
    """A gate that tells how long it took.

    Args:
        gate: the gate.
        clock: seconds.
        took: is told the seconds of each decision.
    """

    def __init__(
        self, gate: OpenGate, clock: Callable[[], float], took: Callable[[float], None]
    ) -> None:
        self._decide = gate.decide
        self._clock = clock
        self._took = took
        self.awaken, self.stands, self.suspect = gate.awaken, gate.stands, gate.suspect

    def decide(self, head: RequestHead, client: Client) -> Decision:
        """Return what to do with a request."""
        start = self._clock()
        decision = self._decide(head, client)
        if decision is not HEALTHY:  # nothing was looked up
            self._took(self._clock() - start)
        return decision
