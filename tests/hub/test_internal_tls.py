"""TLS between hub, proxy and servers, by the hub's own authorities."""

from __future__ import annotations

import os
import signal
import ssl
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from tests.hub.hub import PROXY, Hub, folder_for_hub, on_loopback, running_hub
from tests.hub.manual import adapted, block
from tests.hub.person import Person, ask_hub, person
from tests.hub.waiting import eventually
from tests.support.places import free_port


@pytest.fixture(scope="module")
def api_port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def hub(hub_environment: Path, api_port: int) -> Iterator[Hub]:
    url = on_loopback()
    config = adapted(block("The hub starts the proxy"), {"/opt/nbgate/bin/nbgate-proxy": PROXY})
    config += f"""
c.JupyterHub.bind_url = "{url}"
c.JupyterHub.hub_port = {free_port()}
c.ConfigurableHTTPProxy.api_url = "https://127.0.0.1:{api_port}"
"""
    with folder_for_hub() as folder:
        config += adapted(block("TLS inside, too"), {"/var/lib/jupyterhub": str(folder)})
        with running_hub(Hub(folder, url, hub_environment), config) as made:
            yield made


async def test_person_computes_through_servers_that_want_certificates(hub: Hub) -> None:
    async with person(hub, "alice") as alice:
        await alice.log_in()
        await alice.spawn()
        assert await alice.run("print(6 * 7)") == "42\n"
        routes = await ask_hub(alice, "GET", "/proxy")
        targets = [routes[spec]["target"] for spec in ("/", "/user/alice/")]
        assert [target.partition("://")[0] for target in targets] == ["https", "https"]
        for target in targets:
            assert await _refused(target)


async def test_api_answers_nobody_without_a_certificate(hub: Hub, api_port: int) -> None:
    assert await _refused(f"https://127.0.0.1:{api_port}")


async def test_error_page_comes_from_the_hub_by_tls(hub: Hub) -> None:
    async with person(hub, "alice") as alice:
        await alice.log_in()
        server = await alice.spawn()
        (process,) = await _servers_of(alice)
        os.kill(process, signal.SIGKILL)

        async def told() -> bool:
            async with alice.session.get(server / "api/status") as answer:
                return answer.status == 503 and "appears to be down" in await answer.text()

        await eventually(told)


async def _servers_of(somebody: Person) -> list[int]:
    """Return the process ids of somebody's servers."""
    user = await ask_hub(somebody, "GET", f"/users/{somebody.name}?include_stopped_servers")
    return [server["state"]["pid"] for server in user["servers"].values()]


async def _refused(target: str) -> bool:
    """Whether a client without a certificate gets no answer."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    async with aiohttp.ClientSession() as session:
        try:
            async with session.get(target, ssl=context):
                return False
        except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError):
            return True
