"""The notebooks' network: one bridge, containers apart from each other, and its addresses.

The spawner assigns the addresses itself, least recently used first: engines give an address that
has just become free to the next container, and a route that still points at it would lead into
somebody else's notebook. `AddressPool` is pure; `NotebookNetwork` asks the engine.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections import deque
from collections.abc import Iterable
from typing import Any

from docker import APIClient
from docker.types import IPAMConfig, IPAMPool

from gateway.errors import EngineError
from gateway.spawners.docker_facts import assigned_address
from gateway.spawners.docker_spec import INSTALLATION
from gateway.spawners.engine import Engine, EngineRefused

log = logging.getLogger(__name__)

RESERVED = 16
_ATTEMPTS = 20
_PAUSE = 0.1
GATEWAY_HOST = 2
HTTPD_HOST = 3
_ICC = "com.docker.network.bridge.enable_icc"
_BRIDGE = "com.docker.network.bridge.name"

Json = dict[str, Any]
Subnet = ipaddress.IPv4Network


class AddressPool:
    """The free addresses of a subnet in the order in which they became free."""

    def __init__(self, subnet: Subnet, first: int = 0) -> None:
        """Fill the queue.

        Args:
            subnet: its first 16 addresses (the bridge's, the gateway's, httpd's, spare ones) and
                the broadcast address are never given out.
            first: how far to turn the queue at the start, so that a gateway that was started
                again does not give out the addresses of the last minutes.
        """
        last = subnet.num_addresses - 1
        self._free = deque(str(subnet[index]) for index in range(RESERVED, last))
        self._all = frozenset(self._free)
        self._free.rotate(-first)
        self._used: set[str] = set()

    def take(self) -> str | None:
        """Return the address that has been free for longest; None when all are in use."""
        while self._free:
            address = self._free.popleft()
            if address not in self._used:
                self._used.add(address)
                return address
        return None

    def use(self, addresses: Iterable[str]) -> None:
        """Take note that `addresses` are in use; take() steps over them."""
        self._used |= self._all.intersection(addresses)

    def release(self, address: str) -> None:
        """Put `address` at the end of the queue."""
        if address in self._used:
            self._used.discard(address)
            self._free.append(address)

    def keep_only(self, addresses: set[str]) -> None:
        """Release what is in use but not among `addresses`: somebody else removed containers."""
        for address in sorted(self._used - addresses):
            self.release(address)
        self.use(addresses)


def network_name(installation: str) -> str:
    """Return the name of the notebooks' network."""
    return f"nbgate-{installation}"


def bridge_name(installation: str) -> str:
    """Return the name of its bridge on the host, at most 15 characters; firewall rules use it."""
    return f"nbg-{installation[:8]}"


def gateway_address(subnet: Subnet) -> str:
    """Return the address of a gateway that runs in a container."""
    return str(subnet[GATEWAY_HOST])


def httpd_address(subnet: Subnet) -> str:
    """Return the address of an httpd that runs in a container."""
    return str(subnet[HTTPD_HOST])


def network_options(bridge: str) -> dict[str, str]:
    """Return the bridge driver's options: no traffic between containers, a name of our own."""
    return {_ICC: "false", _BRIDGE: bridge}


def check_network(data: Json, subnet: Subnet) -> None:
    """Refuse a network that was made with other options.

    Raises:
        EngineError: its subnet is another, or containers on it can reach each other.
    """
    name = data["Name"]
    found = [item.get("Subnet") for item in (data.get("IPAM") or {}).get("Config") or []]
    if found != [str(subnet)]:
        raise EngineError(
            f"Docker network {name} has subnet {', '.join(map(str, found)) or 'none'}, the "
            f"settings say {subnet}; set NBGATE_NETWORK_SUBNET to its subnet, or stop all "
            f"notebooks and `docker network rm {name}`"
        )
    if (data.get("Options") or {}).get(_ICC) != "false":
        raise EngineError(
            f"on Docker network {name} notebooks could reach each other; stop all notebooks and "
            f"`docker network rm {name}`: the gateway makes it anew"
        )


class NotebookNetwork:
    """The network of one installation on one engine."""

    def __init__(self, engine: Engine, installation: str, subnet: Subnet, first: int = 0) -> None:
        self.name = network_name(installation)
        self.bridge = bridge_name(installation)
        self.subnet = subnet
        self._installation = installation
        self._engine = engine
        self._pool = AddressPool(subnet, first)

    async def ensure(self) -> None:
        """Make the network if it is not there, and learn which addresses are in use.

        Raises:
            EngineError: it was made with other options, or its subnet overlaps another network.
        """
        try:
            found = await self._inspect()
        except EngineRefused as error:
            if not error.missing:
                raise
            found = await self._create()
        check_network(found, self.subnet)
        self._pool.use(await self._assigned())

    async def take(self) -> str:
        """Return an address for a new container.

        Raises:
            EngineError: all are in use.
        """
        address = self._pool.take()
        if address is None:
            self._pool.keep_only(await self._assigned())
            address = self._pool.take()
        if address is None:
            raise EngineError(
                f"all addresses of {self.subnet} are in use; stop notebooks, or give "
                f"NBGATE_NETWORK_SUBNET a larger network"
            )
        return address

    def release(self, address: str) -> None:
        """Take back the address of a container that was removed; "" is no address."""
        self._pool.release(address)

    async def connect(self, container: str, address: str) -> None:
        """Put a container (the gateway's own, httpd's) on the network; idempotent.

        Raises:
            EngineError: another container has `address`.
        """
        data = await self._engine.call(lambda api: api.inspect_container(container))
        if data["HostConfig"].get("NetworkMode") == "host":
            return  # it sees the bridge as the host does
        networks = data["NetworkSettings"]["Networks"]
        endpoint = networks.get(self.name)
        if endpoint is not None:
            if endpoint.get("IPAddress") == address:
                return
            await self._engine.call(
                lambda api: api.disconnect_container_from_network(container, self.name)
            )
        await self._engine.call(
            lambda api: api.connect_container_to_network(container, self.name, ipv4_address=address)
        )
        log.info("connected container=%s network=%s address=%s", container, self.name, address)

    async def _inspect(self) -> Json:
        found: Json = await self._engine.call(lambda api: api.inspect_network(self.name))
        return found

    async def _create(self) -> Json:
        try:
            await self._engine.call(self._ask_for_network)
        except EngineRefused as error:
            if not error.says("overlap", "already exists", "same bridge name"):
                raise
            found = await self._made_by_somebody_else()
            if found is not None:
                return found
            if not error.says("overlap"):
                raise
            raise EngineError(
                f"subnet {self.subnet} overlaps another Docker network; choose one that is free "
                f"in NBGATE_NETWORK_SUBNET"
            ) from error
        log.info("made network=%s subnet=%s bridge=%s", self.name, self.subnet, self.bridge)
        return await self._inspect()

    async def _made_by_somebody_else(self) -> Json | None:
        """Return the network that another gateway makes at this moment; None when none does.

        The engine reserves the subnet some time before the network can be seen.
        """
        for _ in range(_ATTEMPTS):
            try:
                return await self._inspect()
            except EngineRefused as error:
                if not error.missing:
                    raise
            await asyncio.sleep(_PAUSE)
        return None

    def _ask_for_network(self, api: APIClient) -> None:
        pool = IPAMPool(subnet=str(self.subnet), gateway=str(self.subnet[1]))
        api.create_network(
            self.name,
            driver="bridge",
            options=network_options(self.bridge),
            ipam=IPAMConfig(pool_configs=[pool]),
            check_duplicate=True,
            labels={INSTALLATION: self._installation},
        )

    async def _assigned(self) -> set[str]:
        """Return the addresses of all containers on the network, exited ones too."""
        found = await self._engine.call(
            lambda api: api.containers(all=True, filters={"network": self.name})
        )
        return {address for item in found if (address := assigned_address(item, self.name))}
