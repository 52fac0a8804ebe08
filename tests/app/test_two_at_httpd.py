"""Two gateways of one database, each with the maps of an httpd of its own; no engine is needed."""

from __future__ import annotations

import asyncio
import contextlib
import html
import json
import re
import shutil
from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest

from routes.apachedb import read
from tests.spawners.helpers import eventually
from tests.support.databases import new_database
from tests.support.gateway import GatewayProcess, running, signed_in
from tests.support.places import free_port

SLUG = "demo-x-alice"
FILE = "intro.ipynb"
Two = tuple[GatewayProcess, GatewayProcess]


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def two(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Two]:
    folder = tmp_path_factory.mktemp("two")
    if request.param == "sqlite":
        url = f"sqlite+aiosqlite:///{folder / 'shared.db'}"
    else:
        url = asyncio.run(new_database(request.getfixturevalue("cluster")))
    course = folder / "course"
    course.mkdir()
    (course / FILE).write_text('{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}')
    public = f"127.0.0.1:{free_port()}"  # of a name in front of both, here the first one's
    settings = {
        "public_url": f"http://{public}",
        "database_url": url,
        "spaces_dir": str(folder / "spaces"),
        "spawner": "process",
        "httpd_direct": "true",
    }
    with contextlib.ExitStack() as stack:
        one = stack.enter_context(running(folder / "one", listen=public, **settings))
        (folder / "two").mkdir()
        shutil.copy(one.state / "identity.json", folder / "two")
        other = stack.enter_context(running(folder / "two", **settings))
        one.nbgate("project", "add", "demo", "--source", str(course), "--links", "signed")
        yield one, other


def edge_of(client: aiohttp.ClientSession) -> str:
    """Return the edge id of a client, by which an httpd admits it."""
    (edge,) = (cookie.value for cookie in client.cookie_jar if cookie.key == "nbgate-edge")
    return edge


def at_httpd(gateway: GatewayProcess, edge: str) -> bool:
    """Whether the httpd of a gateway admits somebody by an edge id."""
    return edge.encode() in read(gateway.state / "routes" / "edges.gdbm")


async def until_at_httpd(gateway: GatewayProcess, edge: str, *, wanted: bool) -> None:
    async def so() -> bool:
        return at_httpd(gateway, edge) is wanted

    await eventually(so, f"httpd of {gateway.state.name} admits the session: {wanted}")


@contextlib.asynccontextmanager
async def in_both(two: Two, person: str) -> AsyncIterator[aiohttp.ClientSession]:
    """Sign somebody in at the first gateway, and wait until the second one knows."""
    link = two[0].nbgate("notebook", "url", "--project", "demo", "--person", person)
    async with signed_in(link) as client:
        client.headers["Host"] = f"127.0.0.1:{two[0].port}"
        for gateway in two:
            await until_at_httpd(gateway, edge_of(client), wanted=True)
        yield client


async def ask(
    client: aiohttp.ClientSession,
    gateway: GatewayProcess,
    path: str,
    method: str = "GET",
    **more: str,
) -> tuple[int, str]:
    """Ask a gateway as through one name in front of both, for which the client's cookies are.

    Args:
        client: see `in_both`.
        gateway: either.
        path: what for.
        method: GET or POST.
        more: headers.
    """
    host = client.headers["Host"]
    headers = {"Accept": "text/html", "Origin": f"http://{host}"} | more
    async with client.request(
        method, f"{gateway.url}{path}", headers=headers, allow_redirects=False
    ) as answer:
        return answer.status, await answer.text()


async def test_session_that_ends_at_one_is_at_no_httpd(two: Two) -> None:
    one, other = two
    async with in_both(two, "alice") as alice, in_both(two, "bob") as bob:
        edge = edge_of(alice)
        status, _ = await ask(alice, one, "/gateway/logout", "POST")
        assert status < 400
        assert not at_httpd(one, edge), "once it is answered"
        await until_at_httpd(other, edge, wanted=False)
        assert at_httpd(other, edge_of(bob))


async def test_person_who_is_deleted_at_one_is_at_no_httpd(two: Two) -> None:
    one, other = two
    async with in_both(two, "mary") as mary:
        one.nbgate("student", "delete", "demo", "mary", "--yes")
        assert not at_httpd(one, edge_of(mary))
        await until_at_httpd(other, edge_of(mary), wanted=False)


async def test_who_a_notebook_is_shared_with_at_one_is_so_at_the_other(two: Two) -> None:
    one, other = two
    async with in_both(two, "alice"), in_both(two, "carol") as carol:

        async def read_with(status: int) -> bool:
            return (await ask(carol, other, f"/gateway/read/{SLUG}/"))[0] == status

        assert await read_with(404)
        one.nbgate("notebook", "share", SLUG, "carol")
        await eventually(lambda: read_with(200), "carol reads it at the other gateway")
        one.nbgate("notebook", "unshare", SLUG, "carol")
        assert (await ask(carol, one, f"/gateway/read/{SLUG}/"))[0] == 404, "at once"
        await eventually(lambda: read_with(404), "and does no more at the other")


async def test_copy_that_is_shared_at_one_is_over_when_it_is_taken_back_at_the_other(
    two: Two,
) -> None:
    one, other = two
    link = f"/ipythonShare/demo/{FILE}/alice"
    async with in_both(two, "alice") as alice, aiohttp.ClientSession() as anybody:

        async def shown() -> list[int]:
            asked = [anybody.get(f"{gateway.url}{path}") for gateway in two]
            return [(await answer).status for answer in asked]

        _, told = await ask(alice, one, link, "POST", Accept="application/json")
        path = json.loads(told)["url_path"]
        assert await shown() == [200, 200]
        _, page = await ask(alice, other, link)
        (end,) = re.findall(r'action="([^"]*nbgate-[^"]*)"', page)
        await ask(alice, other, html.unescape(end), "POST")
        assert await shown() == [404, 404]
