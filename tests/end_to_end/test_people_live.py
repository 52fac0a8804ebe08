"""Whoever may use a notebook opens it live under host routing: teachers, people it is shared with.

Each notebook is an origin of its own there; what becomes of path routing is in test_people.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket as sockets
from collections.abc import AsyncIterator, Iterator
from typing import Any

import aiohttp
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from tests.end_to_end.school import (
    COURSES,
    SAMS,
    STAFF,
    add_courses,
    login_link,
    sams_notebook,
    status,
)
from tests.support.gateway import GatewayProcess, running_by
from tests.support.waiting import PATIENCE

BASE = "nb.localhost"


class Here(AbstractResolver):
    """Every name is this machine's: not every system knows names below localhost."""

    async def resolve(
        self, host: str, port: int = 0, family: sockets.AddressFamily = sockets.AF_INET
    ) -> list[ResolveResult]:
        made = ResolveResult(
            hostname=host, host="127.0.0.1", port=port, family=sockets.AF_INET, proto=0, flags=0
        )
        return [made]

    async def close(self) -> None:
        """Nothing is open."""


def address(school: GatewayProcess, slug: str) -> str:
    return f"http://{slug}.{BASE}:{school.port}/"


async def enter(client: aiohttp.ClientSession, school: GatewayProcess, slug: str) -> None:
    """Get the session of a notebook's origin, as a browser does that opens it."""
    url, html = address(school, slug), {"Accept": "text/html"}
    for _ in ("authorize", "enter", "back"):
        async with client.get(url, headers=html, allow_redirects=False) as answer:
            assert answer.status == 303, await answer.text()
            url = answer.headers["Location"]


@pytest.fixture(scope="module", params=["0", "2"], ids=["one process", "two workers"])
def school(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    """Two courses with a teacher each."""
    state = tmp_path_factory.mktemp("school") / "state"
    with running_by("host", state, spawner="process", workers=request.param) as gateway:
        add_courses(gateway)
        yield gateway


@pytest.fixture
async def people(school: GatewayProcess) -> AsyncIterator[dict[str, aiohttp.ClientSession]]:
    """Browsers in which somebody is signed in, each by a notebook of their own."""
    async with contextlib.AsyncExitStack() as stack:
        found = {}
        for person, course in COURSES.items():
            link = await login_link(school, person)
            connector = aiohttp.TCPConnector(resolver=Here())
            client = await stack.enter_async_context(aiohttp.ClientSession(connector=connector))
            assert await status(client, link) == 303
            await enter(client, school, f"{course}-x-{person}")
            found[person] = client
        await enter(found["tina"], school, SAMS)
        yield found


@pytest.fixture(params=["hot", "cold"])
async def sams(
    request: pytest.FixtureRequest,
    school: GatewayProcess,
    people: dict[str, aiohttp.ClientSession],
) -> AsyncIterator[str]:
    """The address of sam's notebook."""
    base, hot = address(school, SAMS), request.param == "hot"
    async with sams_notebook(school, people["sam"], base, hot=hot) as opened:
        yield opened


async def subscribed(
    stack: contextlib.AsyncExitStack, client: aiohttp.ClientSession, base: str
) -> aiohttp.ClientWebSocketResponse:
    """Open a WebSocket of a notebook, on a connection of its own."""
    assert await status(client, f"{base}api/status") == 200
    events = client.ws_connect(f"{base}api/events/subscribe", autoping=False)
    return await stack.enter_async_context(events)


async def told(socket: aiohttp.ClientWebSocketResponse, kind: aiohttp.WSMsgType) -> Any:
    """Return what a message of this kind says, the next one."""
    while (message := await socket.receive(PATIENCE)).type is not kind:
        assert message.type not in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED), kind
    return message.data


async def shut(socket: aiohttp.ClientWebSocketResponse) -> None:
    """Return when the gateway has closed it."""
    assert await told(socket, aiohttp.WSMsgType.CLOSE) == aiohttp.WSCloseCode.GOING_AWAY


async def answers(socket: aiohttp.ClientWebSocketResponse) -> None:
    """Return when the server at the other end has answered."""
    await socket.ping(b"there?")
    assert await told(socket, aiohttp.WSMsgType.PONG) == b"there?"


async def test_teacher_opens_and_stops_a_students_notebook(
    school: GatewayProcess, people: dict[str, aiohttp.ClientSession], sams: str
) -> None:
    tina, main = people["tina"], school.origin
    assert await status(tina, f"{sams}api/contents/first-steps.ipynb") == 200
    async with tina.ws_connect(f"{sams}api/events/subscribe") as socket:
        assert not socket.closed
    async with tina.get(f"{main}/", headers={"Accept": "text/html"}) as answer:
        assert f'href="{sams}lab"' in await answer.text()
    assert await status(tina, f"{main}/gateway/read/{SAMS}/first-steps.ipynb") == 200
    assert await status(tina, f"{main}/gateway/stop/{SAMS}", "POST", Origin=main) == 303
    assert (await asyncio.to_thread(school.show, SAMS))["state"] == "cold"


async def test_who_is_taken_off_the_staff_is_out_with_the_session_they_have(
    school: GatewayProcess, people: dict[str, aiohttp.ClientSession], sams: str
) -> None:
    await asyncio.to_thread(school.nbgate, *STAFF, "--staff", "tina", "--staff", "otto")
    await enter(people["otto"], school, SAMS)
    async with contextlib.AsyncExitStack() as stack:
        gone, left = [
            [await subscribed(stack, people[person], sams) for _ in range(4)]
            for person in ("otto", "tina")
        ]
        await asyncio.to_thread(school.nbgate, *STAFF, "--staff", "tina")
        for socket in gone:
            await shut(socket)
        for socket in left:
            await answers(socket)
    for _ in range(4):  # at each worker
        assert await status(people["otto"], f"{sams}api/status", Connection="close") == 404
    assert await status(people["tina"], f"{sams}api/status") == 200


async def test_shared_notebook_is_the_others_until_it_is_not(
    school: GatewayProcess, people: dict[str, aiohttp.ClientSession], sams: str
) -> None:
    shared = await asyncio.to_thread(school.nbgate, "notebook", "share", SAMS, "mallory", "m2")
    assert shared == f"{SAMS}: shared with mallory, m2"
    await enter(people["mallory"], school, SAMS)
    own = address(school, "demo-x-mallory")
    async with contextlib.AsyncExitStack() as stack:
        gone = [await subscribed(stack, people["mallory"], sams) for _ in range(4)]
        left = [
            await subscribed(stack, people["sam"], sams),
            await subscribed(stack, people["mallory"], own),
        ]
        await asyncio.to_thread(school.nbgate, "notebook", "unshare", SAMS, "mallory", "m2")
        for socket in gone:
            await shut(socket)
        for socket in left:
            await answers(socket)
    for _ in range(4):
        assert await status(people["mallory"], f"{sams}api/status", Connection="close") == 404
