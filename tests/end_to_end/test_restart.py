"""The gateway is killed and started again: nothing that runs is restarted or lost."""

from __future__ import annotations

from pathlib import Path

import docker
import pytest

from tests.end_to_end.conftest import SPAWNERS, gateway_with
from tests.support.gateway import execute, signed_in


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
            if spawner == "docker":
                engine = gateway.environment["NBGATE_DOCKER_HOST"]
                assert _restarts(engine, after["container_id"]) == 0


def _restarts(url: str, container: str) -> int:
    engine = docker.DockerClient(url)
    count: int = engine.containers.get(container).attrs["RestartCount"]
    engine.close()
    return count
