"""The gateway is killed and started again: nothing that runs is restarted or lost."""

from __future__ import annotations

from pathlib import Path

import docker
import pytest

from tests.end_to_end.conftest import SPAWNERS, gateway_with
from tests.support.gateway import GatewayProcess, execute, signed_in


@pytest.mark.parametrize("spawner", SPAWNERS)
async def test_killed_gateway_adopts_what_runs(
    request: pytest.FixtureRequest, tmp_path: Path, spawner: str
) -> None:
    with gateway_with(request, tmp_path / "state", spawner) as gateway:
        link = gateway.nbgate("notebook", "url", "--project", "demo", "--person", "alice")
        base = f"{gateway.url}/nb/demo-x-alice/"
        async with signed_in(link) as client:
            assert await execute(client, base, "1 + 1") == "2"
            before = gateway.show("demo-x-alice")
            since = _running_since(gateway, before["container_id"])
            direct = gateway.nbgate("notebook", "url", "demo-x-alice", "--direct")
            gateway.kill()
            async with client.get(direct) as answer:
                assert answer.status == 200, "the localhost URL works with the gateway stopped"
            gateway.start()
            after = gateway.show("demo-x-alice")
            assert after["state"] == "running"
            assert after["container_id"] == before["container_id"]
            assert after["generation"] == before["generation"]
            assert gateway.nbgate("notebook", "url", "demo-x-alice", "--direct") == direct
            assert await execute(client, base, "2 + 2") == "4"
            assert _running_since(gateway, after["container_id"]) == since


def _running_since(gateway: GatewayProcess, server: str) -> str:
    """Return when a server was started, as its engine or the kernel tells."""
    if gateway.environment["NBGATE_SPAWNER"] == "process":
        return Path(f"/proc/{server.partition('-')[0]}/stat").read_text().rsplit(")")[1].split()[19]
    engine = docker.DockerClient(gateway.environment["NBGATE_DOCKER_HOST"])
    since: str = engine.containers.get(server).attrs["State"]["StartedAt"]
    engine.close()
    return since
