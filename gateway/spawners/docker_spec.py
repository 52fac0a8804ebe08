"""What a notebook's container is made of: from a ServerSpec to the Engine API's JSON.

Pure functions: no I/O, no docker-py. Containers of our image read `NBGATE_*`; others are given
Jupyter's own token variable, and their command is strange_image.py's. Secrets are in the
environment, never in the arguments, which any process on the host can read.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from gateway.errors import EngineError
from gateway.spawners import strange_image
from gateway.spawners.base import ServerSpec

PORT = 8888
PORT_KEY = f"{PORT}/tcp"
HOME = "/home/jovyan"
SPACE = "/home/jovyan/work"

LABEL_PREFIX = "org.nbgate."
INSTALLATION = LABEL_PREFIX + "installation"
SLUG = LABEL_PREFIX + "slug"
GENERATION = LABEL_PREFIX + "generation"
SPEC = LABEL_PREFIX + "spec"
ROLE = LABEL_PREFIX + "role"
COMPOSE_PROJECT = "com.docker.compose.project"
IMAGE_IS_OURS = LABEL_PREFIX + "image"
IMAGE_IS_READ_ONLY = LABEL_PREFIX + "read-only-root"

Json = dict[str, Any]

_CPU_PERIOD = 100_000  # microseconds


@dataclass(frozen=True, slots=True)
class Image:
    """What matters about an image.

    Attributes:
        id: its content's digest; a tag that was built anew has another.
        ours: whether it reads `NBGATE_*` (else it runs in token mode).
        read_only_root: whether it runs with a read-only root and tmpfs at /tmp and home.
    """

    id: str
    ours: bool
    read_only_root: bool


@dataclass(frozen=True, slots=True)
class Place:
    """Where and as whom a container runs.

    Attributes:
        installation: the gateway's installation id.
        user: uid of the space's owner.
        group: gid of the space's owner.
        space: the space as the engine's host sees it.
        network: name of the notebooks' network.
        address: the container's address on it.
        publish: whether the port is published on 127.0.0.1, at a port the engine chooses.
        pids: limit of processes and threads.
        provider: source of the identity provider, for images that are not ours; "" for none.
    """

    installation: str
    user: int
    group: int
    space: Path
    network: str
    address: str
    publish: bool
    pids: int = 512
    provider: str = ""


def image_from(inspected: Json) -> Image:
    """Return what matters of the engine's answer about an image."""
    labels = (inspected.get("Config") or {}).get("Labels") or {}
    return Image(
        id=inspected["Id"],
        ours=labels.get(IMAGE_IS_OURS) == "1",
        read_only_root=labels.get(IMAGE_IS_READ_ONLY) == "true",
    )


def container_config(spec: ServerSpec, image: Image, place: Place) -> Json:
    """Return the body of `POST /containers/create` (Docker Engine API 1.41)."""
    config: Json = {
        "Image": spec.image,
        "Hostname": "notebook",
        "User": f"{place.user}:{place.group}",
        "Env": [f"{name}={value}" for name, value in environment(spec, image).items()],
        "Cmd": None if image.ours else strange_command(spec, place.provider),
        "WorkingDir": SPACE,
        "ExposedPorts": {PORT_KEY: {}},
        "HostConfig": host_config(spec, image, place),
        "NetworkingConfig": {
            "EndpointsConfig": {place.network: {"IPAMConfig": {"IPv4Address": place.address}}}
        },
    }
    config["Labels"] = {
        **{name: text for name, text in spec.labels.items() if not name.startswith(LABEL_PREFIX)},
        INSTALLATION: place.installation,
        SLUG: spec.slug,
        GENERATION: str(spec.generation),
        SPEC: spec_hash(config, image),
    }
    return config


def environment(spec: ServerSpec, image: Image) -> Mapping[str, str]:
    """Return the container's variables; the gateway's own win over the notebook's."""
    if image.ours:
        own = {
            "NBGATE_HOP_SECRET": spec.token,
            "NBGATE_SLUG": spec.slug,
            "NBGATE_BASE_URL": spec.base_url,
            "NBGATE_USER_NAME": spec.user_name,
            "NBGATE_FRAME_ANCESTORS": " ".join(spec.frame_ancestors),
            "NBGATE_AUTOSAVE": "" if spec.autosave is None else f"{spec.autosave:g}",
        }
    else:
        own = {
            "JUPYTER_TOKEN": spec.token,
            "NBGATE_USER_NAME": spec.user_name,
            # The user may have no home in a strange image. The runtime folder holds the token, so
            # it must not lie in the space, which is copied and shared.
            "HOME": SPACE,
            "JUPYTER_RUNTIME_DIR": "/tmp/jupyter-runtime",  # noqa: S108  the container's own
        }
    return {**spec.environment, **own}


