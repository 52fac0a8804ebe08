"""Where this installation's containers run, and with what: from the options and what was found out.

The gateway's own surroundings are asked for once. Nothing here starts or stops anything.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gateway.errors import EngineError
from gateway.spawners import strange_image
from gateway.spawners.base import ServerSpec
from gateway.spawners.docker_spec import Place
from gateway.spawners.engine import Engine
from gateway.spawners.pulls import SILENCE
from gateway.spawners.surroundings import ModeSetting, Surroundings, look_around

PullPolicy = Literal["missing", "never"]


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
        pull: whether an image that is not on the engine is pulled.
        pull_silence: seconds without any news after which a pull is given up.
    """

    installation: str
    spaces_dir: Path
    spaces_host_dir: Path | None = None
    docker_host: str = ""
    mode: ModeSetting = "auto"
    subnet: str = "10.213.0.0/20"
    pids: int = 512
    pull: PullPolicy = "missing"
    pull_silence: float = SILENCE


class Placing:
    """Places for the containers of one installation on one engine."""

    def __init__(self, engine: Engine, options: DockerOptions, network: str) -> None:
        self._engine = engine
        self._options = options
        self._network = network
        self._root = options.spaces_dir.absolute()
        self._asking = asyncio.Lock()
        self.known: Surroundings | None = None

    async def surroundings(self) -> Surroundings:
        """Return what was found out about the gateway itself; asks the engine once.

        Raises:
            EngineUnavailable, EngineError.
        """
        async with self._asking:
            if self.known is None:
                options = self._options
                self.known = await look_around(
                    self._engine, options.mode, self._root, options.spaces_host_dir
                )
            return self.known

    async def place(self, spec: ServerSpec, address: str) -> Place:
        """Return where and as whom `spec`'s container runs, at `address`.

        Raises:
            EngineError: its space is nobody's to be given to a container.
        """
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
            network=self._network,
            address=address,
            publish=not surroundings.prod,
            pids=self._options.pids,
            provider=strange_image.provider_source(),
        )
