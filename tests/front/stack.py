"""What compose.yaml brings up, driven by tests."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import docker
from docker.models.containers import Container

from tests.proxy.certificates import Pair, make_pair
from tests.support.waiting import PATIENCE

PROJECT = "nbgate-front-test"
PREFIX, SUBNET = "10.213.17", "10.213.32.0/24"
TLS_GROUP = 4242
"""The group that may read the key of the certificate."""
BUILDS = """
services:
  notebook-image: {build: {network: host}}
  gateway: {build: {network: host}}
  firewall: {build: {network: host}}
  httpd: {build: {network: host}}
  prometheus: {healthcheck: {interval: 1s}}
"""


@dataclass(frozen=True)
class Stack:
    """What was brought up.

    Attributes:
        command: `docker compose` with its files and the project.
        environment: of that command.
        url: where people reach it.
        client: of its engine.
    """

    command: list[str]
    environment: dict[str, str]
    url: str
    client: docker.DockerClient

    def compose(self, *arguments: str) -> str:
        result = subprocess.run(
            [*self.command, *arguments],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, f"{result.stdout}\n{result.stderr}"
        return result.stdout

    def nbgate(self, *arguments: str) -> str:
        return self.compose("exec", "-T", "gateway", "nbgate", *arguments).strip()

    def inside(self, service: str, script: str) -> str:
        return self.compose("exec", "-T", service, "sh", "-c", script).strip()


def until_healthy(stack: Stack) -> None:
    """Wait for the health checks of what nothing else waits for."""
    checks = {
        "gateway": "echo > /dev/tcp/127.0.0.1/8000",
        "httpd": "/etc/nbgate/healthcheck",
        "firewall": "test -e /tmp/protected",
    }
    for service, check in checks.items():
        waiting = f"until {check}; do sleep 0.2; done 2> /dev/null"
        stack.compose("exec", "-T", service, "timeout", str(PATIENCE), "bash", "-c", waiting)


def take_down(stack: Stack) -> None:
    """Remove everything, also what the gateway made on the engine and the firewall's rules."""
    mine: dict[str, str | list[str] | bool] = {}
    with contextlib.suppress(AssertionError, ValueError):
        installation = json.loads(stack.inside("gateway", "cat /state/identity.json"))
        mine = {"label": f"org.nbgate.installation={installation['installation']}"}
        stack.inside("firewall", "/opt/nbgate/bin/nbgate network protect --remove")
    stack.compose("--profile", "metrics", "stop", "--timeout", "5")
    if mine:
        left = stack.client.containers.list(all=True, filters=mine, ignore_removed=True)
        for container in left:
            container.remove(force=True, v=True)
    stack.compose("--profile", "metrics", "down", "--volumes", "--remove-orphans")
    if mine:
        for network in stack.client.networks.list(filters=mine):
            network.remove()


def container_of(stack: Stack, service: str) -> Container:
    labels = [f"com.docker.compose.{key}" for key in (f"project={PROJECT}", f"service={service}")]
    (found,) = stack.client.containers.list(all=True, filters={"label": labels})
    return found


def users_of_what_serves(container: Container) -> list[str]:
    """Return the user ids of all that the container's first process, an init, has started.

    What the engine runs beside that, as health checks, is no child of it.
    """
    listed = container.top(ps_args="-eo pid,ppid,uid")["Processes"]
    parents = {pid: parent for pid, parent, _ in listed}
    init = str(container.attrs["State"]["Pid"])

    def serves(pid: str) -> bool:
        above = parents[pid]
        return above == init or (above in parents and serves(above))

    return [user for pid, _, user in listed if serves(pid)]


def serve_https(stack: Stack, folder: Path) -> Pair:
    """Bring the stack up again with https; return the pair that it serves with."""
    for part in (folder, folder / "live"):
        part.mkdir(exist_ok=True)
        part.chmod(0o755)
    pair = make_pair(folder, "first")
    cert, key = folder / "live" / "fullchain.pem", folder / "live" / "privkey.pem"
    pair.put(cert, key)
    key.chmod(0o640)
    os.chown(key, 0, TLS_GROUP)
    stack.environment.update(
        NBGATE_TLS_DIR=str(folder),
        NBGATE_TLS_CERT=str(cert),
        NBGATE_TLS_KEY=str(key),
        NBGATE_TLS_GROUP=str(TLS_GROUP),
        NBGATE_PUBLIC_URL=stack.url.replace("http:", "https:"),
    )
    stack.compose("up", "--detach")
    until_healthy(stack)
    return pair


async def until_certificate_is(url: str, wanted: Pair) -> None:
    """Wait until new connections are shown `wanted`."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    async with asyncio.timeout(PATIENCE):
        while True:
            with contextlib.suppress(OSError):
                shown = await asyncio.to_thread(
                    ssl.get_server_certificate, (parts.hostname, parts.port)
                )
                if shown == wanted.cert.read_text():
                    return
            await asyncio.sleep(0.2)
