"""Real httpd with the published file in front of real notebooks."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass

import aiohttp
import pytest

from tests.end_to_end.conftest import SPAWNERS, gateway_with
from tests.front.upstream import Told, running_upstream, told
from tests.support.apache import folder_for_httpd
from tests.support.faults import small_disk
from tests.support.front import Front, running_front
from tests.support.gateway import GatewayProcess, execute, running, signed_in
from tests.support.places import free_port
from tests.support.waiting import PATIENCE

MINE = "mine-09.:/@"
TRACED = {
    "X-Request-ID": MINE,
    "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
}


@dataclass(frozen=True)
class Site:
    """A gateway with httpd in front of it."""

    gateway: GatewayProcess
    front: Front

    @property
    def notebook(self) -> str:
        """URL of alice's notebook."""
        return f"{self.front.url}/nb/demo-x-alice/"


async def site(
    request: pytest.FixtureRequest,
    spawner: str,
    stack: AsyncExitStack,
    *,
    direct: bool,
    small: bool = False,
    **more: str,
) -> Site:
    """Run a gateway with httpd in front of it.

    Args:
        request: of the test.
        spawner: `process` or `docker`.
        stack: ends both.
        direct: whether httpd serves hot notebooks.
        small: whether what httpd reads is on a small disk of its own.
        more: settings.
    """
    folder = stack.enter_context(folder_for_httpd())
    routes = folder / ("disk" if small else "state/routes")
    if small:
        stack.enter_context(small_disk(routes))
        more["route_file"] = str(routes / "routes.gdbm")
    port = free_port()
    settings = {
        "httpd_direct": str(direct).lower(),
        "public_url": f"http://127.0.0.1:{port}",
        "trusted_proxies": "127.0.0.1",
        **more,
    }
    gateway = stack.enter_context(gateway_with(request, folder / "state", spawner, **settings))
    front = running_front(
        folder,
        routes,
        f"127.0.0.1:{gateway.port}",
        port,
        NBGATE_HTTPD_DIRECT=str(direct).lower(),
    )
    return Site(gateway, await stack.enter_async_context(front))


@pytest.fixture(params=SPAWNERS)
async def through_gateway(request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    async with AsyncExitStack() as stack:
        yield await site(request, request.param, stack, direct=False)


async def use(client: aiohttp.ClientSession, base: str) -> None:
    """Open the page, ask the API, upload a file, execute a cell."""
    async with client.get(f"{base}lab/tree/first-steps.ipynb") as answer:
        assert answer.status == 200
        assert "JupyterLab" in await answer.text()
    async with client.get(f"{base}api/contents/first-steps.ipynb?content=0") as answer:
        assert (await answer.json())["type"] == "notebook"
    body = json.dumps({"type": "file", "format": "text", "content": "x" * 3_000_000}).encode()
    upload = io.BytesIO(body)
    async with client.put(f"{base}api/contents/big%20file.txt", data=upload) as answer:
        assert answer.status in (200, 201), await answer.text()
        assert (await answer.json())["size"] == 3_000_000
    assert await execute(client, base, "6 * 7") == "42"


async def test_everything_works_through_httpd_and_gateway(through_gateway: Site) -> None:
    link = through_gateway.gateway.nbgate(
        "notebook", "url", "--project", "demo", "--person", "alice"
    )
    async with signed_in(link) as client:
        await use(client, through_gateway.notebook)
    async with (
        aiohttp.ClientSession() as stranger,
        stranger.get(f"{through_gateway.notebook}api/status") as answer,
    ):
        assert answer.status == 401


async def logged_id(front: Front, path: str) -> str:
    """Return the id in httpd's log line of the request for `path`, once that is there."""
    async with asyncio.timeout(PATIENCE):
        while True:
            for line in front.log.read_text().splitlines():
                if f" {path} " in line:
                    return line.rpartition(" request_id=")[2]
            await front.ask("/.nbgate-httpd")


@pytest.fixture
async def echoing() -> AsyncIterator[tuple[Site, str]]:
    """A site and host:port of an upstream that tells what it was sent; no notebook is needed."""
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(folder_for_httpd())
        settings = {"trusted_proxies": "127.0.0.1"}
        gateway = stack.enter_context(running(folder / "state", **settings))
        upstream = await stack.enter_async_context(running_upstream("echo"))
        front = running_front(folder, folder / "state" / "routes", f"127.0.0.1:{gateway.port}")
        yield Site(gateway, await stack.enter_async_context(front)), upstream.address


def target_of(address: str, through: str) -> str:
    """Return a route's target; one that is a URL with a path is the gateway's alone."""
    return address if through == "httpd" else f"http://{address}/below"


@pytest.mark.parametrize("through", ["httpd", "gateway"])
async def test_request_and_handshake_have_one_id_and_their_trace_everywhere(
    echoing: tuple[Site, str], through: str
) -> None:
    (site, address), host = echoing, "echo.example.org"
    site.gateway.nbgate("route", "set", host, target_of(address, through))
    answer = await site.front.ask("/plain", host=host, headers=TRACED)
    assert answer.all("X-Request-ID") == [MINE]
    for name, value in TRACED.items():
        assert told(answer).all(name) == [value]
    assert await logged_id(site.front, "/plain") == MINE
    async with (
        aiohttp.ClientSession(headers=TRACED | {"Host": host}) as client,
        client.ws_connect(f"{site.front.url}/socket") as socket,
    ):
        seen = Told(**await socket.receive_json())
    for name, value in TRACED.items():
        assert seen.all(name) == [value]
    assert await logged_id(site.front, "/socket") == MINE
    direct = [
        line for line in site.front.log.read_text().splitlines() if f"direct={address}" in line
    ]
    assert len(direct) == (2 if through == "httpd" else 0)


async def test_101_of_the_gateway_carries_the_id_through_httpd(echoing: tuple[Site, str]) -> None:
    site, address = echoing
    site.gateway.nbgate("route", "set", "echo.example.org", target_of(address, "gateway"))
    handshake = {
        "Host": "echo.example.org",
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    async with (
        aiohttp.ClientSession(headers=TRACED | handshake) as client,
        client.get(f"{site.front.url}/socket") as answer,
    ):
        assert (answer.status, answer.headers.getall("X-Request-ID")) == (101, [MINE])
        answer.close()


@pytest.mark.parametrize("through", ["httpd", "gateway"])
@pytest.mark.parametrize("sent", ['a"b', "x" * 129, "a b"])
async def test_what_is_no_id_is_replaced_once_for_all(
    echoing: tuple[Site, str], through: str, sent: str
) -> None:
    (site, address), host = echoing, "echo.example.org"
    site.gateway.nbgate("route", "set", host, target_of(address, through))
    answer = await site.front.ask("/plain", host=host, headers={"X-Request-ID": sent})
    (made,) = answer.all("X-Request-ID")
    assert made != sent
    assert told(answer).all("X-Request-ID") == [made]
    assert await logged_id(site.front, "/plain") == made


async def test_gateways_own_answers_carry_the_id_through_httpd(echoing: tuple[Site, str]) -> None:
    site, _ = echoing
    answer = await site.front.ask("/nowhere", headers=TRACED)
    assert (answer.status, answer.all("X-Request-ID")) == (404, [MINE])
    assert json.loads(answer.body)["request_id"] == MINE
    site.gateway.nbgate("route", "set", "dead.example.org", f"http://127.0.0.1:{free_port()}")
    answer = await site.front.ask("/dead", host="dead.example.org", headers=TRACED)
    assert (answer.status, answer.all("X-Request-ID")) == (502, [MINE])
