"""JupyterHub 5 with nbgate-proxy: the ways of it that differ from those of the next."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hub.hub import PROXY, Hub, folder_for_hub, on_loopback, running_hub
from tests.hub.manual import adapted, block
from tests.hub.person import ask_hub, person
from tests.hub.waiting import eventually
from tests.support.places import free_port


@pytest.fixture(scope="module")
def hub(older_hub_environment: Path) -> Iterator[Hub]:
    url = on_loopback()
    config = adapted(block("The hub starts the proxy"), {"/opt/nbgate/bin/nbgate-proxy": PROXY})
    config += f"""
c.JupyterHub.bind_url = "{url}"
c.JupyterHub.hub_port = {free_port()}
c.ConfigurableHTTPProxy.api_url = "{on_loopback()}"
"""
    with (
        folder_for_hub() as folder,
        running_hub(Hub(folder, url, older_hub_environment), config) as made,
    ):
        yield made


async def test_person_computes_and_a_killed_proxy_comes_back(hub: Hub) -> None:
    async with person(hub, "alice") as alice:
        await alice.log_in()
        await alice.spawn()
        assert await alice.run("print(6 * 7)") == "42\n"
        before = set(await ask_hub(alice, "GET", "/proxy"))
        killed = hub.proxy_pid
        os.kill(killed, signal.SIGKILL)
        await eventually(lambda: alice.reaches_server(but_not_by=killed))
        assert await alice.run("print(sum(range(10)))") == "45\n"

        async def all_back() -> bool:
            return set(await ask_hub(alice, "GET", "/proxy")) == before

        await eventually(all_back)
