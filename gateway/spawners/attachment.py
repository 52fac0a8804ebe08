"""The notebooks' network made ready: there, with the gateway on it, and httpd if need be.

What the network is made of is network.py's.
"""

from __future__ import annotations

import asyncio

from gateway.spawners.containers import Containers
from gateway.spawners.network import NotebookNetwork, gateway_address, httpd_address
from gateway.spawners.placing import Placing


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
        surroundings = await self._placing.surroundings()
        async with self._working:
            if self._ready:
                return
            await self._network.ensure()
            if surroundings.container is not None:
                address = gateway_address(self._network.subnet)
                await self._network.connect(surroundings.container, address)
            self._ready = True

    async def join_httpd(self) -> None:
        """Put the httpd of the gateway's own compose project on the network, at httpd's address."""
        await self.ready()
        own = (await self._placing.surroundings()).container
        data = None if own is None else await self._containers.find(own)
        if data is None:
            return
        for container in await self._containers.httpd_of(data):
            await self._network.connect(container, httpd_address(self._network.subnet))
