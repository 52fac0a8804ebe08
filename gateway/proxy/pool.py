"""Upstream connections that wait for their next request, by address.

The pool opens, lends, takes back and closes; what happens on a connection while it is lent is
upstream.py's. Foreign connect errors are translated here, once.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
from typing import Final, cast

from gateway.errors import UpstreamTimeout, UpstreamUnreachable
from gateway.proxy.interface import Clock, monotonic
from gateway.proxy.repeated import ResponseReader
from gateway.proxy.upstream import Upstream
from routes.keys import Target

Address = tuple[str, int, str] | str
"""(host, port, scheme), or the path of a Unix socket."""

_FRESH_SECONDS: Final = 1.0


def address_of(target: Target) -> Address:
    """Return where connections to `target` go."""
    return target.socket or (target.host, target.port, target.scheme)


class Slot:
    """The connections to one address; each connection knows its slot.

    Attributes:
        idle: free ones, the one used last at the end.
        lent: how many are in use.
        retired: the address was forgotten, what comes back is closed.
    """

    __slots__ = ("_pool", "idle", "lent", "retired")

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self.idle: list[Upstream] = []
        self.lent = 0
        self.retired = False

    def opened(self, upstream: Upstream) -> None:
        """Note that a connection is open; it is lent."""
        self._pool.opened(self, upstream)

    def give_back(self, upstream: Upstream) -> None:
        """Take a connection that can carry another request."""
        self._pool.give_back(self, upstream)

    def lost(self, upstream: Upstream) -> None:
        """Note that a connection is closed, or was taken for a tunnel."""
        self._pool.lost(self, upstream)


class Pool:
    """Free upstream connections.

    Args:
        connect_timeout: seconds until a connection attempt is given up.
        idle_seconds: a connection that was free for longer is not used again.
        idle_limit: how many free ones are kept for one address.
        total_limit: how many free ones are kept in all.
        clock: monotonic seconds.
        pages: the Unix socket of the gateway's own application. Another address that leads there,
            or to a socket beside it, is not connected to.

    Attributes:
        tls: what speaks TLS with `https` targets, at each new connection; None for the defaults,
            with the system's certificate authorities.
    """

    def __init__(
        self,
        connect_timeout: float,
        idle_seconds: float,
        *,
        idle_limit: int = 256,
        total_limit: int = 2048,
        clock: Clock = monotonic,
        pages: str = "",
    ) -> None:
        self.tls: ssl.SSLContext | None = None
        self._pages = pages
        self._connect_timeout = connect_timeout
        self._idle_seconds = idle_seconds
        self._idle_limit = idle_limit
        self._total_limit = total_limit
        self._clock = clock
        self._slots: dict[Address, Slot] = {}
        self._open: set[Upstream] = set()
        self._free = 0
        self._sweeper: asyncio.TimerHandle | None = None
        self._closed = False
        self._heads = ResponseReader()
        self._emptied = asyncio.Event()

    def acquire(self, address: Address, *, replayable: bool) -> Upstream | None:
        """Lend a free connection to `address`; None when there is none.

        Args:
            address: where to.
            replayable: whether the request may be sent again. One that may not takes only a
                connection that was in use a moment ago: the upstream may be about to close it.
        """
        slot = self._slots.get(address)
        if slot is None:
            return None
        idle = slot.idle
        while idle and idle[-1].closing():
            idle[-1].close()
        if not idle:
            return None
        upstream = idle[-1]
        allowed = self._idle_seconds if replayable else min(_FRESH_SECONDS, self._idle_seconds)
        if self._clock() - upstream.idle_since > allowed:
            return None
        idle.pop()
        self._free -= 1
        slot.lent += 1
        upstream.free, upstream.reused = False, True
        return upstream

    async def connect(self, address: Address) -> Upstream:
        """Open a connection and lend it.

        Raises:
            UpstreamUnreachable: it was refused or failed.
            UpstreamTimeout: it was not there in time.
        """
        slot = self._slots.get(address)
        if slot is None:
            slot = self._slots[address] = Slot(self)
        upstream = await self._open_connection(address, slot)
        if upstream.closing():
            raise UpstreamUnreachable("the upstream closed the connection at once")
        return upstream

    async def _open_connection(self, address: Address, slot: Slot) -> Upstream:
        loop = asyncio.get_running_loop()
        upstream = Upstream(slot, self._heads)
        protocol = cast("asyncio.Protocol", upstream)
        try:
            async with asyncio.timeout(self._connect_timeout):
                if isinstance(address, str):
                    made = await loop.create_unix_connection(lambda: protocol, address)
                else:
                    host, port, scheme = address
                    tls = self._tls_for(scheme)
                    made = await loop.create_connection(lambda: protocol, host, port, ssl=tls)
        except TimeoutError as error:
            raise UpstreamTimeout(self._connect_timeout) from error
        except OSError as error:
            raise UpstreamUnreachable("the upstream does not accept connections") from error
        if isinstance(address, str) and address != self._pages and self._is_own(made[0]):
            upstream.abort()
            raise UpstreamUnreachable("the target is one of the gateway's own sockets")
        return upstream

    def _tls_for(self, scheme: str) -> ssl.SSLContext | None:
        if scheme == "https" and self.tls is None:
            self.tls = ssl.create_default_context()
        return self.tls if scheme == "https" else None

    def _is_own(self, transport: asyncio.BaseTransport) -> bool:
        """Tell by the name that the listener bound itself to: a link cannot change that one."""
        name = transport.get_extra_info("peername")
        bound = os.fsdecode(name) if isinstance(name, str | bytes) else ""
        own = self._pages.rpartition("/")[0]
        return bool(own) and bound.rpartition("/")[0] == own

    def opened(self, slot: Slot, upstream: Upstream) -> None:
        """Note a new connection, which is lent."""
        slot.lent += 1
        self._open.add(upstream)

    def give_back(self, slot: Slot, upstream: Upstream) -> None:
        """Take back a connection that can carry another request; close it if not wanted."""
        full = len(slot.idle) >= self._idle_limit or self._free >= self._total_limit
        slot.lent -= 1
        slot.idle.append(upstream)
        self._free += 1
        upstream.free, upstream.idle_since = True, self._clock()
        if full or self._closed or slot.retired:
            upstream.close()
        elif self._sweeper is None:
            self._sweep_later()

    def lost(self, slot: Slot, upstream: Upstream) -> None:
        """Strike a connection out that is closed or became a tunnel."""
        if upstream.free:
            slot.idle.remove(upstream)
            self._free -= 1
        else:
            slot.lent -= 1
        self._open.discard(upstream)
        if self._closed and not self._open:
            self._emptied.set()

    def forget(self, target: Target) -> None:
        """Drop what is open to `target`: free connections now, lent ones when they come back."""
        slot = self._slots.pop(address_of(target), None)
        if slot is not None:
            slot.retired = True
            self._close_idle(slot, before=None)

    async def close(self, grace: float = 1.0) -> None:
        """Close all connections, lent ones too, and wait until they are closed.

        Args:
            grace: seconds to wait at most.
        """
        self._closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
        for upstream in tuple(self._open):
            upstream.abort()
        if self._open:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(grace):
                    await self._emptied.wait()

    def _sweep_later(self) -> None:
        delay = max(self._idle_seconds / 2, 0.05)
        self._sweeper = asyncio.get_running_loop().call_later(delay, self._sweep)

    def _sweep(self) -> None:
        """Close what was free for too long; drop addresses that nothing is open to."""
        self._sweeper = None
        oldest = self._clock() - self._idle_seconds
        for address, slot in tuple(self._slots.items()):
            self._close_idle(slot, before=oldest)
            if not slot.idle and not slot.lent:
                slot.retired = True
                del self._slots[address]
        if self._slots:
            self._sweep_later()

    def _close_idle(self, slot: Slot, *, before: float | None) -> None:
        """Close the free ones of `slot` that were given back before that time; None: all."""
        for upstream in tuple(slot.idle):
            if before is None or upstream.idle_since < before:
                upstream.close()
