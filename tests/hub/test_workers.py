"""A hub whose proxy is several processes: it sees one, and misses nothing when another ends."""

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
from tests.workers.support import Family, until_async


class Fleet(Family):
    """The proxy of a hub."""

    worker_mark = "gateway.chp_fleet.worker"
    control_mark = "gateway.chp_fleet.control"

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    @property
    def supervisor(self) -> int:
        return self._hub.proxy_pid


@pytest.fixture(scope="module")
def hub(hub_environment: Path) -> Iterator[Hub]:
    public, own, api = free_port(), free_port(), free_port()
    config = adapted(block("Several processes"), {"/opt/nbgate/bin/nbgate-proxy": PROXY})
    config += f"""
c.JupyterHub.bind_url = "{on_loopback(public)}/"
c.JupyterHub.hub_port = {own}
c.ConfigurableHTTPProxy.api_url = "{on_loopback(api)}"
"""
    with folder_for_hub() as folder:
        made = Hub(folder, on_loopback(public), hub_environment)
        with running_hub(made, config):
            yield made


async def test_person_computes_while_one_process_after_the_other_is_killed(hub: Hub) -> None:
    fleet = Fleet(hub)
    async with person(hub, "alice") as alice:
        await alice.log_in()
        await alice.spawn()
        before = set(await ask_hub(alice, "GET", "/proxy"))
        proxy = fleet.supervisor
        for killed in (fleet.control, *fleet.workers):
            os.kill(killed, signal.SIGKILL)
            await eventually(lambda: alice.reaches_server(but_not_by=0))
            assert await alice.run("print(6 * 7)") == "42\n"

            async def all_told() -> bool:
                return set(await ask_hub(alice, "GET", "/proxy")) == before

            await eventually(all_told)
        assert fleet.supervisor == proxy, "the hub did not have to start it again"
        await until_async(lambda: len(fleet.workers) == 4, "the last one has a successor")


async def test_killed_proxy_comes_back_with_its_routes(hub: Hub) -> None:
    async with person(hub, "bob") as bob:
        await bob.log_in()
        await bob.spawn()
        killed = hub.proxy_pid
        os.kill(killed, signal.SIGKILL)
        await eventually(lambda: bob.reaches_server(but_not_by=killed))
        assert await bob.run("print(6 * 7)") == "42\n"
