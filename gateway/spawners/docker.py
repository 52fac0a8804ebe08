"""The Docker spawner: one container per notebook, its name the lock.

The rules of a start are in `start`; what a container is made of is in docker_spec.py, what the
engine's answers mean in docker_facts.py, addresses in network.py, docker-py in engine.py.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.errors import EngineError, ImageMissing, NameTaken
from gateway.spawners.base import Mode, Observe, Server, ServerSpec, ServerState, unobserved
from gateway.spawners.containers import Containers
from gateway.spawners.docker_facts import (
    assigned_address,
    belongs_to,
    server_from_inspect,
    server_from_summary,
    state_of,
)
from gateway.spawners.docker_spec import (
    COMPOSE_PROJECT,
    GENERATION,
    INSTALLATION,
    ROLE,
    SPEC,
    Image,
    Place,
    container_config,
)
from gateway.spawners.engine import Engine, EngineRefused
from gateway.spawners.network import NotebookNetwork, gateway_address, httpd_address
from gateway.spawners.surroundings import ModeSetting, Surroundings, look_around

log = logging.getLogger(__name__)

Json = dict[str, Any]

_ATTEMPTS = 20


@dataclass(frozen=True, slots=True)
class DockerOptions:
    """What the spawner is told once.

    Attributes:
        installation: the gateway's installation id; gateways that share it share containers.
        spaces_dir: the root of the spaces as the gateway sees it.
        spaces_host_dir: the same folder as the engine's host sees it; None means it is found
            out from the gateway's own mounts; without a container of its own it is the same.
        docker_host: the engine; "" means DOCKER_HOST, else the local socket.
        mode: dev: ports published on 127.0.0.1; prod: addresses on the network; auto: found out.
        subnet: of the notebooks' network.
        pids: limit of processes per container.
    """

    installation: str
    spaces_dir: Path
    spaces_host_dir: Path | None = None
    docker_host: str = ""
    mode: ModeSetting = "auto"
    subnet: str = "10.213.0.0/20"
    pids: int = 512


class DockerSpawner:
    """Implements base.Spawner on one Docker Engine."""

    name = "docker"

    def __init__(
        self,
        options: DockerOptions,
        engine_id: str = "local",
        observe: Observe = unobserved,
    ) -> None:
        self.engine_id = engine_id
        self._observe = observe
        self.engine = Engine(options.docker_host)
        self._containers = Containers(self.engine)
        self._options = options
        self._root = options.spaces_dir.absolute()
        subnet = ipaddress.IPv4Network(options.subnet)
        turn = random.randrange(subnet.num_addresses)  # noqa: S311  spreads, guards nothing
        self.network = NotebookNetwork(self.engine, options.installation, subnet, turn)
        self._surroundings: Surroundings | None = None
        self._networked = False
        self._preparing = asyncio.Lock()

    async def open(self) -> None:
        """Find out where the gateway runs and make the network ready; start() does it else.

        Raises:
            EngineUnavailable, EngineError.
        """
        surroundings = await self.surroundings()
        async with self._preparing:
            if not self._networked:
                await self.network.ensure()
                if surroundings.container is not None:
                    own, address = surroundings.container, gateway_address(self.network.subnet)
                    await self.network.connect(own, address)
                self._networked = True

    async def join_httpd(self) -> None:
        """Put the httpd of the gateway's own compose project on the network, at httpd's address.

        Needed where httpd sends hot routes straight to the containers. Idempotent; does nothing
        where the gateway runs in no container, or there is no httpd.
        """
        await self.open()
        own = (await self.surroundings()).container
        data = None if own is None else await self._containers.find(own)
        if data is None:
            return
        project = (data["Config"].get("Labels") or {}).get(COMPOSE_PROJECT, "")
        labels = [f"{ROLE}=httpd", f"{COMPOSE_PROJECT}={project}"]
        found = await self.engine.call(lambda api: api.containers(filters={"label": labels}))
        for item in found:
            await self.network.connect(item["Id"], httpd_address(self.network.subnet))

    @property
    def mode(self) -> Mode:
        """The mode in force; unknown until the engine was reached once."""
        found = self._surroundings
        return "unknown" if found is None else "prod" if found.prod else "dev"

    async def detect_mode(self) -> Mode:
        """Return the mode in force; see base.Spawner.detect_mode."""
        await self.surroundings()
        return self.mode

    async def start(self, spec: ServerSpec) -> Server:
        """Make `spec`'s server run, or join the one that does; see base.Spawner.start."""
        await self.open()
        image = await self._containers.image(spec.image)
        for _ in range(_ATTEMPTS):
            server = await self._try_start(spec, image)
            if server is not None:
                return server
        raise EngineError(
            f"container {spec.slug!r} could not be started: something else changes it all the time"
        )

    async def fits(self, server: Server, spec: ServerSpec) -> bool:
        """Whether `start` would start that ended server again; see base.Spawner.fits."""
        data = await self._containers.find(server.id)
        try:
            image = await self._containers.image(spec.image)
        except ImageMissing:
            return False
        return data is not None and await self._fits(data, spec, image)

    async def inspect(self, slug: str) -> Server | None:
        """Return the facts about `slug`'s server, or None when the engine has none of ours."""
        data = await self._containers.find(slug)
        if data is None or not self._ours(data, slug):
            return None
        return await self._facts(data)

    async def list(self) -> Sequence[Server]:
        """Return all servers of this installation, running or not."""
        prod = (await self.surroundings()).prod
        label = f"{INSTALLATION}={self._options.installation}"
        found = await self.engine.call(
            lambda api: api.containers(all=True, filters={"label": [label]})
        )
        servers = []
        for item in found:
            if state_of(item["State"]) is ServerState.EXITED:
                data = await self._containers.find(item["Id"])  # only this tells why it ended
                if data is not None:
                    servers.append(await self._facts(data))
            else:
                servers.append(server_from_summary(item, self.network.name, prod=prod))
        return servers

    async def stop(self, server: Server, grace: float) -> None:
        """End and remove the server, by its id; see base.Spawner.stop."""
        data = await self._containers.find(server.id)
        if data is None or data["Id"] != server.id:
            return
        await self._containers.stop(server.id, grace)
        await self._remove(data)
        log.info("removed slug=%s container=%s", server.slug, server.id[:12])

    async def logs(self, server: Server, lines: int) -> str:
        """Return the last `lines` lines of its output; "" when there is none any more."""
        return await self._containers.logs(server.id, lines)

    async def close(self) -> None:
        """Let go of the engine; servers go on running."""
        await self.engine.close()

    async def surroundings(self) -> Surroundings:
        """Return what was found out about the gateway itself; asks the engine once."""
        async with self._preparing:
            if self._surroundings is None:
                options = self._options
                self._surroundings = await look_around(
                    self.engine, options.mode, self._root, options.spaces_host_dir
                )
            return self._surroundings

    async def _try_start(self, spec: ServerSpec, image: Image) -> Server | None:
        """Go one step from what is there towards a running server; None: look again."""
        data = await self._containers.find(spec.slug)
        if data is None:
            return await self._create_and_start(spec, image)
        if not self._ours(data, spec.slug):
            raise NameTaken(spec.slug)
        state = state_of(data["State"]["Status"])
        if state is ServerState.REMOVING:
            await self._containers.gone(data["Id"])
            return None
        if state is ServerState.RUNNING:
            return await self._join(data)
        if await self._fits(data, spec, image):
            return await self._start_container(
                data["Id"], assigned_address(data, self.network.name)
            )
        await self._remove(data)
        return None

    async def _create_and_start(self, spec: ServerSpec, image: Image) -> Server | None:
        address = await self.network.take()
        container = None
        try:
            config = container_config(spec, image, await self._place(spec, address))
            began = time.monotonic()
            container = await self._containers.create(config, spec.slug)
            self._observe("create", time.monotonic() - began)
        finally:
            if container is None:
                self.network.release(address)
        if container is None:
            return None  # somebody else made it at this moment: join that one
        log.info("made slug=%s container=%s address=%s", spec.slug, container[:12], address)
        return await self._start_container(container, address)

    async def _start_container(self, container: str, address: str) -> Server | None:
        """Start it; "already started" is success. None when it has to be made anew."""
        try:
            began = time.monotonic()
            await self.engine.call(lambda api: api.start(container))
            self._observe("start", time.monotonic() - began)
        except EngineRefused as error:
            if error.missing:
                return None
            await self._containers.remove(container)
            if error.says("address already in use"):
                log.warning("address is somebody else's address=%s", address)
                return None  # it stays marked as used
            self.network.release(address)
            raise
        data = await self._containers.find(container)
        return None if data is None else await self._facts(data)

    async def _join(self, data: Json) -> Server:
        if data["State"]["Status"] == "paused":
            await self.engine.call(lambda api: api.unpause(data["Id"]))
        return await self._facts(data)

    async def _place(self, spec: ServerSpec, address: str) -> Place:
        surroundings = await self.surroundings()
        status = await asyncio.to_thread(spec.space.stat)
        if status.st_uid == 0:
            raise EngineError(
                f"space {spec.space} belongs to root, and notebooks never run as root; "
                f"`chown -R 1000:1000 {spec.space}`"
            )
        root = self._root
        if not spec.space.absolute().is_relative_to(root):
            raise EngineError(f"space {spec.space} is outside of the spaces' root {root}")
        return Place(
            installation=self._options.installation,
            user=status.st_uid,
            group=status.st_gid,
            space=surroundings.host_root / spec.space.absolute().relative_to(root),
            network=self.network.name,
            address=address,
            publish=not surroundings.prod,
            pids=self._options.pids,
        )

    async def _fits(self, data: Json, spec: ServerSpec, image: Image) -> bool:
        labels = data["Config"]["Labels"]
        wanted = container_config(spec, image, await self._place(spec, ""))["Labels"]
        return all(labels.get(name) == wanted[name] for name in (GENERATION, SPEC))

    def _ours(self, data: Json, slug: str) -> bool:
        return belongs_to(data["Config"].get("Labels"), self._options.installation, slug)

    async def _facts(self, data: Json) -> Server:
        prod = (await self.surroundings()).prod
        return server_from_inspect(data, self.network.name, prod=prod)

    async def _remove(self, data: Json) -> None:
        await self._containers.remove(data["Id"])
        self.network.release(assigned_address(data, self.network.name))
