"""Values that parts of control are made with, from the settings."""

from __future__ import annotations

import os
from urllib.parse import urlsplit

from gateway.activation.admission import AdmissionLimits
from gateway.activation.lifecycle import ServerDefaults
from gateway.metrics import Metrics
from gateway.namespace import Namespace
from gateway.notebooks.identity import Identity
from gateway.notebooks.model import Limits
from gateway.settings import Settings, parse_bytes
from gateway.spawners.base import Spawner
from gateway.spawners.docker import DockerOptions, DockerSpawner
from gateway.spawners.process import ProcessSpawner

_NOTEBOOK_USER = (1000, 1000)


def space_owner_of(settings: Settings) -> tuple[int, int] | None:
    """Return uid and gid that spaces are made for; None for the gateway's own."""
    # Containers never run as root: where we are root, spaces belong to the image's user.
    return _NOTEBOOK_USER if settings.spawner == "docker" and os.geteuid() == 0 else None


def spawner_of(settings: Settings, identity: Identity, metrics: Metrics) -> Spawner:
    """Return the spawner that is chosen; nothing is asked of its engine yet."""
    if settings.spawner == "process":
        return ProcessSpawner(settings.state_dir, observe=metrics.phase)
    return DockerSpawner(
        DockerOptions(
            installation=identity.installation,
            spaces_dir=settings.spaces_path.absolute(),
            spaces_host_dir=settings.spaces_host_dir,
            docker_host=settings.docker_host,
            mode=settings.mode,
            subnet=settings.network_subnet,
            pids=settings.pids,
            pull=settings.pull,
        ),
        observe=metrics.phase,
    )


def namespace_of(settings: Settings) -> Namespace:
    """Return where notebooks live."""
    if settings.routing == "path":
        return Namespace()
    origin = urlsplit(settings.origin)
    suffix = f":{origin.port}" if origin.port else ""
    return Namespace(settings.base_domain.lower(), suffix, origin.scheme)


def defaults_of(settings: Settings) -> ServerDefaults:
    """Return what servers get where nothing else is said."""
    return ServerDefaults(
        image=settings.image,
        limits=Limits(parse_bytes(settings.memory), settings.cpus),
        frame_ancestors=settings.frame_ancestors,
        start_timeout=settings.start_timeout,
        stop_grace=settings.stop_grace,
        autosave=settings.autosave,
    )


def admission_limits_of(settings: Settings) -> AdmissionLimits:
    """Return how many may start, wait and run."""
    # Of another machine's memory nothing is known here.
    engine = settings.docker_host or os.environ.get("DOCKER_HOST") or "unix://"
    local = settings.spawner == "process" or engine.startswith("unix://")
    return AdmissionLimits(
        starts_at_once=settings.starts_at_once,
        queue_length=settings.queue_length,
        per_owner=settings.running_per_owner,
        in_all=settings.running_in_all,
        memory_reserve=settings.memory_reserve_bytes if local else 0,
    )
