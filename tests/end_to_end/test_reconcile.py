"""What happens to servers behind the gateway's back, on real engines, is followed and undone."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import docker
import pytest

from routes.apachedb import read
from tests.end_to_end.conftest import SPAWNERS, gateway_with
from tests.support.gateway import GatewayProcess, execute, signed_in
from tests.support.waiting import PATIENCE, until

# Only events bring news in time: the next list of all servers is after the test.
_NO_LISTS = str(10 * PATIENCE)


@pytest.fixture(scope="module", params=SPAWNERS)
def gateway(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    """A gateway whose hot routes are in httpd's file, and which lists its servers once."""
    state = tmp_path_factory.mktemp("gateway") / "state"
    with gateway_with(
        request, state, request.param, httpd_direct="true", relist_interval=_NO_LISTS
    ) as process:
        yield process


@dataclass(frozen=True)
class Opened:
    """A notebook that runs, and a client that is its owner's program."""

    gateway: GatewayProcess
    client: aiohttp.ClientSession
    slug: str
    before: dict[str, Any]

    @property
    def base(self) -> str:
        return f"{self.gateway.url}/nb/{self.slug}/"

    @property
    def server(self) -> str:
        return str(self.before["container_id"])

    def published(self) -> bool:
        """Whether httpd's file has its route."""
        return f"/nb/{self.slug}".encode() in read(self.gateway.state / "routes" / "routes.gdbm")

    def hot(self) -> bool:
        """Whether the table has a target."""
        route = json.loads(self.gateway.nbgate("route", "get", f"/nb/{self.slug}", "--json"))
        return bool(route["hot"])

    async def is_cold(self) -> dict[str, Any]:
        """Return the record, once nothing leads to the server any more."""
        await until(lambda: self.gateway.show(self.slug)["state"] == "cold")
        assert not self.hot()
        assert not self.published()
        return self.gateway.show(self.slug)


@asynccontextmanager
async def opened(gateway: GatewayProcess, person: str) -> AsyncIterator[Opened]:
    link = gateway.nbgate("notebook", "url", "--project", "demo", "--person", person)
    slug = f"demo-x-{person}"
    async with signed_in(link) as client:
        assert await execute(client, f"{gateway.url}/nb/{slug}/", "6 * 7") == "42"
        notebook = Opened(gateway, client, slug, gateway.show(slug))
        assert notebook.published()
        yield notebook


def by_hand(gateway: GatewayProcess, server: str, act: Callable[[Any], None], number: int) -> None:
    """Do something to a container, or send a signal to a process."""
    if gateway.environment["NBGATE_SPAWNER"] == "process":
        os.killpg(int(server.partition("-")[0]), number)
        return
    engine = docker.DockerClient(gateway.environment["NBGATE_DOCKER_HOST"])
    with contextlib.closing(engine):
        act(engine.containers.get(server))


def kill(gateway: GatewayProcess, server: str) -> None:
    by_hand(gateway, server, lambda container: container.kill(), signal.SIGKILL)


async def test_killed_server_loses_its_route_and_the_next_request_starts_it_anew(
    gateway: GatewayProcess,
) -> None:
    async with opened(gateway, "kim") as notebook:
        kill(gateway, notebook.server)
        record = await notebook.is_cold()
        assert (record["container_id"], record["port"]) == (None, None)
        assert "kill" in record["health_reason"].lower()
        assert await execute(notebook.client, notebook.base, "1 + 1") == "2"
        after = gateway.show(notebook.slug)
        assert after["generation"] == notebook.before["generation"] + 1
        assert (after["health"], after["health_reason"]) == ("healthy", None)
        assert notebook.published()


@pytest.mark.engine
async def test_container_removed_by_hand_loses_its_route(gateway: GatewayProcess) -> None:
    if gateway.environment["NBGATE_SPAWNER"] == "process":
        return  # nothing can be removed there that is not killed
    async with opened(gateway, "lee") as notebook:
        by_hand(gateway, notebook.server, lambda container: container.remove(force=True), 0)
        record = await notebook.is_cold()
        assert record["engine_status"] is None
        assert await execute(notebook.client, notebook.base, "1 + 1") == "2"


async def test_server_paused_by_hand_is_cold_and_goes_on_with_its_memory(
    gateway: GatewayProcess,
) -> None:
    async with opened(gateway, "mia") as notebook:
        async with notebook.client.post(f"{notebook.base}api/kernels") as answer:
            kernel = (await answer.json())["id"]
        await execute(notebook.client, notebook.base, "x = 7\nx", kernel)
        by_hand(gateway, notebook.server, lambda container: container.pause(), signal.SIGSTOP)
        if gateway.environment["NBGATE_SPAWNER"] == "process":
            # The kernel tells nobody that a process was stopped by hand.
            assert "paused" in gateway.nbgate("notebook", "sync", notebook.slug)
        record = await notebook.is_cold()
        assert record["container_id"] == notebook.server
        assert await execute(notebook.client, notebook.base, "x + 1", kernel) == "8"
        after = gateway.show(notebook.slug)
        assert after["container_id"] == notebook.server
        assert after["generation"] == notebook.before["generation"]


