"""A worker: the data path over a copy of the routes, `python -m gateway.chp_fleet.worker SEAT`."""

from __future__ import annotations

import contextlib
import json
import logging
import ssl
import sys

from gateway.chp import logs
from gateway.chp.datapath import DRAIN_SECONDS, DataPath
from gateway.chp.gate import CopyGate
from gateway.chp.listening import listening_tls
from gateway.chp.tally import Tally
from gateway.chp_fleet.passing import Passed
from gateway.loop import run
from gateway.traffic import Traffic
from gateway.workers.member import Member
from gateway.workers.remote import Refused, Remote
from gateway.workers.replica import Replica
from gateway.workers.supervisor import WorkerSeat
from gateway.workers.tally import Reporter
from routes.keys import Target

logger = logging.getLogger("gateway.chp_fleet.worker")


class Worker:
    """The parts of a worker.

    Args:
        seat: where it stands.
        passed: what it was told.
    """

    def __init__(self, seat: WorkerSeat, passed: Passed) -> None:
        options = passed.options
        tally, traffic = Tally(), Traffic()
        replica = Replica(self._forget)
        gate = CopyGate(replica.table, by_host=options.host_routing)
        self._path = DataPath(options, gate, tally, traffic)
        reporter = Reporter(traffic, replica.activities, tally.counts)
        remote = Remote(passed.socket, passed.fleet, replica, reporter, str)

        async def tls(stack: contextlib.AsyncExitStack) -> ssl.SSLContext | None:
            return listening_tls(options.tls, stack)

        self._member = Member(seat, options.workers, remote, self._path.server, tls, DRAIN_SECONDS)

    async def work(self) -> None:
        """See Member."""
        async with contextlib.AsyncExitStack() as stack:
            self._path.open(stack)
            await self._member.work()

    def _forget(self, target: Target) -> None:
        self._path.server.forget(target)


async def _work(seat: WorkerSeat, passed: Passed) -> None:
    await Worker(seat, passed).work()


def main(arguments: list[str]) -> int:
    """Run a worker; return the exit code."""
    passed = Passed.take()
    logs.configure(passed.options.log_level)
    try:
        run(_work(WorkerSeat(**json.loads(arguments[0])), passed))
    except Refused as error:
        logger.error("control sent this worker away: %s", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
