"""Settings of the engine, and of what a server is given."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings

from gateway.sizes import parse_bytes

_LEAST_MEMORY = 32 * 2**20


class EngineSettings(BaseSettings):
    """See the module's docstring. Sizes are bytes."""

    spawner: Literal["process", "docker"] = Field(
        default="process",
        description="process: Jupyter as a child process, no isolation, for development; "
        "docker: containers.",
    )
    docker_host: str = Field(
        default="", description="Docker Engine; empty: DOCKER_HOST, else the local socket."
    )
    mode: Literal["auto", "dev", "prod"] = Field(
        default="auto",
        description="dev: notebooks at published localhost ports; prod: at their address on the "
        "Docker network; auto: prod if the gateway runs in a container.",
    )
    network_subnet: str = Field(
        default="10.213.0.0/20",
        description="Subnet of the notebooks' Docker network; the spawner assigns its addresses.",
    )
    image: str = Field(
        default="nbgate/jupyter:latest", description="Notebook image where none is chosen."
    )
    pull: Literal["missing", "never"] = Field(
        default="missing",
        description="missing: an image that is not on the engine is pulled at a notebook's start; "
        "never: that is an error.",
    )
    memory: str = Field(
        default="2G", description="Memory limit of a notebook where none is chosen, e.g. 2G."
    )
    cpus: float = Field(
        default=2.0, gt=0, le=4096, description="CPU limit in cores where none is chosen."
    )
    pids: int = Field(default=512, gt=0, description="Limit of processes in a container.")
    spaces_dir: Path | None = Field(
        default=None, description="Root of people's spaces; none: spaces in state_dir."
    )
    spaces_host_dir: Path | None = Field(
        default=None,
        description="The same folder as the engine's host sees it; none: found out from the "
        "gateway's own mounts.",
    )

    @field_validator("memory")
    @classmethod
    def _size(cls, value: str) -> str:
        if parse_bytes(value) < _LEAST_MEMORY:
            raise ValueError("is less than the 32M that a server needs at least")
        return value

    @field_validator("network_subnet")
    @classmethod
    def _subnet(cls, value: str) -> str:
        network = ipaddress.ip_network(value)
        if network.version != 4:
            raise ValueError(f"{value} is no IPv4 network")
        if network.num_addresses < 256:
            raise ValueError("must have room for at least 256 addresses")
        return value
