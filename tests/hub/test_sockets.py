"""Everything over Unix sockets: people, the hub, the proxy's API, and some people's servers."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import aiohttp
import pytest

from tests.hub.elsewhere import SPAWNER, servers
from tests.hub.hub import PROXY, Hub, folder_for_hub, running_hub
from tests.hub.manual import adapted, block
from tests.hub.person import ask_hub, person
from tests.hub.waiting import eventually


@pytest.fixture(scope="module")
def hub(hub_environment: Path) -> Iterator[Hub]:
    config = adapted(block("The hub starts the proxy"), {"/opt/nbgate/bin/nbgate-proxy": PROXY})
    with folder_for_hub() as folder:
        config += adapted(block("Unix sockets"), {"%2Frun%2Fjupyterhub": quote(str(folder), "")})
        config += SPAWNER.format(url=f"http+unix://{quote(f'{folder}/guests.sock', '')}")
        made = Hub(folder, "http://hub.example", hub_environment)
        with running_hub(made, config):
            yield made


async def test_person_computes_though_nothing_has_a_port(hub: Hub) -> None:
    async with person(hub, "alice", unix=_public(hub)) as alice:
        await alice.log_in()
        await alice.spawn()
        assert await alice.run("print(6 * 7)") == "42\n"
        hubs = (await ask_hub(alice, "GET", "/proxy"))["/"]
        assert hubs["target"].startswith("http+unix://")


async def test_server_at_a_socket_has_a_route_and_an_error_page(hub: Hub) -> None:
    async with person(hub, "guest", unix=_public(hub)) as guest:
        await guest.log_in()
        async with servers(unix=f"{hub.folder}/guests.sock"):
            await guest.spawn()
            assert await guest.text("GET", guest.server / "page") == "at /user/guest/page"
        async with guest.session.get(guest.server / "page") as answer:
            assert answer.status == 503
            assert "Your server appears to be down" in await answer.text()


async def test_killed_proxy_leaves_sockets_that_its_successor_replaces(hub: Hub) -> None:
    async with person(hub, "bob", unix=_public(hub)) as bob:
        await bob.log_in()
        killed = hub.proxy_pid
        os.kill(killed, signal.SIGKILL)

        async def back() -> bool:
            try:
                return hub.proxy_pid != killed and "bob" in await bob.text(
                    "GET", f"{hub.url}/hub/home"
                )
            except (OSError, ValueError, AssertionError, aiohttp.ClientError):
                return False

        await eventually(back)


def _public(hub: Hub) -> str:
    return f"{hub.folder}/public.sock"
