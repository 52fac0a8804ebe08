"""A hub that starts the proxy, under a base URL that has to be escaped."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from tests.hub.elsewhere import SPAWNER, servers
from tests.hub.hub import PROXY, Hub, folder_for_hub, on_loopback, running_hub
from tests.hub.manual import adapted, block
from tests.hub.person import ask_hub, person
from tests.hub.waiting import eventually
from tests.support.places import free_port

BASE = "/@/space%20word"
CROWD = 100


class Ports:
    """Where the parts of the hub listen."""

    def __init__(self) -> None:
        self.public, self.hub, self.api = free_port(), free_port(), free_port()
        self.metrics, self.guests, self.service = free_port(), free_port(), free_port()


@pytest.fixture(scope="module")
def ports() -> Ports:
    return Ports()


@pytest.fixture(scope="module")
def hub(hub_environment: Path, ports: Ports) -> Iterator[Hub]:
    changes = {"/opt/nbgate/bin/nbgate-proxy": PROXY}
    manual = adapted(block("The hub starts the proxy"), changes)
    manual += adapted(block("Metrics"), changes | {"8002": str(ports.metrics)})
    with folder_for_hub() as folder:
        files = folder / "site" / BASE.strip("/").replace("%20", " ") / "services" / "files"
        files.mkdir(parents=True)
        (files / "index.html").write_text("what the service has")
        own = f"""
c.JupyterHub.bind_url = "{on_loopback(ports.public)}{BASE}/"
c.JupyterHub.hub_port = {ports.hub}
c.JupyterHub.allow_named_servers = True
c.ConfigurableHTTPProxy.api_url = "{on_loopback(ports.api)}"
c.JupyterHub.services.append({{
    "name": "files",
    "url": "{on_loopback(ports.service)}",
    "command": ["python3", "-m", "http.server", "{ports.service}", "--bind", "127.0.0.1"],
    "cwd": "{folder}/site",
}})
"""
        config = manual + own + SPAWNER.format(url=on_loopback(ports.guests))
        made = Hub(folder, f"{on_loopback(ports.public)}{BASE}", hub_environment)
        with running_hub(made, config):
            yield made


async def test_person_logs_in_opens_the_server_and_computes(hub: Hub) -> None:
    async with person(hub, "alice") as alice:
        assert "alice" in await alice.log_in()
        server = await alice.spawn()
        assert server.raw_path == f"{BASE}/user/alice/"
        assert "JupyterLab" in await alice.text("GET", server / "lab")
        assert await alice.run("print(6 * 7)") == "42\n"


async def test_name_that_has_to_be_escaped_keeps_its_route(hub: Hub, ports: Ports) -> None:
    async with person(hub, "guest zoë o'hara@example.org") as zoe, servers(port=ports.guests):
        await zoe.log_in()
        await zoe.spawn()
        shown = await zoe.text("GET", zoe.server / "page")
        assert shown.endswith("/page")
        before = hub.log.read_text()
        await ask_hub(zoe, "POST", "/proxy")
        told = hub.log.read_text().removeprefix(before)
        assert not [
            line for line in told.splitlines() if "missing route" in line or "stale" in line
        ]
        assert await zoe.text("GET", zoe.server / "page") == shown


async def test_activity_at_the_proxy_reaches_the_hub(hub: Hub, ports: Ports) -> None:
    async with person(hub, "guest-active") as guest, servers(port=ports.guests):
        await guest.log_in()
        await guest.spawn()

        async def told() -> str:
            user = await ask_hub(guest, "GET", "/users/guest-active")
            return str(user["servers"][""]["last_activity"])

        at_first = await told()  # such a server tells the hub nothing by itself
        await guest.text("GET", guest.server / "page")

        async def later() -> bool:
            return await told() > at_first

        await eventually(later)


async def test_server_that_is_gone_gets_the_page_of_the_hub(hub: Hub, ports: Ports) -> None:
    async with person(hub, "guest-gone") as guest:
        await guest.log_in()
        async with servers(port=ports.guests):
            await guest.spawn()
        async with guest.session.get(guest.server / "page") as answer:
            assert answer.status == 503
            assert answer.content_type == "text/html"
            assert "Your server appears to be down" in await answer.text()


async def test_service_has_a_route(hub: Hub) -> None:
    async with person(hub, "visitor") as visitor:
        assert "what the service has" in await visitor.text("GET", f"{hub.url}/services/files/")


async def test_stopped_server_loses_its_route(hub: Hub, ports: Ports) -> None:
    async with person(hub, "guest-leaving") as guest, servers(port=ports.guests):
        await guest.log_in()
        await guest.spawn()
        spec = guest.server.raw_path
        assert spec in await ask_hub(guest, "GET", "/proxy")
        await ask_hub(guest, "DELETE", "/users/guest-leaving/server")

        async def unrouted() -> bool:
            return spec not in await ask_hub(guest, "GET", "/proxy")

        await eventually(unrouted)


async def test_second_server_of_a_person_has_a_route_below_the_first(
    hub: Hub, ports: Ports
) -> None:
    async with person(hub, "guest-with-two") as guest, servers(port=ports.guests):
        await guest.log_in()
        await guest.spawn()
        await ask_hub(guest, "POST", "/users/guest-with-two/servers/second")
        spec = f"{guest.server.raw_path}second/"

        async def routed() -> bool:
            route = (await ask_hub(guest, "GET", "/proxy")).get(spec)
            return route is not None and route["data"]["server_name"] == "second"

        await eventually(routed)


async def test_a_hundred_people_log_in_at_once(hub: Hub, ports: Ports) -> None:
    async def visit(number: int) -> str:
        async with person(hub, f"guest-{number}") as guest:
            await guest.log_in()
            await guest.spawn()
            return await guest.text("GET", guest.server / "page")

    async with servers(port=ports.guests):
        shown = await asyncio.gather(*(visit(number) for number in range(CROWD)))
    assert shown == [f"at {BASE}/user/guest-{number}/page" for number in range(CROWD)]


async def test_killed_proxy_comes_back_with_its_routes(hub: Hub) -> None:
    async with person(hub, "alice") as alice:
        await alice.log_in()
        await alice.spawn()
        before = set(await ask_hub(alice, "GET", "/proxy"))
        killed = hub.proxy_pid
        os.kill(killed, signal.SIGKILL)
        await eventually(lambda: alice.reaches_server(but_not_by=killed))
        assert await alice.run("print(sum(range(10)))") == "45\n"

        async def all_back() -> bool:
            return set(await ask_hub(alice, "GET", "/proxy")) == before

        await eventually(all_back)


async def test_metrics_count_what_the_proxy_does(hub: Hub, ports: Ports) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{on_loopback(ports.metrics)}/metrics") as answer,
    ):
        assert answer.status == 200
        lines = (await answer.text()).splitlines()
    counts = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    assert float(counts["requests_web"]) > 0
    assert float(counts["api_route_add"]) > 0
