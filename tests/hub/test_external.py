"""A proxy of its own, by the manual's systemd unit, which the hub finds and does not start."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest

from tests.hub import unit
from tests.hub.hub import PROXY, Hub, folder_for_hub, on_loopback, running_hub
from tests.hub.manual import adapted, block
from tests.hub.person import ask_hub, person
from tests.hub.waiting import eventually
from tests.support.places import free_port
from tests.support.waiting import PATIENCE

HEADING = "A proxy of its own, with systemd"


@dataclass
class Proxy:
    """A proxy that nobody looks after."""

    folder: Path
    hub_port: int
    token: str
    port: int = field(default_factory=free_port)
    api_port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def api_url(self) -> str:
        return on_loopback(self.api_port)

    @property
    def token_file(self) -> Path:
        return self.folder / f"token-{self.port}"

    @property
    def routes_folder(self) -> Path:
        return self.folder / f"routes-{self.port}"

    def start(self) -> None:
        """Start it anew."""
        self.token_file.write_text(f"{self.token}\n")
        self.routes_folder.mkdir(exist_ok=True)
        changes = {
            "/etc/jupyterhub/proxy-token": str(self.token_file),
            "/opt/nbgate/bin/nbgate-proxy": PROXY,
            "--port=8000": f"--ip=127.0.0.1 --port={self.port}",
            "--api-port=8001": f"--api-port={self.api_port}",
            "127.0.0.1:8081": f"127.0.0.1:{self.hub_port}",
            "--metrics-port=8002": f"--metrics-port={free_port()}",
            "/var/lib/nbgate-proxy/": f"{self.routes_folder}/",
        }
        service = adapted(block(HEADING, "ini"), changes)
        self.process = unit.start(service, self.folder / "proxy.log")

    def terminate(self) -> int:
        """End it as systemd does; return its exit code."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(PATIENCE)

    def kill(self) -> None:
        """End it at once."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(PATIENCE)

    async def routes(self) -> set[str]:
        """Return the keys of its routes; none while it does not answer."""
        headers = {"Authorization": f"token {self.token}"}
        with contextlib.suppress(aiohttp.ClientError):
            async with (
                aiohttp.ClientSession(headers=headers) as session,
                session.get(f"{self.api_url}/api/routes") as answer,
            ):
                assert answer.status == 200
                return set(await answer.json())
        return set()


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with folder_for_hub() as made:
        yield made


@pytest.fixture(scope="module")
def proxy(folder: Path) -> Iterator[Proxy]:
    made = Proxy(folder, hub_port=free_port(), token="of-the-first")
    made.start()
    try:
        yield made
    finally:
        made.kill()


@pytest.fixture(scope="module")
def hub(hub_environment: Path, folder: Path, proxy: Proxy) -> Iterator[Hub]:
    changes = {
        "http://127.0.0.1:8001": proxy.api_url,
        "/etc/jupyterhub/proxy-token": str(proxy.token_file),
        "http://:8000": on_loopback(proxy.port),
        "http://127.0.0.1:8081": on_loopback(proxy.hub_port),
    }
    config = adapted(block(HEADING), changes)
    # Only who asks for it gets the routes set: the hub's own look is too far off.
    config += "c.JupyterHub.last_activity_interval = 3600\n"
    made = Hub(folder, on_loopback(proxy.port), hub_environment)
    with running_hub(made, config):
        yield made


async def test_person_computes_through_a_proxy_that_the_hub_did_not_start(hub: Hub) -> None:
    async with person(hub, "alice") as alice:
        await alice.log_in()
        await alice.spawn()
        assert await alice.run("print(6 * 7)") == "42\n"


async def test_restarted_proxy_has_its_routes_at_once(hub: Hub, proxy: Proxy) -> None:
    async with person(hub, "alice") as alice:
        await alice.log_in()
        await alice.spawn()
        before = await proxy.routes()
        assert proxy.terminate() == 2  # which the unit calls a success
        proxy.start()
        await eventually(lambda: _answers(proxy))
        assert await proxy.routes() == before
        assert await alice.run("print(sum(range(10)))") == "45\n"


async def test_proxy_that_lost_its_routes_gets_them_when_the_hub_is_asked(
    hub: Hub, proxy: Proxy
) -> None:
    async with person(hub, "dora") as dora:
        await dora.log_in()
        before = await proxy.routes()
        proxy.kill()
        shutil.rmtree(proxy.routes_folder)
        proxy.start()
        await eventually(lambda: _answers(proxy))
        assert await proxy.routes() == set()
        straight = Hub(hub.folder, on_loopback(proxy.hub_port), hub.environment)
        async with person(straight, "dora") as operator:
            await ask_hub(operator, "POST", "/proxy")
        assert await proxy.routes() == before
        assert "dora" in await dora.text("GET", f"{hub.url}/hub/home")


async def test_people_compute_while_the_hub_is_away(hub: Hub) -> None:
    async with person(hub, "alice") as alice:
        await alice.log_in()
        await alice.spawn()
        hub.end()
        assert await alice.run("print(3 ** 4)") == "81\n"
        async with alice.session.get(f"{hub.url}/hub/home") as answer:
            assert answer.status == 503
        hub.start()
        assert await alice.run("print(3 ** 5)") == "243\n"
        assert "alice" in await alice.text("GET", f"{hub.url}/hub/home")


async def test_hub_is_told_of_another_proxy_and_moves_there(hub: Hub, proxy: Proxy) -> None:
    other = Proxy(hub.folder, proxy.hub_port, token="of-the-second")
    other.start()
    try:
        await eventually(lambda: _answers(other))
        async with person(hub, "alice") as alice:
            await alice.log_in()
            await alice.spawn()
            model = {"api_url": other.api_url, "auth_token": other.token}
            await ask_hub(alice, "PATCH", "/proxy", model)
            assert await other.routes() == await proxy.routes()
            alice.server = alice.server.with_port(other.port)
            assert await alice.run("print(2 ** 10)") == "1024\n"
    finally:
        back = {"api_url": proxy.api_url, "auth_token": proxy.token}
        async with person(hub, "alice") as operator:
            await ask_hub(operator, "PATCH", "/proxy", back)
        other.kill()


async def _answers(proxy: Proxy) -> bool:
    try:
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{on_loopback(proxy.port)}/_chp_healthz") as answer,
        ):
            return answer.status == 200
    except aiohttp.ClientError:
        return False
