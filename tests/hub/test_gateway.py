"""`nbgate serve` as the hub's proxy: a hub's servers and nbgate's notebooks share one entry."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.app.hub import Api
from tests.hub.hub import Hub, folder_for_hub, on_loopback, running_hub
from tests.hub.person import person
from tests.hub.waiting import eventually
from tests.support.gateway import ROOT, GatewayProcess, running, signed_in
from tests.support.places import free_port


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    with running(tmp_path_factory.mktemp("gateway") / "state") as process:
        process.nbgate("project", "add", "demo", "--source", str(ROOT / "examples" / "demo"))
        yield process


@pytest.fixture(scope="module")
def hub(hub_environment: Path, gateway: GatewayProcess) -> Iterator[Hub]:
    config = f"""
c.ConfigurableHTTPProxy.should_start = False
c.ConfigurableHTTPProxy.api_url = "{gateway.management_url}"
c.ConfigurableHTTPProxy.auth_token = open("{gateway.state}/management.token").read().strip()
c.JupyterHub.bind_url = "{gateway.url}"
c.JupyterHub.hub_bind_url = "{on_loopback(free_port())}"
"""
    with (
        folder_for_hub() as folder,
        running_hub(Hub(folder, gateway.url, hub_environment), config) as made,
    ):
        yield made


def api_of(gateway: GatewayProcess) -> Api:
    return Api(gateway.management_port, (gateway.state / "management.token").read_text().strip())


@pytest.mark.parametrize("name", ["alice", "ada+b@example.org"])
async def test_person_computes_and_routes_outlive_a_kill_of_the_gateway(
    hub: Hub, gateway: GatewayProcess, name: str
) -> None:
    api = api_of(gateway)
    async with person(hub, name) as somebody:
        await somebody.log_in()
        await somebody.spawn()
        assert await somebody.run("print(6 * 7)") == "42\n"
        key = f"/user/{name}"
        before = (await api.routes())[key]
        assert before["jupyterhub"] is True
        await api.flush()
        gateway.kill()
        await asyncio.to_thread(gateway.start)
        after = (await api.routes())[key]
        assert after["last_activity"] > before["last_activity"]
        assert after | {"last_activity": ""} == before | {"last_activity": ""}
        assert await somebody.run("print(2 ** 10)") == "1024\n"


async def test_notebooks_of_nbgate_run_beside_it(hub: Hub, gateway: GatewayProcess) -> None:
    link = await asyncio.to_thread(
        gateway.nbgate, "notebook", "url", "--project", "demo", "--person", "carol"
    )
    async with signed_in(link) as client:
        async with client.get(f"{gateway.url}/nb/demo-x-carol/api/status") as answer:
            assert answer.status == 200
        async with client.get(f"{gateway.url}/hub/login") as answer:
            assert "JupyterHub" in await answer.text()


async def test_hub_deletes_what_it_has_lost_and_no_other(hub: Hub, gateway: GatewayProcess) -> None:
    api = api_of(gateway)
    await asyncio.to_thread(gateway.nbgate, "route", "set", "/wiki", "127.0.0.1:9")
    await api.add("/user/nobody", on_loopback(9), jupyterhub=True, user="nobody", server_name="")

    async def stale_is_gone() -> bool:
        return "/user/nobody" not in await api.routes()

    await eventually(stale_is_gone)
    assert "/wiki" in await api.routes()