def strange_command(spec: ServerSpec, provider: str) -> list[str]:
    """Return the arguments for an image that is not ours: stock JupyterLab on PATH."""
    arguments = [
        "--no-browser",
        "--ServerApp.ip=0.0.0.0",
        f"--ServerApp.port={PORT}",
        "--ServerApp.port_retries=0",
        f"--ServerApp.base_url={spec.base_url}",
        f"--ServerApp.root_dir={SPACE}",
        "--ServerApp.allow_remote_access=True",
    ]
    if spec.frame_ancestors:
        arguments.append(f"--ServerApp.tornado_settings={framing(spec)}")
    return strange_image.command(arguments, provider)


def framing(spec: ServerSpec) -> str:
    """Return Jupyter's `tornado_settings` that let `frame_ancestors` frame the notebook."""
    origins = " ".join(["'self'", *spec.frame_ancestors])
    policy = f"frame-ancestors {origins}; report-uri {spec.base_url}api/security/csp-report"
    return json.dumps({"headers": {"Content-Security-Policy": policy}})


def host_config(spec: ServerSpec, image: Image, place: Place) -> Json:
    """Return what the host grants: as little as a notebook needs."""
    config: Json = {
        "Mounts": [{"Type": "bind", "Source": str(place.space), "Target": SPACE}],
        "NetworkMode": place.network,
        "PortBindings": {PORT_KEY: published()} if place.publish else {},
        "CapDrop": ["ALL"],
        "SecurityOpt": ["no-new-privileges:true"],
        "PidsLimit": place.pids,
        "Init": True,
        "IpcMode": "private",
        "RestartPolicy": {"Name": "no"},
        "LogConfig": {"Type": "json-file", "Config": {"max-size": "5m", "max-file": "2"}},
    }
    if spec.memory is not None:
        config["Memory"] = config["MemorySwap"] = spec.memory  # equal: no swap on top
    if spec.cpus is not None:
        # As a quota: `NanoCpus` of more cores than the engine has would be refused.
        config["CpuPeriod"] = _CPU_PERIOD
        config["CpuQuota"] = round(spec.cpus * _CPU_PERIOD)
    if image.read_only_root:
        config["ReadonlyRootfs"] = True
        config["Tmpfs"] = {
            "/tmp": "exec,mode=1777",  # noqa: S108  the container's own
            HOME: f"exec,uid={place.user},gid={place.group},mode=0700",
        }
    return config


def published() -> Sequence[Json]:
    """Return the port binding: loopback only, the host's port chosen by the engine."""
    return [{"HostIp": "127.0.0.1", "HostPort": ""}]


def spec_hash(config: Json, image: Image) -> str:
    """Return what tells two containers of one notebook apart when something was changed.

    The address is left out, for it is new each time; so is the secret, which follows from the
    generation: a label can be read by more people than the environment.
    """
    secrets = ("NBGATE_HOP_SECRET=", "JUPYTER_TOKEN=")
    plain = {name: value for name, value in config.items() if name != "NetworkingConfig"}
    plain["Env"] = [item for item in config["Env"] if not item.startswith(secrets)]
    text = json.dumps([image.id, plain], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def translate(path: Path, mounts: Sequence[Json]) -> Path:
    """Return where `path` of the gateway's container lies on the engine's host.

    Args:
        path: absolute, as the gateway sees it.
        mounts: `Mounts` of the engine's answer about the gateway's own container.

    Raises:
        EngineError: no mount covers it: the files are inside the gateway's container, where the
            engine cannot give them to another.
    """
    inside = PurePosixPath(path)
    covering = [mount for mount in mounts if inside.is_relative_to(mount["Destination"])]
    if not covering:
        raise EngineError(
            f"the spaces at {path} are inside the gateway's container; mount a folder of the host "
            f"there, or set NBGATE_SPACES_HOST_DIR"
        )
    nearest = max(covering, key=lambda mount: len(mount["Destination"]))
    return Path(nearest["Source"]) / inside.relative_to(nearest["Destination"])
