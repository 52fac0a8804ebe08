"""This gateway among those that share the database: alive, and what the traffic at each is.

What is open at a gateway that has not been heard of for a while counts no more; its last signs of
people do. Without another gateway nothing but a sign of life is written.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from gateway.activation.weighing import Traffic
from gateway.errors import GatewayError
from gateway.notebooks.database import Database
from gateway.notebooks.projects import utc_now
from gateway.notebooks.shared import ActivityRows, ChangeRows, GatewayRows, Use
from gateway.proxy.interface import Activity

logger = logging.getLogger(__name__)

BEAT_SECONDS = 5.0
_ALIVE_SECONDS = 30.0
_KEPT_SECONDS = 86400.0
_CHANGES_KEPT_SECONDS = 3600.0

Activities = Callable[[], Mapping[str, Activity]]


class Presence:
    """See the module's docstring.

    Args:
        database: open; shared by the gateways.
        gateway: the id of this run of this gateway.
        name: of it, for people; no other gateway has it, an earlier run of this one may.
        activities: the traffic of this gateway's notebooks, by slug.
        clock: monotonic seconds, the clock of `Activity.last`.
        now: the time in UTC.

    Attributes:
        lost: set when another gateway is gone; whoever goes on with its work clears it.
    """

    def __init__(
        self,
        database: Database,
        gateway: str,
        name: str,
        activities: Activities,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self.gateway = gateway
        self.lost = asyncio.Event()
        self._database = database
        self._name = name
        self._activities = activities
        self._clock = clock
        self._now = now
        self._others: Mapping[str, str] = {}
        self._reported: dict[str, tuple[float, int, int]] = {}

    @property
    def others(self) -> Mapping[str, str]:
        """The names, by id, of the other gateways that were alive a moment ago."""
        return self._others

    async def begin(self) -> None:
        """Say for the first time that this gateway is alive; its earlier runs are not.

        Raises:
            DatabaseError: it cannot be written.
        """
        async with self._database.writing() as connection:
            await GatewayRows(connection).supersede(self.gateway, self._name)
        await self.beat()

    async def beat(self) -> None:
        """Say that this gateway is alive; report what changed in its traffic.

        Raises:
            DatabaseError: it cannot be written.
        """
        async with self._database.writing() as connection:
            rows = GatewayRows(connection)
            await rows.beat(self.gateway, self._name)
            alive = await rows.alive(_ALIVE_SECONDS)
            changed = self._changed() if len(alive) > 1 else {}
            uses = {slug: self._use(*state) for slug, state in changed.items()}
            await ActivityRows(connection).report(self.gateway, uses)
        self._reported |= changed
        self._met({key: name for key, name in alive.items() if key != self.gateway})

    async def traffic(self) -> Mapping[str, Traffic]:
        """Return the traffic of every notebook, at all gateways together.

        Raises:
            DatabaseError: it cannot be read: what the others have is not known.
        """
        async with self._database.reading() as connection:
            alive = await GatewayRows(connection).alive(_ALIVE_SECONDS)
            uses = dict(await ActivityRows(connection).all(alive, without=self.gateway))
        for slug, activity in self._activities().items():
            own = self._use(activity.last, activity.requests, activity.websockets)
            uses[slug] = own.beside(uses.get(slug, Use()))
        now = self._now()
        return {slug: _traffic(use, now) for slug, use in uses.items()}

    async def sweep(self) -> None:
        """Remove what gateways and notebooks that are gone have left, and old notes of changes."""
        known = self._activities()
        self._reported = {slug: one for slug, one in self._reported.items() if slug in known}
        async with self._database.writing() as connection:
            await GatewayRows(connection).sweep(_KEPT_SECONDS)
            await ActivityRows(connection).sweep()
            await ChangeRows(connection).forget(_CHANGES_KEPT_SECONDS)

    async def run(self) -> None:
        """Beat until cancelled."""
        told = ""
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            try:
                await self.beat()
                told = ""
            except GatewayError as error:
                if told != str(error):
                    told = str(error)
                    logger.warning("other gateways hear nothing of this one reason=%s", told)

    async def close(self) -> None:
        """Say that this gateway ends."""
        try:
            async with self._database.writing() as connection:
                await GatewayRows(connection).leave(self.gateway)
        except GatewayError as error:
            logger.info("the other gateways are not told of the end reason=%s", error)

    def _changed(self) -> dict[str, tuple[float, int, int]]:
        changed = {}
        for slug, activity in self._activities().items():
            state = (activity.last, activity.requests, activity.websockets)
            if self._reported.get(slug, (0.0, 0, 0)) != state:
                changed[slug] = state
        return changed

    def _use(self, last: float, requests: int, websockets: int) -> Use:
        quiet = max(0.0, self._clock() - last) if last else None
        return Use(quiet, requests, websockets)

    def _met(self, others: Mapping[str, str]) -> None:
        for key in others.keys() - self._others.keys():
            logger.info("another gateway shares the database name=%s id=%s", others[key], key)
        for key in self._others.keys() - others.keys():
            logger.info("another gateway is gone name=%s id=%s", self._others[key], key)
            self.lost.set()
        self._others = others


def _traffic(use: Use, now: datetime) -> Traffic:
    last = None if use.quiet is None else now - timedelta(seconds=use.quiet)
    return Traffic(last, use.requests, use.websockets)
