"""A data path behind TLS, and clients that speak it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.proxy.interface import ProxyLimits
from gateway.proxy.tls import load_pair
from tests.proxy.certificates import Pair
from tests.proxy.harness import Rig
from tests.proxy.upstreams import Upstream
from tests.proxy.wire import Wire
from tests.support.waiting import PATIENCE


def loud(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what the log has of warnings and tracebacks."""
    return [
        record.getMessage()
        for record in caplog.records
        if record.levelno >= logging.WARNING or record.exc_info
    ]


@contextlib.asynccontextmanager
async def secure(
    folder: Path, pair: Pair, upstream: Upstream, limits: ProxyLimits | None = None
) -> AsyncIterator[Rig]:
    """Run a data path behind TLS."""
    made = Rig(folder, upstream.target, limits or ProxyLimits(), ())
    await made.proxy.start("127.0.0.1", 0, tls=load_pair(pair.cert, pair.key))
    try:
        yield made
    finally:
        await made.proxy.stop(grace=0.0)
        for client in made.clients:
            await client.close()


class SecureWire(Wire):
    """A client's end over TLS."""

    def buffer_nothing(self) -> None:
        pass  # a TLS transport without a buffer would never be drained

    async def close(self) -> None:
        # asyncio's transport cannot be asked anything once it is closed twice.
        self.writer.transport.abort()
        with contextlib.suppress(ConnectionError, TimeoutError, ssl.SSLError):
            async with asyncio.timeout(PATIENCE):
                await self.writer.wait_closed()


async def connect(rig: Rig, pair: Pair) -> Wire:
    """Return a client's TLS connection."""
    opened = await asyncio.open_connection("127.0.0.1", rig.port, limit=2**20, ssl=pair.client())
    wire = SecureWire(*opened)
    rig.clients.append(wire)
    return wire


async def ask(rig: Rig, pair: Pair, data: bytes) -> int:
    """Send a request over a connection of its own; return the status."""
    async with await connect(rig, pair) as client:
        await client.send(data)
        return (await client.response()).status
