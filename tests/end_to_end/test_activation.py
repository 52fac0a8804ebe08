"""Cold notebooks come up once, for programs too; kernels compute through the gateway."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import urllib.request

import docker

from tests.support.gateway import GatewayProcess, ask_at_once, execute, signed_in
from tests.support.waiting import PATIENCE


def started(gateway: GatewayProcess) -> int:
    """Return how many starts the metrics count."""
    with urllib.request.urlopen(
        f"{gateway.management_url}/gateway/metrics", timeout=PATIENCE
    ) as answer:
        text = answer.read().decode()
    lines = [line for line in text.splitlines() if line.startswith("nbgate_starts_total{")]
    return int(sum(float(line.rsplit(" ", 1)[1]) for line in lines))


def kill_server(gateway: GatewayProcess, server_id: str) -> None:
    """End a notebook's server behind the gateway's back."""
    if gateway.environment["NBGATE_SPAWNER"] == "process":
        os.killpg(int(server_id.partition("-")[0]), signal.SIGKILL)
        return
    engine = docker.DockerClient(gateway.environment["NBGATE_DOCKER_HOST"])
    engine.containers.get(server_id).kill()
    engine.close()


async def nobody_listens(port: int) -> None:
    """Wait until connections to a port are refused."""
    async with asyncio.timeout(PATIENCE):
        with contextlib.suppress(ConnectionRefusedError):
            while True:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                await asyncio.sleep(0.05)


async def test_kernel_computes_through_the_gateways_websocket(gateway: GatewayProcess) -> None:
    link = gateway.nbgate("notebook", "url", "--project", "demo", "--person", "kim")
    async with signed_in(link) as client:
        assert await execute(client, f"{gateway.url}/nb/demo-x-kim/", "6 * 7") == "42"


async def test_simultaneous_calls_start_exactly_one_server(gateway: GatewayProcess) -> None:
    link = gateway.nbgate("notebook", "url", "--project", "demo", "--person", "lee")
    base = f"{gateway.url}/nb/demo-x-lee/"
    before = started(gateway)
    async with signed_in(link) as client:
        answers = await ask_at_once(client, base)
    assert answers == [200] * 20 + [101] * 5
    assert started(gateway) - before == 1
    assert gateway.show("demo-x-lee")["generation"] == 1


async def test_space_survives_its_server(gateway: GatewayProcess) -> None:
    link = gateway.nbgate("notebook", "url", "--project", "demo", "--person", "mia")
    base = f"{gateway.url}/nb/demo-x-mia/"
    async with signed_in(link) as client:
        body = {"type": "file", "format": "text", "content": "mine"}
        async with client.put(f"{base}api/contents/note.txt", json=body) as answer:
            assert answer.status == 201, await answer.text()
        gateway.nbgate("notebook", "stop", "demo-x-mia")
        assert gateway.show("demo-x-mia")["state"] == "cold"
        async with client.get(f"{base}api/contents/note.txt") as answer:
            assert (await answer.json())["content"] == "mine"
    assert gateway.show("demo-x-mia")["generation"] == 2


async def test_background_request_of_an_open_page_never_wakes(gateway: GatewayProcess) -> None:
    link = gateway.nbgate("notebook", "url", "--project", "demo", "--person", "noa")
    url = f"{gateway.url}/nb/demo-x-noa/api/kernels"
    polling = {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"}
    async with signed_in(link) as client:
        async with client.get(url, headers=polling) as answer:
            assert answer.status == 424
            assert answer.content_type == "application/problem+json"
        assert gateway.show("demo-x-noa")["state"] == "cold"


async def test_dead_server_is_noticed_by_the_next_request(gateway: GatewayProcess) -> None:
    link = gateway.nbgate("notebook", "url", "--project", "demo", "--person", "oli")
    base = f"{gateway.url}/nb/demo-x-oli/"
    async with signed_in(link) as client:
        async with client.get(f"{base}api/status") as answer:
            assert answer.status == 200
        record = gateway.show("demo-x-oli")
        kill_server(gateway, record["container_id"])
        await nobody_listens(record["port"])
        async with client.get(f"{base}api/status") as answer:
            assert answer.status == 200
    assert gateway.show("demo-x-oli")["container_id"] != record["container_id"]


async def test_unknown_notebook_is_not_found_without_a_start(gateway: GatewayProcess) -> None:
    link = gateway.nbgate("notebook", "url", "--project", "demo", "--person", "pat")
    before = started(gateway)
    async with signed_in(link) as client, client.get(f"{gateway.url}/nb/nothing/lab") as answer:
        assert answer.status == 404
    assert started(gateway) == before


async def test_lab_and_notebook_7_open_the_document(gateway: GatewayProcess) -> None:
    link = gateway.nbgate("notebook", "url", "--project", "demo", "--person", "quin")
    base = f"{gateway.url}/nb/demo-x-quin/"
    async with signed_in(link) as client:
        for page in ("lab/tree/first-steps.ipynb", "notebooks/first-steps.ipynb", "tree"):
            async with client.get(base + page) as answer:
                assert answer.status == 200, page
                assert "jupyter-config-data" in await answer.text(), page
