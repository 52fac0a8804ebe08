"""Where the gateway itself runs: in a container of this engine or not, and what follows from it.

Pure functions over what the kernel tells, and two that ask the engine. Nothing here knows of
notebooks.
"""

from __future__ import annotations

import logging
import re
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from gateway.spawners.docker_spec import translate
from gateway.spawners.engine import Engine, EngineRefused

_ID = re.compile(r"[0-9a-f]{64}")
_SHORT_ID = re.compile(r"[0-9a-f]{12}")
_FILES_OF_DOCKER = ("/etc/hostname", "/etc/hosts", "/etc/resolv.conf")

Json = dict[str, Any]
ModeSetting = Literal["auto", "dev", "prod"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What was found out about the gateway itself.

    Attributes:
        prod: whether servers are reached at their addresses on the network.
        host_root: the root of the spaces as the engine's host sees it.
        container: the id of the gateway's own container; None when it runs in none.
    """

    prod: bool
    host_root: Path
    container: str | None


async def look_around(
    engine: Engine, mode: ModeSetting, spaces_dir: Path, spaces_host_dir: Path | None
) -> Surroundings:
    """Find out where the gateway runs.

    Args:
        engine: which engine to ask.
        mode: `auto` means prod if the gateway runs in a container of that engine.
        spaces_dir: the root of the spaces as the gateway sees it, absolute.
        spaces_host_dir: as the engine's host sees it; None means: found out.

    Raises:
        EngineUnavailable, EngineError.
    """
    own = await own_container(engine)
    prod = own is not None if mode == "auto" else mode == "prod"
    host_root = spaces_host_dir or spaces_dir
    if spaces_host_dir is None and own is not None:
        host_root = translate(host_root, own["Mounts"])
    log.info("docker mode=%s spaces=%s", "prod" if prod else "dev", host_root)
    return Surroundings(prod, host_root, None if own is None else own["Id"])


def candidate_ids(hostname: str, mountinfo: str, cgroup: str) -> list[str]:
    """Return what may be our own container's id, the surest first.

    Args:
        hostname: Docker makes it the first 12 digits of the id, unless it was told another.
        mountinfo: /proc/self/mountinfo; Docker binds `…/containers/<id>/hostname` and the like.
        cgroup: /proc/self/cgroup; has the id in cgroup v1 and in the host's cgroup namespace.
    """
    found = [match for line in mountinfo.splitlines() for match in _ids_of_mount(line)]
    found += _ID.findall(cgroup)
    if _SHORT_ID.fullmatch(hostname):
        found.append(hostname)
    return list(dict.fromkeys(found))


def _ids_of_mount(line: str) -> list[str]:
    """Return the ids in one line (proc(5): field 4 is the root of the mount, field 5 its point)."""
    fields = line.split()
    if len(fields) < 5 or fields[4] not in _FILES_OF_DOCKER:
        return []
    return _ID.findall(fields[3])


async def own_container(engine: Engine, root: Path = Path("/")) -> Json | None:
    """Return the engine's answer about the container that this process runs in.

    None when it runs in none, or in one of another engine.

    Args:
        engine: which engine to ask.
        root: where `.dockerenv` and `proc` are; for tests.
    """
    if not (root / ".dockerenv").exists():
        return None
    candidates = candidate_ids(
        socket.gethostname(), _read(root / "proc/self/mountinfo"), _read(root / "proc/self/cgroup")
    )
    for candidate in candidates:
        try:
            return await _inspect(engine, candidate)
        except EngineRefused as error:
            if not error.missing:
                raise
    return None


async def _inspect(engine: Engine, container: str) -> Json:
    data: Json = await engine.call(lambda api: api.inspect_container(container))
    return data


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
