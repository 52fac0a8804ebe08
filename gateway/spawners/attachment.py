"""The notebooks' network made ready: there, with the gateway on it, and httpd if need be.

What the network is made of is network.py's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

from gateway.spawners.containers import Containers
from gateway.spawners.engine import EngineRefused
from gateway.spawners.network import NotebookNetwork, gateway_address, httpd_address
from gateway.spawners.placing import Placing

T = TypeVar("T")


class Attachment:
    """Who has to be on the notebooks' network besides notebooks."""

    def __init__(self, containers: Containers, placing: Placing, network: NotebookNetwork) -> None:
        self._containers = containers
        self._placing = placing
        self._network = network
        self._ready = False
        self._working = asyncio.Lock()

    async def ready(self) -> None:
        """Make the network, and put the gateway on it where it runs in a container. Idempotent.

        Raises:
            EngineUnavailable, EngineError.
        """
        async with self._working:
            if not self._ready:
                await self._make()

    async def _make(self) -> None:
        self._ready = False
        own = (await self._placing.surroundings()).container
        await self._network.ensure()
        if own is not None:
            await self._network.connect(own, gateway_address(self._network.subnet))
        self._ready = True

    async def with_network(
        self, ask: Callable[[], Awaitable[T]], container: str = "", address: str = ""
    ) -> T:
        """Return what `ask` does; where the network has been removed, once more on a new one.

        Prunes remove networks on which nothing runs. A stopped container knows the one that it was
        on by its id, and is put on the new one.

        Args:
            ask: the engine for something that needs the network.
            container: what it is asked about, where that is one.
            address: its address.

        Raises:
            EngineUnavailable, EngineError.
        """
        try:
            return await ask()
        except EngineRefused as error:
            if not error.network_missing:
                raise
            by_id = self._network.name not in error.explanation
        async with self._working:
            await self._make()
        if container and by_id:
            await self._network.connect(container, address)
        return await ask()

    async def join_httpd(self) -> None:
        """Put the httpd of the gateway's own compose project on the network, at httpd's address."""
        await self.ready()
        own = (await self._placing.surroundings()).container
        data = None if own is None else await self._containers.find(own)
        if data is None:
            return
        address = httpd_address(self._network.subnet)
        for container in await self._containers.httpd_of(data):
            await self.with_network(partial(self._network.connect, container, address))
