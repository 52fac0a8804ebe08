"""A target in the file that does not answer: the gateway takes over, if that is safe."""

from __future__ import annotations

import pytest
from aiohttp import ClientSession

from tests.front.conftest import StartFront
from tests.front.people import KEY, SECRET, cookie, publish
from tests.front.upstream import Upstream, told
from tests.support.front import RouteFiles

pytestmark = pytest.mark.asyncio(loop_scope="package")

TARGET = f"{KEY}/a%2Fb%3F?x=%3F&y"


@pytest.mark.parametrize("direct", ["false", "true"])
async def test_dead_targets_request_goes_to_the_gateway_as_it_was_sent(
    start_front: StartFront, routes: RouteFiles, notebook: Upstream, direct: str
) -> None:
    publish(routes, notebook)
    front = await start_front(NBGATE_HTTPD_DIRECT=direct)
    await notebook.stop()
    cookies = f"a=1; nbgate-session=mine; {cookie('alice')['Cookie']}"
    headers = {"Cookie": cookies, "Authorization": "token mine", "X-Mine": "kept"}
    answer = told(await front.ask(TARGET, headers=headers))
    assert (answer.by, answer.method, answer.target) == ("gateway", "GET", TARGET)
    assert answer.one("Cookie") == headers["Cookie"]
    assert answer.one("Authorization") == headers["Authorization"]
    assert answer.one("X-Mine") == "kept"
    assert answer.one("X-Nbgate-User") is None


async def test_gateway_is_not_told_a_secret_of_a_dead_target(
    start_front: StartFront, routes: RouteFiles, notebook: Upstream
) -> None:
    publish(routes, notebook)
    front = await start_front(NBGATE_HTTPD_DIRECT="true")
    await notebook.stop()
    answer = await front.ask(TARGET, headers=cookie("alice"))
    assert SECRET.encode() not in answer.body


async def test_head_of_a_dead_target_is_answered_by_the_gateway(
    start_front: StartFront, routes: RouteFiles, notebook: Upstream, gateway: Upstream
) -> None:
    routes.write({KEY: notebook.address})
    front = await start_front()
    await notebook.stop()
    answer = await front.ask(TARGET, method="HEAD")
    assert (answer.status, answer.body) == (200, b"")
    assert len(gateway.seen) == 1


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
async def test_request_that_may_have_changed_something_is_not_sent_again(
    start_front: StartFront, routes: RouteFiles, notebook: Upstream, gateway: Upstream, method: str
) -> None:
    routes.write({KEY: notebook.address})
    front = await start_front()
    await notebook.stop()
    answer = await front.ask(TARGET, method=method, body=b"data")
    assert answer.status == 503
    assert gateway.seen == []


async def test_handshake_of_a_dead_target_goes_to_the_gateway(
    start_front: StartFront, routes: RouteFiles, notebook: Upstream
) -> None:
    routes.write({KEY: notebook.address})
    front = await start_front()
    await notebook.stop()
    async with (
        ClientSession(cookies={"nbgate-session": "mine"}) as session,
        session.ws_connect(f"{front.url}{KEY}/channels?session_id=1") as socket,
    ):
        first = await socket.receive_json()
        assert (first["by"], first["target"]) == ("gateway", f"{KEY}/channels?session_id=1")
        assert ["Cookie", "nbgate-session=mine"] in first["headers"]


@pytest.mark.parametrize("status", [502, 503, 404])
async def test_answer_of_a_living_target_is_not_replaced(
    start_front: StartFront, routes: RouteFiles, notebook: Upstream, gateway: Upstream, status: int
) -> None:
    routes.write({KEY: notebook.address})
    front = await start_front()
    answer = await front.ask(f"{KEY}/?status={status}")
    assert answer.status == status
    assert b'"by": "notebook"' in answer.body
    assert gateway.seen == []


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_asking_for_the_fallback_itself_is_an_ordinary_request(
    start_front: StartFront, method: str
) -> None:
    front = await start_front()
    answer = told(await front.ask("/.fallback?x", method=method, body=b""))
    assert (answer.by, answer.method, answer.target) == ("gateway", method, "/.fallback?x")


async def test_gateway_that_is_down_is_said_so_and_is_used_again_when_it_is_back(
    start_front: StartFront, routes: RouteFiles, notebook: Upstream, gateway: Upstream
) -> None:
    routes.write({KEY: notebook.address})
    front = await start_front()
    port = gateway.server.port
    await gateway.stop()
    await notebook.stop()
    answer = await front.ask("/elsewhere")
    assert answer.status == 503
    assert b"does not answer now" in answer.body
    assert (await front.ask(TARGET)).status == 503
    assert port is not None
    async with gateway.again(port):
        assert told(await front.ask("/elsewhere")).by == "gateway"
