"""The composition root of this mode in one process: Options → a running proxy."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from gateway.chp import administration, logs
from gateway.chp.datapath import DRAIN_SECONDS, DataPath
from gateway.chp.gate import HostGate, OpenGate
from gateway.chp.listening import listening_tls
from gateway.chp.options import Options
from gateway.chp.pidfile import write_pid
from gateway.chp.redirect import serve_redirect
from gateway.chp.signals import STOPPED, heed
from gateway.chp.sockets import told, unix_socket
from gateway.chp.tally import Tally
from gateway.loop import run as run_loop
from gateway.traffic import Traffic
from routes.keys import Target


def run(options: Options) -> int:
    """Serve until SIGTERM or SIGINT; return the exit code.

    Raises:
        InvalidInput: the proxy cannot start; one line for people.
    """
    logs.configure(options.log_level)
    run_loop(_serve(options))
    return STOPPED


async def _serve(options: Options) -> None:
    stopping = asyncio.Event()
    heed(stopping.set)
    async with running(options):
        await stopping.wait()


class Proxy:
    """The parts of a running proxy.

    Args:
        options: what it was told.

    Attributes:
        book: the routes.
        path, server: the data path, and its server.
        api_addresses, metrics_addresses: where those listen, once they do.

    Raises:
        InvalidInput: an option cannot be used.
    """

    def __init__(self, options: Options) -> None:
        self.options = options
        self.tally, self.traffic = Tally(), Traffic()
        self.api_addresses: list[Any] = []
        self.metrics_addresses: list[Any] = []
        self.book = administration.book_of(options, self._forget)
        gate = (HostGate if options.host_routing else OpenGate)(self.book.table)
        self.path = DataPath(options, gate, self.tally, self.traffic)
        self.server = self.path.server
        administration.put_default(self.book, options)

    def _forget(self, target: Target) -> None:
        self.server.forget(target)


@contextlib.asynccontextmanager
async def running(options: Options) -> AsyncIterator[Proxy]:
    """Run a proxy: it listens when entered, and is drained and closed when left.

    Raises:
        InvalidInput: it cannot start.
    """
    async with contextlib.AsyncExitStack() as stack:
        proxy = Proxy(options)
        book, tally = proxy.book, proxy.tally
        await administration.keep_in_file(book, options, stack)
        proxy.path.open(stack)
        administration.warn_without_token(options)
        write_pid(options.pid_file, stack)
        proxy.api_addresses = await administration.serve_api(book, tally, options, stack)
        proxy.metrics_addresses = await administration.serve_metrics(
            book, tally, proxy.traffic, options, stack
        )
        await _serve_public(proxy, stack)
        if options.redirect_port is not None:
            await serve_redirect(options, stack)
        yield proxy


async def _serve_public(proxy: Proxy, stack: contextlib.AsyncExitStack) -> None:
    options, place = proxy.options, proxy.options.public
    tls = listening_tls(options.tls, stack)
    if place.path:
        listener = unix_socket(place.path, stack)
        await proxy.server.start(sock=listener, tls=tls)
    else:
        with told(place):
            await proxy.server.start(place.host or None, place.port, tls=tls)
    stack.push_async_callback(proxy.server.stop, DRAIN_SECONDS)
    administration.say_proxying(options)
