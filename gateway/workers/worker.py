"""A worker process: the data path over a copy of control's tables. Its composition root.

It is started as `python -m gateway.workers.worker OPTIONS`, and imports neither the engine nor the
database nor the pages, so that it is small and up again quickly.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import sys

from gateway import logs
from gateway.access import AccessGate
from gateway.launch.cookies import GATEWAY_COOKIES
from gateway.loop import heed_signals, run
from gateway.proxy.accesslog import open_access_log
from gateway.proxy.server import ProxyServer
from gateway.proxy.tls import open_tls
from gateway.traffic import Traffic
from gateway.workers.acceptor import Acceptor
from gateway.workers.board import Board
from gateway.workers.lifeline import Lifeline
from gateway.workers.options import WorkerOptions
from gateway.workers.remote import Refused, Remote
from gateway.workers.replica import Replica
from gateway.workers.tally import Reporter
from routes.keys import Target

logger = logging.getLogger("gateway.workers.worker")

_ORPHAN_SECONDS = 1.0


class Worker:
    """The parts of a worker.

    Args:
        options: what it was told.
        stack: closes what outlives the connections.
    """

    def __init__(self, options: WorkerOptions, stack: contextlib.AsyncExitStack) -> None:
        self._options = options
        self._board = Board(options.board, options.workers)
        self._stopping = asyncio.Event()
        self._grace = options.drain_seconds
        traffic = Traffic()
        namespace = options.namespace
        replica = Replica(self._forget)
        reporter = Reporter(traffic, replica.activities)
        self._remote = Remote(options.control_path, options.fleet, replica, reporter, namespace.key)
        gate = AccessGate(
            replica.table,
            replica.sessions,
            namespace,
            self._remote.ensure,
            self._remote.suspected,
            options.hold_timeout,
        )
        self._server = ProxyServer(
            gate,
            options.limits,
            options.pages_path,
            traffic,
            trusted=options.networks,
            gateway_cookies=GATEWAY_COOKIES,
            access_log=open_access_log(options.access_log, options.access_log_file, stack),
        )

    async def work(self) -> None:
        """Serve until told to stop, or the supervisor is gone.

        Raises:
            Refused: control sent this worker away; other errors are defects.
        """
        heed_signals(self._stopping.set)
        lifeline = await Lifeline.open(self._options.lifeline, self._orphaned)
        following = asyncio.create_task(self._remote.run(), name="control")
        following.add_done_callback(lambda _: self._stopping.set())
        try:
            # Before the first snapshot every route would be unknown.
            if await self._first(self._remote.ready):
                async with contextlib.AsyncExitStack() as stack:
                    await self._accept(stack)
                    await self._stopping.wait()
            await self._server.stop(self._grace)
            await self._remote.report()
        finally:
            lifeline.close()
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
        if not following.cancelled() and (error := following.exception()) is not None:
            raise error

    async def _accept(self, stack: contextlib.AsyncExitStack) -> None:
        options, server = self._options, self._server
        tls = await open_tls(*options.tls, stack)
        for descriptor in (options.listener, options.board):
            os.set_inheritable(descriptor, False)
        listener = socket.socket(fileno=options.listener)
        listener.setblocking(False)
        acceptor = Acceptor(
            listener,
            lambda connection: server.take(connection, tls),
            lambda: server.connections,
            self._board,
            options.slot,
        )
        server.on_left(acceptor.show)
        stack.push_async_callback(acceptor.close)
        acceptor.start()
        logger.info("worker serves")

    async def _first(self, event: asyncio.Event) -> bool:
        """Wait for `event` or the stop; return whether it was `event`."""
        waits = [asyncio.create_task(one.wait()) for one in (event, self._stopping)]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        return event.is_set() and not self._stopping.is_set()

    def _forget(self, target: Target) -> None:
        self._server.forget(target)

    def _orphaned(self) -> None:
        self._grace = min(self._grace, _ORPHAN_SECONDS)
        self._stopping.set()


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
