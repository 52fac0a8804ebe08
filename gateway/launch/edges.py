"""Edge ids: what stands for a session at httpd, where that serves hot notebooks directly.

An edge id is chance, and worth nothing to the gateway itself. Here is which session has which, and
the map that httpd reads is kept in step with it.
"""

from __future__ import annotations

import secrets

from routes.admission import EDGE_BYTES, AdmissionMap, is_edge, person


def fresh_edge() -> str:
    """Return a new edge id."""
    return secrets.token_hex(EDGE_BYTES)


class Edges:
    """See the module's docstring.

    Args:
        published: what httpd reads; None where it serves no notebook, and then nothing is kept.
    """

    def __init__(self, published: AdmissionMap | None = None) -> None:
        self._map = published
        self._by_session: dict[str, str] = {}
        self._ends = self._in_force = 0  # how many were told to the map, and are in force at httpd

    @property
    def published(self) -> bool:
        """Whether anybody reads them."""
        return self._map is not None

    def of(self, session: str) -> str:
        """Return the edge id of a session; "" where it has none for httpd."""
        return self._by_session.get(session, "")

    def begin(self, session: str, edge: str | None, subject: str) -> None:
        """Let httpd know who has an edge id; a session from before there were any has None."""
        if self._map is None or edge is None or not is_edge(edge):
            return
        if self._by_session.get(session) != edge:
            self._by_session[session] = edge
            self._map.put(edge, person(subject))

    def end(self, session: str) -> None:
        """Let httpd forget a session."""
        edge = self._by_session.pop(session, None)
        if self._map is not None and edge is not None:
            self._map.drop(edge)
            self._ends += 1

    def retain(self) -> None:
        """Let httpd forget all that is not known here: sessions that ended while nobody looked."""
        if self._map is not None:
            self._map.retain(self._by_session.values())
            self._ends += 1

    async def settled(self) -> None:
        """Return when httpd admits nobody by a session that has ended; see AdmissionMap.enforce."""
        ends = self._ends
        if self._map is not None and self._in_force < ends:
            await self._map.enforce()
            self._in_force = max(self._in_force, ends)
