"""Every request has one X-Request-ID on all sides of httpd and in its log; trace context passes."""

from __future__ import annotations

import asyncio
import re

import pytest
import pytest_asyncio
from aiohttp import ClientSession

from tests.front.conftest import StartFront
from tests.front.people import KEY, cookie, publish
from tests.front.upstream import Upstream, told
from tests.support.front import Front, RouteFiles
from tests.support.waiting import PATIENCE

pytestmark = pytest.mark.asyncio(loop_scope="package")

# By the file, and by the gateway.
WAYS = [KEY, "/elsewhere"]
SANE = re.compile(r"[A-Za-z0-9._~+/=:@-]{16,128}")
TRACE = {
    "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    "tracestate": "vendor=a b;c,other@x=1",
}
NOT_IDS = ["a b", 'x"y', "x'y", "<script>", "a\tb", "caf\xe9", "x" * 129, "a,b", "a\\b", ""]


async def logged(front: Front, path: str) -> str:
    """Return the access log's line of the request for `path`, once it is there."""
    async with asyncio.timeout(PATIENCE):
        while True:
            lines = [line for line in front.log.read_text().splitlines() if f" {path} " in line]
            if lines:
                assert len(lines) == 1, lines
                return lines[0]
            await front.ask("/.nbgate-httpd")


@pytest_asyncio.fixture(loop_scope="package")
async def direct(start_front: StartFront, routes: RouteFiles, notebook: Upstream) -> Front:
    publish(routes, notebook)
    return await start_front(NBGATE_HTTPD_DIRECT="true")


@pytest_asyncio.fixture(loop_scope="package", params=["false", "true"])
async def front(
    request: pytest.FixtureRequest,
    start_front: StartFront,
    routes: RouteFiles,
    notebook: Upstream,
) -> Front:
    """httpd with a hot notebook, once where it admits people and once where it does not."""
    publish(routes, notebook)
    return await start_front(NBGATE_HTTPD_DIRECT=request.param)


@pytest.mark.parametrize("way", WAYS)
async def test_id_of_the_client_is_the_same_everywhere(front: Front, way: str) -> None:
    mine = "az.09-_~+/=:@AZ"
    path = f"{way}/given-{front.port}"
    answer = await front.ask(path, headers=cookie("alice") | TRACE | {"X-Request-ID": mine})
    assert told(answer).one("X-Request-ID") == mine
    assert answer.all("X-Request-ID") == [mine]
    assert (await logged(front, path)).endswith(f" request_id={mine}")
    for name, value in TRACE.items():
        assert told(answer).one(name) == value


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("sent", NOT_IDS)
async def test_what_is_no_id_is_replaced_and_not_logged(front: Front, way: str, sent: str) -> None:
    path = f"{way}/bad-{front.port}-{NOT_IDS.index(sent)}"
    answer = await front.ask(path, headers=cookie("alice") | {"X-Request-ID": sent})
    (made,) = answer.all("X-Request-ID")
    assert SANE.fullmatch(made)
    assert told(answer).one("X-Request-ID") == made
    line = await logged(front, path)
    assert line.endswith(f" request_id={made}")
    assert not sent or sent not in line.partition(path)[2]


@pytest.mark.parametrize("way", WAYS)
async def test_handshake_reaches_its_target_with_id_and_trace(front: Front, way: str) -> None:
    path = f"{way}/socket-{front.port}"
    async with (
        ClientSession(headers=cookie("alice") | TRACE | {"X-Request-ID": "mine-1"}) as session,
        session.ws_connect(f"{front.url}{path}") as socket,
    ):
        seen = {name.lower(): value for name, value in (await socket.receive_json())["headers"]}
        assert seen["x-request-id"] == "mine-1"
        assert {name: seen[name] for name in TRACE} == TRACE
    assert (await logged(front, path)).endswith(" request_id=mine-1")


async def test_requests_without_an_id_get_different_ones(front: Front) -> None:
    made = [(await front.ask(KEY, headers=cookie("alice"))).all("X-Request-ID") for _ in range(3)]
    assert len({one for (one,) in made}) == 3


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("status", [204, 304, 404, 500, 503])
async def test_answer_of_any_status_carries_it_once(front: Front, way: str, status: int) -> None:
    headers = cookie("alice") | {"X-Request-ID": "mine-2"}
    answer = await front.ask(f"{way}?status={status}", headers=headers)
    assert (answer.status, answer.all("X-Request-ID")) == (status, ["mine-2"])


@pytest.mark.parametrize("way", WAYS)
async def test_connection_cannot_name_away_what_httpd_says(front: Front, way: str) -> None:
    named = "x-request-ID ,Authorization,, X-Nbgate-User,x-forwarded-proto,X-Mine , close"
    headers = cookie("alice") | {
        "Authorization": "token mine",
        "Connection": named,
        "X-Mine": "ends here",
        "X-Request-ID": "mine-3",
    }
    seen = told(await front.ask(way, headers=headers))
    assert seen.one("X-Request-ID") == "mine-3"
    assert seen.one("X-Forwarded-Proto") == "http"
    assert seen.one("Authorization") is not None
    assert seen.one("X-Mine") is None


@pytest.mark.parametrize("headers", [{}, cookie("alice") | {"Sec-Fetch-Site": "cross-site"}])
async def test_what_httpd_leaves_to_the_gateway_keeps_it(
    direct: Front, headers: dict[str, str]
) -> None:
    path = f"{KEY}/left-{len(headers)}"
    answer = await direct.ask(path, headers=headers | {"X-Request-ID": "mine-4"})
    assert (told(answer).by, answer.all("X-Request-ID")) == ("gateway", ["mine-4"])
    assert (await logged(direct, path)).endswith(" request_id=mine-4")
    answer = await direct.ask(f"{path}-new", headers=headers | {"X-Request-ID": 'a"b'})
    (made,) = answer.all("X-Request-ID")
    assert told(answer).one("X-Request-ID") == made
    assert (await logged(direct, f"{path}-new")).endswith(f" request_id={made}")


@pytest.mark.parametrize("sent", [{}, {"X-Request-ID": "mine-5"}])
async def test_dead_targets_request_keeps_its_id_at_the_gateway(
    front: Front, notebook: Upstream, sent: dict[str, str]
) -> None:
    await notebook.stop()
    path = f"{KEY}/dead-{front.port}-{len(sent)}"
    answer = await front.ask(path, headers=cookie("alice") | TRACE | sent)
    seen = told(answer)
    assert seen.by == "gateway"
    (told_id,) = answer.all("X-Request-ID")
    assert told_id == sent.get("X-Request-ID", told_id)
    assert seen.one("X-Request-ID") == told_id
    assert seen.one("traceparent") == TRACE["traceparent"]
    assert (await logged(front, path)).endswith(f" request_id={told_id}")


async def test_answer_that_nothing_serves_it_carries_it(front: Front, gateway: Upstream) -> None:
    await gateway.stop()
    answer = await front.ask("/elsewhere", headers={"X-Request-ID": "mine-6"})
    assert (answer.status, answer.all("X-Request-ID")) == (503, ["mine-6"])


async def test_head_with_control_characters_is_refused_and_none_is_logged(front: Front) -> None:
    path = f"{KEY}/control-{front.port}"
    answer = await front.ask(path, headers={"X-Request-ID": "a\x01\x1b[31mb"})
    assert answer.status == 400
    line = await logged(front, path)
    assert line.endswith(" request_id=-")
    assert "31mb" not in line
