"""The Docker spawner: one container per notebook, its name the lock.

The rules of a start are in `start`; what a container is made of is in docker_spec.py, what the
engine's answers mean in docker_facts.py, addresses in network.py, docker-py in engine.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import random
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Any

from gateway.errors import EngineError, EngineUnavailable, ImageMissing, NameTaken
from gateway.spawners import docker_events
from gateway.spawners.attachment import Attachment
from gateway.spawners.base import (
    Mode,
    Observe,
    OnPull,
    Server,
    ServerEvent,
    ServerSpec,
    ServerState,
    unobserved,
    untold,
)
from gateway.spawners.containers import Containers
from gateway.spawners.docker_facts import (
    assigned_address,
    belongs_to,
    has_own_name,
    is_dead,
    server_from_inspect,
    server_from_summary,
    state_of,
)
from gateway.spawners.docker_spec import (
    GENERATION,
    SLUG,
    SPEC,
    Image,
    container_config,
)
from gateway.spawners.engine import Engine, EngineRefused
from gateway.spawners.network import NotebookNetwork
from gateway.spawners.placing import DockerOptions, Placing
from gateway.spawners.pulls import Pulls
from gateway.spawners.removal import Removal
from gateway.spawners.surroundings import Surroundings

__all__ = ["DockerOptions", "DockerSpawner"]

log = logging.getLogger(__name__)

Json = dict[str, Any]

_ATTEMPTS = 20
_PAUSE = 0.01


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
        self._removal = Removal(self._containers)
        self._options = options
        subnet = ipaddress.IPv4Network(options.subnet)
        turn = random.randrange(subnet.num_addresses)  # noqa: S311  spreads, guards nothing
        self.network = NotebookNetwork(self.engine, options.installation, subnet, turn)
        self._placing = Placing(self.engine, options, self.network.name)
        self._attachment = Attachment(self._containers, self._placing, self.network)
        self._pulls = Pulls(self.engine, options.pull_silence)

    async def open(self) -> None:
        """Find out where the gateway runs and make the network ready; start() does it else.

        Raises:
            EngineUnavailable, EngineError.
        """
        await self._attachment.ready()

    async def join_httpd(self) -> None:
        """Put the httpd of the gateway's own compose project on the network, at httpd's address.

        Needed where httpd sends hot routes straight to the containers. Idempotent; does nothing
        where the gateway runs in no container, or there is no httpd.
        """
        await self._attachment.join_httpd()

    @property
    def mode(self) -> Mode:
        """The mode in force; unknown until the engine was reached once."""
        found = self._placing.known
        return "unknown" if found is None else "prod" if found.prod else "dev"

    async def detect_mode(self) -> Mode:
        """Return the mode in force; see base.Spawner.detect_mode."""
        await self.surroundings()
        return self.mode

    async def start(self, spec: ServerSpec, on_pull: OnPull | None = untold) -> Server:
        """Make `spec`'s server run, or join the one that does; see base.Spawner.start."""
        await self.open()
        image = await self._image(spec.image, on_pull)
        for attempt in range(_ATTEMPTS):
            server = await self._try_start(spec, image)
            if server is not None:
                return server
            # A name is taken a moment before the engine shows whose it is.
            await asyncio.sleep(_PAUSE * attempt)
        raise EngineError(
            f"container {spec.slug!r} could not be started: something else changes it all the time"
        )

    async def pull(self, image: str, on_pull: OnPull = untold) -> None:
        """Have the engine get an image; see base.Spawner.pull."""
        if self._options.pull == "never":
            raise ImageMissing(image)
        await self._pulls.get(image, on_pull)

    async def fits(self, server: Server, spec: ServerSpec) -> bool:
        """Whether `start` would start that ended server again; see base.Spawner.fits."""
        try:
            data = await self._containers.find(server.id)
            image = await self._containers.image(spec.image)
        except (ImageMissing, EngineRefused):
            return False
        return data is not None and await self._fits(data, spec, image)

    async def inspect(self, slug: str) -> Server | None:
        """Return the facts about `slug`'s server, or None when the engine has none of ours."""
        try:
            data = await self._containers.find(slug)
        except EngineRefused as error:
            item = await self._removal.ended(self._options.installation, slug, error)
            prod = (await self.surroundings()).prod
            return server_from_summary(item, self.network.name, prod=prod)
        if data is None or not belongs_to(data, self._options.installation, slug):
            return None
        return await self._facts(data)

    async def list(self) -> Sequence[Server]:
        """Return all servers of this installation, running or not."""
        prod = (await self.surroundings()).prod
        return [
            server_from_summary(item, self.network.name, prod=prod)
            for item in await self._containers.of(self._options.installation)
            if has_own_name(item)  # else it was set aside
        ]

    async def stop(self, server: Server, grace: float, *, keep: bool = False) -> None:
        """End the server, by its id, and remove it; see base.Spawner.stop."""
        data = await self._find_or_clear(server.id)
        if data is None or data["Id"] != server.id:
            return
        if state_of(data["State"]["Status"]) is ServerState.PAUSED:
            await self._containers.unpause(server.id)
        await self._containers.stop(server.id, grace)
        if not keep:
            await self._remove(data)
        word = "stopped" if keep else "removed"
        log.info("%s slug=%s container=%s", word, server.slug, server.id[:12])

    async def pause(self, server: Server) -> None:
        """Freeze the server; see base.Spawner.pause."""
        await self._containers.pause(server.id)
        log.info("paused slug=%s container=%s", server.slug, server.id[:12])

    @contextlib.asynccontextmanager
    async def watch(self, since: float | None) -> AsyncIterator[AsyncIterator[ServerEvent]]:
        """Follow what happens; see base.Spawner.watch.

        From a moment of the engine's, always: it begins to answer before it has subscribed, and
        only what was asked for by time is not lost between the two.
        """
        moment = (await self.engine.now()).timestamp() if since is None else since
        query = docker_events.query(self._options.installation, moment)
        async with (
            self.engine.stream("GET", "/events", query) as lines,
            contextlib.aclosing(self._events(lines)) as events,
        ):
            yield events

    async def _events(self, lines: AsyncIterator[Json]) -> AsyncGenerator[ServerEvent, None]:
        async for line in lines:
            if slug := docker_events.out_of_memory(line):
                log.warning("a process was killed: out of memory slug=%s", slug)
            event = docker_events.event_of(line)
            if event is not None:
                yield event
        raise EngineUnavailable(self.engine.address)

    async def execute(self, server: Server, command: Sequence[str], deadline: float) -> int | None:
        """Run a command in the server, as its user; see base.Spawner.execute."""
        return await self._containers.run(server.id, command, deadline)

    async def sweep(self, grace: float) -> Sequence[str]:
        """Remove what no start will use; see base.Spawner.sweep."""
        lines = []
        now = await self.engine.now()
        async for data, why in self._removal.swept(self._options.installation, now, grace):
            self.network.release(assigned_address(data, self.network.name))
            lines.append(f"{data['Config']['Labels'][SLUG]}: container {data['Id'][:12]} ({why})")
        return lines

    async def logs(self, server: Server, lines: int) -> str:
        """Return the last `lines` lines of its output; "" when there is none any more."""
        return await self._containers.logs(server.id, lines)

    async def close(self) -> None:
        """Let go of the engine; servers go on running, pulls are given up."""
        await self._pulls.close()
        await self.engine.close()

    async def surroundings(self) -> Surroundings:
        """Return what was found out about the gateway itself; asks the engine once."""
        return await self._placing.surroundings()

    async def _image(self, name: str, on_pull: OnPull | None) -> Image:
        try:
            return await self._containers.image(name)
        except ImageMissing:
            if on_pull is None:
                raise
        await self.pull(name, on_pull)
        return await self._containers.image(name)

    async def _try_start(self, spec: ServerSpec, image: Image) -> Server | None:
        """Go one step from what is there towards a running server; None: look again."""
        data = await self._find_or_clear(spec.slug)
        if data is None:
            return await self._create_and_start(spec, image)
        if not belongs_to(data, self._options.installation, spec.slug):
            raise NameTaken(spec.slug)
        state = state_of(data["State"]["Status"])
        if state is ServerState.REMOVING:
            await self._removal.finished(data["Id"], spec.slug)
            return None
        if state is ServerState.RUNNING:
            return await self._facts(data)
        if state is ServerState.PAUSED:
            await self._containers.unpause(data["Id"])
            return None
        # Another gateway has made it and is about to start it: its generation is as good as ours.
        joins = state is ServerState.CREATED
        if not is_dead(data) and await self._fits(data, spec, image, any_generation=joins):
            address = assigned_address(data, self.network.name)
            return await self._start_container(data["Id"], address, spec.slug)
        await self._remove(data)
        return None

    async def _find_or_clear(self, name: str) -> Json | None:
        """Return what is there, or None; what has ended and cannot be inspected makes room."""
        try:
            return await self._containers.find(name)
        except EngineRefused as error:
            await self._removal.clear(self._options.installation, name, error)
            return None

    async def _create_and_start(self, spec: ServerSpec, image: Image) -> Server | None:
        address = await self.network.take()
        container = None
        try:
            config = container_config(spec, image, await self._placing.place(spec, address))
            began = time.monotonic()
            container = await self._attachment.with_network(
                lambda: self._containers.create(config, spec.slug)
            )
            self._observe("create", time.monotonic() - began)
        finally:
            if container is None:
                self.network.release(address)
        if container is None:
            return None  # somebody else made it at this moment: join that one
        log.info("made slug=%s container=%s address=%s", spec.slug, container[:12], address)
        return await self._start_container(container, address, spec.slug)

    async def _start_container(self, container: str, address: str, slug: str) -> Server | None:
        """Start it; "already started" is success. None when it has to be made anew."""
        try:
            began = time.monotonic()
            await self._attachment.with_network(
                lambda: self._containers.start(container), container, address
            )
            self._observe("start", time.monotonic() - began)
        except EngineRefused as error:
            if error.missing and not error.network_missing:
                return None
            await self._removal.remove(container, slug)
            if error.says("address already in use"):
                log.warning("address is somebody else's address=%s", address)
                return None  # it stays marked as used
            self.network.release(address)
            raise
        data = await self._containers.find(container)
        return None if data is None else await self._facts(data)

    async def _fits(
        self, data: Json, spec: ServerSpec, image: Image, *, any_generation: bool = False
    ) -> bool:
        labels = data["Config"]["Labels"]
        wanted = container_config(spec, image, await self._placing.place(spec, ""))["Labels"]
        names = (SPEC,) if any_generation else (GENERATION, SPEC)
        return all(labels.get(name) == wanted[name] for name in names)

    async def _facts(self, data: Json) -> Server:
        prod = (await self.surroundings()).prod
        return server_from_inspect(data, self.network.name, prod=prod)

    async def _remove(self, data: Json) -> None:
        if await self._removal.remove(data["Id"], data["Config"]["Labels"][SLUG]):
            self.network.release(assigned_address(data, self.network.name))
