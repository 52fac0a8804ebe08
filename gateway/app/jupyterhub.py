"""JupyterHub's API on the management listener: its routes beside nbgate's own.

gateway/chp/ has the API, gateway/activation/apiroutes.py the routes; here they meet.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from urllib.parse import unquote

from aiohttp import web
from aiohttp.typedefs import Middleware

from gateway.activation.routing import RouteService
from gateway.chp.api import RoutesApi
from gateway.chp.book import Stamps, listed, members_of, shown
from gateway.chp.paths import table_key
from gateway.proxy.interface import Activity, RouteEntry
from routes.keys import InvalidKey

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def apart(api: RoutesApi) -> Middleware:
    """Return what hands `/api/routes…` to `api`: a router would decode its paths."""

    @web.middleware
    async def hand_over(request: web.Request, handler: Handler) -> web.StreamResponse:
        return await (api.handle(request) if api.is_for(request) else handler(request))

    return hand_over


class GatewayBook:
    """The plain routes of a gateway, as JupyterHub's API sees them; see gateway.chp.book.Book.

    Those of hosts, and of paths that its keys cannot say, are not told. Nobody counts the activity
    of routes that an operator has set: they are active whenever somebody asks.

    Args:
        routes: the gateway's.
        stamps: of the data path's clock.
    """

    def __init__(self, routes: RouteService, stamps: Stamps) -> None:
        self._routes = routes
        self._stamps = stamps

    def put(self, key: str, data: dict[str, object]) -> None:
        """See Book."""
        self._routes.api.put(_place(key), str(data["target"]), members_of(data))

    def remove(self, key: str) -> bool:
        """See Book."""
        return self._routes.api.remove(_place(key))

    def get(self, key: str) -> str | None:
        """See Book."""
        entry = self._routes.entry(_place(key))
        if entry is None or entry.slug is not None:
            return None
        active = self._stamps.of(self._activity(entry).last)
        return shown(self._routes.api.members(entry), active)

    async def listing(self, inactive_since: float | None = None) -> bytes:
        """See Book."""
        return await listed(self._rows(), self._stamps, inactive_since)

    async def settled(self) -> None:
        """See Book."""
        await self._routes.settled()

    async def flush(self) -> None:
        """See Book."""
        await self._routes.api.flush()

    def _rows(self) -> Iterator[tuple[str, str, Activity]]:
        for entry in self._routes.api.entries():
            if (key := _key(entry.key)) is not None:
                yield key, self._routes.api.members(entry), self._activity(entry)

    def _activity(self, entry: RouteEntry) -> Activity:
        return entry.activity or Activity(last=self._stamps.now())


def _place(key: str) -> str:
    return table_key(key, by_host=False)


def _key(place: str) -> str | None:
    """Return the API's key of a table's key; None where it has none."""
    if "%" not in place:
        return place
    key = unquote(place, errors="replace")
    try:
        return key if _place(key) == place else None
    except InvalidKey:
        return None
