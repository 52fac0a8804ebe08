"""What compose.yaml brings up, driven by tests."""

from __future__ import annotations

import contextlib
import json
import subprocess
from dataclasses import dataclass

import docker

from tests.support.waiting import PATIENCE

PROJECT = "nbgate-front-test"
PREFIX, SUBNET = "10.213.17", "10.213.32.0/24"
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
        for container in stack.client.containers.list(all=True, filters=mine):
            container.remove(force=True, v=True)
    stack.compose("--profile", "metrics", "down", "--volumes", "--remove-orphans")
    if mine:
        for network in stack.client.networks.list(filters=mine):
            network.remove()
