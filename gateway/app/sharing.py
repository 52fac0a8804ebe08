"""What a gateway does because others may share its database, from its parts."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from gateway.activation.following import Following, Follows
from gateway.activation.leadership import Leadership
from gateway.activation.presence import Presence
from gateway.activation.routing import RouteService
from gateway.app.base import Base
from gateway.app.chores import lasting
from gateway.notebooks.catalogue import Catalogue
from gateway.proxy.interface import Activity, RouteEntry
from gateway.settings import Settings


@dataclass(frozen=True, slots=True)
class Sharing:
    """This gateway among those that share its database."""

    leadership: Leadership
    presence: Presence
    following: Following

    def chores(self) -> Iterator[asyncio.Task[None]]:
        """Begin what goes on until the gateway ends."""
        yield lasting("leadership", self.leadership.run)
        yield lasting("presence", self.presence.run)
        yield lasting("following", self.following.run)


async def open_sharing(
    settings: Settings,
    base: Base,
    routes: RouteService,
    lifecycle: Follows,
    stack: contextlib.AsyncExitStack,
) -> Sharing:
    """Take part; `stack` leaves again.

    Raises:
        DatabaseError: the database cannot be written.
    """

    def entry_of(slug: str) -> RouteEntry | None:
        return routes.entry(base.namespace.key(slug))

    # No two gateways use one state folder at once: they would share the route file.
    name = f"{socket.gethostname()}:{settings.state_dir.absolute()}"
    activities = partial(_activities, base.catalogue, entry_of)
    presence = Presence(base.database, base.gateway, name, activities)
    leadership = Leadership(base.database, base.gateway)
    following = Following(
        base.database,
        base.catalogue,
        base.sessions,
        lifecycle,
        entry_of,
        lambda: bool(presence.others),
    )
    # The others follow from now on what this one changes, and it what they do. What they changed
    # since its tables were loaded is among the last notes, which it looks at again.
    await following.begin()
    await presence.begin()
    stack.push_async_callback(presence.close)
    stack.push_async_callback(leadership.close)
    stack.push_async_callback(following.close)
    return Sharing(leadership, presence, following)


def _activities(
    catalogue: Catalogue, entry_of: Callable[[str], RouteEntry | None]
) -> Mapping[str, Activity]:
    entries = (entry_of(book.slug) for book in catalogue.notebooks())
    return {
        entry.slug: entry.activity
        for entry in entries
        if entry is not None and entry.slug is not None and entry.activity is not None
    }
