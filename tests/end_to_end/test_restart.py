"""The gateway is killed and started again: nothing that runs is restarted or lost."""

from __future__ import annotations

import stat
import time
from pathlib import Path

import docker
import pytest

from routes.apachedb import read
from tests.end_to_end.conftest import SPAWNERS, gateway_with
from tests.support.gateway import GatewayProcess, execute, signed_in
from tests.support.waiting import PATIENCE


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


@pytest.mark.engine
def test_engine_that_is_down_at_the_start_is_used_once_it_is_up(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    with gateway_with(request, tmp_path / "state", "docker") as gateway:
        gateway.nbgate("notebook", "url", "--project", "demo", "--person", "alice")
        direct = gateway.nbgate("notebook", "url", "demo-x-alice", "--direct")
        before = gateway.show("demo-x-alice")
        gateway.kill()
        scheme, _, engine = gateway.environment["NBGATE_DOCKER_HOST"].partition("://")
        assert scheme == "unix", "this test needs an engine on a socket"
        late = tmp_path / "late.sock"
        gateway.environment["NBGATE_DOCKER_HOST"] = f"unix://{late}"
        gateway.start()
        refused = gateway.run("notebook", "url", "demo-x-alice", "--direct")
        assert refused.returncode == 1
        assert f"the container engine at unix://{late} does not answer" in refused.stderr
        assert "prod mode" not in refused.stderr
        late.symlink_to(engine)
        deadline = time.monotonic() + PATIENCE
        while (after := gateway.show("demo-x-alice"))["phase"] != "ready":
            assert time.monotonic() < deadline, gateway.log.read_text()
        assert after["container_id"] == before["container_id"]
        assert after["generation"] == before["generation"]
        assert gateway.nbgate("notebook", "url", "demo-x-alice", "--direct") == direct


async def test_damaged_map_of_secrets_is_set_aside_and_made_anew_at_the_start(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    with gateway_with(request, state, "process", httpd_direct="true") as gateway:
        gateway.nbgate("notebook", "create", "first", "--project", "demo")
        gateway.nbgate("notebook", "start", "first")
        hidden = state / "routes" / "secrets.gdbm"
        before = read(hidden)
        assert list(before) == [b"/nb/first"]
        gateway.kill()
        damaged = bytes(byte ^ 0xFF for byte in hidden.read_bytes())
        hidden.write_bytes(damaged)
        gateway.log.unlink()
        gateway.start()
        assert read(hidden) == before, "the secrets of what runs"
        (kept,) = hidden.parent.glob("secrets.gdbm.damaged-*")
        assert kept.read_bytes() == damaged
        assert stat.S_IMODE(kept.stat().st_mode) == stat.S_IMODE(hidden.stat().st_mode) == 0o640
        told = [line for line in gateway.log.read_text().splitlines() if str(kept) in line]
        assert len(told) == 1
        assert "made a new map of secrets" in told[0]
        assert gateway.nbgate("route", "check") == "the route file is sound"


def _running_since(gateway: GatewayProcess, server: str) -> str:
    """Return when a server was started, as its engine or the kernel tells."""
    if gateway.environment["NBGATE_SPAWNER"] == "process":
        return Path(f"/proc/{server.partition('-')[0]}/stat").read_text().rsplit(")")[1].split()[19]
    engine = docker.DockerClient(gateway.environment["NBGATE_DOCKER_HOST"])
    since: str = engine.containers.get(server).attrs["State"]["StartedAt"]
    engine.close()
    return since
