"""Which of the gateways that share a database leads: one of them culls.

A lease in the database, by the database's clock. Who has taken it counts from before it asked, by
a clock of its own that also runs while the machine sleeps, and a margin less: it stops leading
before another can begin. What the leader does is written so that a second leader for a moment,
where the database's clock is set, does no harm: a stop is of one container, and looks again first.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from gateway.errors import GatewayError
from gateway.notebooks.database import Database
from gateway.notebooks.shared import LeaseRows

logger = logging.getLogger(__name__)

LEASE_SECONDS = 30.0
_MARGIN = 0.8
_RENEWALS = 4


def awake() -> float:
    """Return monotonic seconds that count while the machine sleeps as well."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Leadership:
    """One gateway's claim to a lease.

    Args:
        database: open; shared by the gateways.
        gateway: the id of this run of this gateway.
        name: of the lease.
        seconds: how long it lasts without being renewed.
        clock: monotonic seconds, see awake.
    """

    def __init__(
        self,
        database: Database,
        gateway: str,
        name: str = "culler",
        seconds: float = LEASE_SECONDS,
        clock: Callable[[], float] = awake,
    ) -> None:
        self._database = database
        self._gateway = gateway
        self._name = name
        self._seconds = seconds
        self._clock = clock
        self._until = float("-inf")
        self._told = False

    def leads(self) -> bool:
        """Whether this gateway leads now. No I/O."""
        return self._clock() < self._until

    async def renew(self) -> bool:
        """Take the lease, or renew it; return whether this gateway leads.

        Raises:
            DatabaseError: it cannot be asked; what is left of the lease goes on.
        """
        asked = self._clock()
        async with self._database.writing() as connection:
            taken = await LeaseRows(connection).take(self._name, self._gateway, self._seconds)
        self._until = asked + self._seconds * _MARGIN if taken else float("-inf")
        self._tell()
        return self.leads()

    async def run(self) -> None:
        """Take the lease when it is free, and keep it, until cancelled."""
        failed = False
        while True:
            try:
                await self.renew()
                failed = False
            except GatewayError as error:
                if not failed:
                    logger.warning("lease not renewed name=%s reason=%s", self._name, error)
                failed = True
            self._tell()
            await asyncio.sleep(self._seconds / _RENEWALS)

    async def close(self) -> None:
        """Give the lease up, so that another need not wait for its end."""
        if not self.leads():
            return
        self._until = float("-inf")
        try:
            async with self._database.writing() as connection:
                await LeaseRows(connection).release(self._name, self._gateway)
        except GatewayError as error:
            logger.info("lease not given up, it runs out name=%s reason=%s", self._name, error)

    def _tell(self) -> None:
        leads = self.leads()
        if leads != self._told:
            self._told = leads
            logger.info("%s name=%s", "leads" if leads else "leads no more", self._name)
