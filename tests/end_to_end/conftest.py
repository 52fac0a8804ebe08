from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import docker
import pytest

from tests.support.gateway import ROOT, GatewayProcess, running
from tests.support.places import free_subnet

SPAWNERS = ("process", pytest.param("docker", marks=pytest.mark.engine))


@contextmanager
def gateway_with(
    request: pytest.FixtureRequest, state: Path, spawner: str, **settings: str
) -> Iterator[GatewayProcess]:
    """Run a gateway with the demo project and a real spawner; leave nothing on the engine."""
    settings["spawner"] = spawner
    if spawner == "docker":
        settings["docker_host"] = request.getfixturevalue("engine").url
        settings["image"] = request.getfixturevalue("notebook_image")
        settings["network_subnet"] = free_subnet()
    try:
        with running(state, **settings) as process:
            process.nbgate("project", "add", "demo", "--source", str(ROOT / "examples" / "demo"))
            yield process
    finally:
        if spawner == "docker" and (state / "identity.json").exists():
            remove_network(settings["docker_host"], state)


def add_linked_courses(gateway: GatewayProcess, source: Path) -> None:
    """Add two courses: `signed` takes signed links, `plain` takes plain ones too."""
    for name in ("signed", "plain"):
        gateway.nbgate("project", "add", name, "--source", str(source), "--links", name)
    gateway.nbgate("link", "key", "add", "--project", "signed")


def remove_network(engine: str, state: Path) -> None:
    """Remove the network of the gateway that had this state folder."""
    installation = json.loads((state / "identity.json").read_text())["installation"]
    client = docker.DockerClient(engine)
    for network in client.networks.list(names=[f"nbgate-{installation}"]):
        network.remove()
    client.close()


@pytest.fixture(scope="module", params=SPAWNERS)
def gateway(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    """A running gateway with the demo project, once with each spawner."""
    state = tmp_path_factory.mktemp("gateway") / "state"
    with gateway_with(request, state, request.param) as process:
        yield process
