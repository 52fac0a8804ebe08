"""A worker process: the data path over a copy of control's tables. Its composition root.

It is started as `python -m gateway.workers.worker OPTIONS`, and imports neither the engine nor the
database nor the pages, so that it is small and up again quickly.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Collection

from gateway import logs
from gateway.access import AccessGate
from gateway.launch.cookies import GATEWAY_COOKIES
from gateway.loop import run
from gateway.proxy.accesslog import open_access_log
from gateway.proxy.server import ProxyServer
from gateway.proxy.tls import open_tls
from gateway.traffic import Traffic
from gateway.workers.member import Member
from gateway.workers.options import WorkerOptions
from gateway.workers.remote import Refused, Remote
from gateway.workers.replica import Replica
from gateway.workers.supervisor import WorkerSeat
from gateway.workers.tally import Reporter
from routes.keys import Target

logger = logging.getLogger("gateway.workers.worker")


class Worker:
    """The parts of a worker.

    Args:
        options: what it was told.
        stack: closes what outlives the connections.
    """

    def __init__(self, options: WorkerOptions, stack: contextlib.AsyncExitStack) -> None:
        traffic = Traffic()
        namespace = options.namespace
        replica = Replica(self._forget, self._end_sessions, self._end_use)
        reporter = Reporter(traffic, replica.activities)
        remote = Remote(options.control_path, options.fleet, replica, reporter, namespace.key)
        gate = AccessGate(
            replica.table,
            replica.sessions,
            namespace,
            remote.ensure,
            remote.suspected,
            options.hold_timeout,
        )
        self._server = ProxyServer(
            gate,
            options.limits,
            options.pages_path,
            traffic,
            trusted=options.networks,
            gateway_cookies=GATEWAY_COOKIES,
            user_headers=options.user_headers,
            access_log=open_access_log(options.access_log, options.access_log_file, stack),
        )
        self._member = Member(
            WorkerSeat(options.lifeline, options.listeners, options.board, options.slot),
            options.workers,
            remote,
            self._server,
            lambda stack: open_tls(*options.tls, stack),
            options.drain_seconds,
        )

    async def work(self) -> None:
        """See Member."""
        await self._member.work()

    def _forget(self, target: Target) -> None:
        self._server.forget(target)

    def _end_sessions(self, session_ids: Collection[str]) -> None:
        self._server.end_sessions(session_ids)

    def _end_use(self, key: str, people: frozenset[str]) -> None:
        self._server.end_use(key, people)


async def _work(options: WorkerOptions) -> None:
    async with contextlib.AsyncExitStack() as stack:
        await Worker(options, stack).work()


def main(arguments: list[str]) -> int:
    """Run a worker; return the exit code."""
    options = WorkerOptions.load(arguments[0])
    logs.configure(options.log_level, options.log_format)
    try:
        run(_work(options))
    except Refused as error:
        logger.error("control sent this worker away reason=%s", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
