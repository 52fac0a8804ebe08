from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from aiohttp import ClientSession, WSMsgType, WSServerHandshakeError

from tests.front.conftest import StartFront
from tests.front.people import KEY, SECRET, cookie, publish
from tests.front.upstream import Upstream
from tests.support.front import RouteFiles

pytestmark = pytest.mark.asyncio(loop_scope="package")


@pytest.mark.parametrize(("key", "by"), [(KEY, "notebook"), ("/nb/other", "gateway")])
async def test_frames_pass_both_ways(
    start_front: StartFront, routes: RouteFiles, notebook: Upstream, key: str, by: str
) -> None:
    routes.write({key: notebook.address})
    front = await start_front()
    target = f"{KEY}/api/kernels/a%2Fb/channels?session_id=1%3F&x"
    large = bytes(range(256)) * 2**12
    async with (
        ClientSession() as session,
        session.ws_connect(f"{front.url}{target}", protocols=["kernel"], max_msg_size=0) as socket,
    ):
        first = await socket.receive_json()
        assert first["by"] == by
        assert first["target"].replace("%3F", "?") == target.replace("%3F", "?")
        assert socket.protocol == "kernel"
        await socket.send_str("κ")
        assert await socket.receive_str() == "κ"
        await socket.send_bytes(large)
        assert await socket.receive_bytes() == large


async def test_close_code_reaches_the_other_side(
    start_front: StartFront, routes: RouteFiles, notebook: Upstream
) -> None:
    routes.write({KEY: notebook.address})
    front = await start_front()
    async with ClientSession() as session, session.ws_connect(f"{front.url}{KEY}/ws") as socket:
        await socket.receive_json()
        await socket.send_str("close 4001")
        message = await socket.receive()
        assert (message.type, message.data) == (WSMsgType.CLOSE, 4001)


async def test_silent_tunnel_outlives_the_time_limits_of_requests(
    folder: Path, start_front: StartFront, routes: RouteFiles, notebook: Upstream
) -> None:
    extra = folder / "extra.conf"
    extra.write_text("Timeout 4\nRequestReadTimeout header=4 body=4,MinRate=500\n")
    routes.write({KEY: notebook.address})
    front = await start_front(NBGATE_HTTPD_EXTRA=str(extra))
    async with ClientSession() as session, session.ws_connect(f"{front.url}{KEY}/ws") as socket:
        await socket.receive_json()
        with pytest.raises(TimeoutError):
            await socket.receive(timeout=6)
        await socket.send_str("still here")
        message = await socket.receive()
        assert (message.type, message.data) == (WSMsgType.TEXT, "still here")


async def test_handshake_of_the_owner_gets_the_secret(
    start_front: StartFront, routes: RouteFiles, notebook: Upstream, gateway: Upstream
) -> None:
    publish(routes, notebook)
    front = await start_front(NBGATE_HTTPD_DIRECT="true")
    await gateway.stop()
    own = {"Origin": front.url, "Sec-Fetch-Site": "same-origin"}
    url = f"{front.url}{KEY}/channels?token=stale&session_id=1"
    async with ClientSession(headers=cookie("alice") | own) as session:
        async with session.ws_connect(url) as socket:
            first = await socket.receive_json()
        assert ["Authorization", f"token {SECRET}"] in first["headers"]
        assert first["target"] == f"{KEY}/channels?session_id=1"
    async with ClientSession() as session:
        with pytest.raises(WSServerHandshakeError, match="503"):
            await session.ws_connect(url)


async def test_many_tunnels_at_once(
    start_front: StartFront, routes: RouteFiles, notebook: Upstream
) -> None:
    routes.write({KEY: notebook.address})
    front = await start_front()
    async with ClientSession() as session:

        async def one(number: int) -> str:
            async with session.ws_connect(f"{front.url}{KEY}/ws") as socket:
                await socket.receive_json()
                await socket.send_str(str(number))
                return await socket.receive_str()

        assert await asyncio.gather(*map(one, range(50))) == [str(number) for number in range(50)]