async def test_server_that_ends_while_no_gateway_runs_is_cold_at_the_next_start(
    gateway: GatewayProcess,
) -> None:
    async with opened(gateway, "noa") as notebook:
        gateway.kill()
        kill(gateway, notebook.server)
        gateway.start()
        await notebook.is_cold()
        assert await execute(notebook.client, notebook.base, "1 + 1") == "2"
        assert gateway.show(notebook.slug)["generation"] == notebook.before["generation"] + 1


async def test_sync_says_what_it_finds(gateway: GatewayProcess) -> None:
    async with opened(gateway, "ola") as notebook:
        told = gateway.nbgate("notebook", "sync", notebook.slug)
        assert told.startswith(f"{notebook.slug}: runs as {notebook.server[:12]}, generation 1 at ")
        assert told.endswith(", healthy")
        gateway.nbgate("notebook", "stop", notebook.slug)
        told = gateway.nbgate("notebook", "sync", notebook.slug)
        assert told == f"{notebook.slug}: nothing runs; it is cold"


async def test_stop_that_is_interrupted_by_the_gateways_end_is_carried_on(
    gateway: GatewayProcess,
) -> None:
    async with opened(gateway, "pam") as notebook:
        # It ignores SIGTERM for the whole grace period, if need be.
        by_hand(gateway, notebook.server, lambda container: container.pause(), signal.SIGSTOP)
        told = gateway.nbgate("notebook", "stop", notebook.slug, "--no-wait", "--reason", "enough")
        identity = told.split("operation show ")[1].split("`")[0]
        gateway.kill()
        gateway.start()
        await until(lambda: show(gateway, identity)["ended"] is not None)
        operation = show(gateway, identity)
        assert (operation["state"], operation["reason"]) == ("done", "enough"), operation
        record = gateway.show(notebook.slug)
        assert (record["state"], record["container_id"]) == ("cold", None)
        assert await execute(notebook.client, notebook.base, "1 + 1") == "2"


def show(gateway: GatewayProcess, identity: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(gateway.nbgate("operation", "show", identity, "--json"))
    return found


async def test_hung_server_is_said_to_be_unhealthy_and_goes_on(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    with gateway_with(
        request, tmp_path / "state", "process", health_interval="0.2", relist_interval=_NO_LISTS
    ) as gateway:
        gateway.nbgate("notebook", "create", "first", "--project", "demo")
        gateway.nbgate("notebook", "start", "first")
        record = gateway.show("first")
        assert record["health"] == "healthy"
        # Not its whole group: that would be a pause.
        process = int(record["container_id"].partition("-")[0])
        os.kill(process, signal.SIGSTOP)
        try:
            assert (await has_health(gateway, "unhealthy"))["state"] == "running"
            (row,) = gateway.nbgate("notebook", "list").splitlines()[1:]
            assert "unhealthy" in row.split()
            assert "unhealthy reason=" in gateway.log.read_text()
        finally:
            os.kill(process, signal.SIGCONT)
        after = await has_health(gateway, "healthy")
        assert (after["container_id"], after["health_reason"]) == (record["container_id"], None)


async def has_health(gateway: GatewayProcess, health: str) -> dict[str, Any]:
    """Wait until the record says so; return that one: probes of before may end later."""
    async with asyncio.timeout(PATIENCE):
        while (record := await asyncio.to_thread(gateway.show, "first"))["health"] != health:
            pass
    return record


@pytest.mark.engine
async def test_container_that_was_kept_comes_back_with_its_generation(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    with gateway_with(
        request,
        tmp_path / "state",
        "docker",
        idle_timeout="5",
        warning_time="0",
        cull_interval="0.5",
        remove_after="86400",
    ) as gateway:
        gateway.nbgate("notebook", "create", "first", "--project", "demo")
        gateway.nbgate("notebook", "start", "first")
        await until(lambda: gateway.show("first")["state"] == "cold")
        kept = gateway.show("first")
        assert kept["engine_status"] == "exited"
        assert "is kept for its next start" in gateway.nbgate("notebook", "sync", "first")
        gateway.kill()
        gateway.start()
        assert gateway.show("first")["container_id"] == kept["container_id"]
        gateway.nbgate("notebook", "start", "first")
        after = gateway.show("first")
        assert (after["container_id"], after["generation"]) == (kept["container_id"], 1)
        # What it is made with has changed: a new one, of a new generation.
        await until(lambda: gateway.show("first")["state"] == "cold")
        gateway.nbgate("project", "update", "demo", "--env", "COURSE=2")
        gateway.nbgate("notebook", "start", "first")
        assert gateway.show("first")["generation"] == 2
