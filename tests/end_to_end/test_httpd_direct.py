"""Real httpd that serves hot notebooks to their owners by itself, with a real gateway behind it."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import aiohttp
import pytest
from yarl import URL

from routes.apachedb import read
from tests.end_to_end.conftest import SPAWNERS
from tests.end_to_end.test_httpd import MINE, TRACED, Site, site, use
from tests.support.faults import fill
from tests.support.gateway import signed_in
from tests.support.waiting import PATIENCE

SLUG = "demo-x-alice"
STATUS = f"/nb/{SLUG}/api/status"
WITHHELD = 'nbgate_httpd_map_withheld{map="edges"}'
CLOSED = (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSING, aiohttp.WSMsgType.CLOSED)


@pytest.fixture(params=SPAWNERS)
async def direct(request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    async with AsyncExitStack() as stack:
        made = await site(request, request.param, stack, direct=True)
        made.gateway.nbgate("notebook", "url", "--project", "demo", "--person", "alice")
        made.gateway.nbgate("notebook", "start", SLUG)
        yield made


def link_of(site: Site, person: str) -> str:
    return site.gateway.nbgate("notebook", "url", "--project", "demo", "--person", person)


async def served_by(site: Site, client: aiohttp.ClientSession, path: str = STATUS) -> str:
    """Return who answered a GET, by httpd's log: `httpd` for itself, or the gateway's status."""
    mark = f"asked-{len(site.front.log.read_bytes())}"
    async with client.get(f"{site.front.url}{path}", headers={"X-Request-ID": mark}) as answer:
        status = answer.status
    async with asyncio.timeout(PATIENCE):
        while True:
            for line in site.front.log.read_text().splitlines():
                if line.endswith(f"request_id={mark}"):
                    return f"gateway {status}" if "direct=- " in line else "httpd"
            await site.front.ask("/.nbgate-httpd")


async def until_served_by(site: Site, client: aiohttp.ClientSession, who: str) -> None:
    """Ask until `who` answers: the maps follow in a moment."""
    async with asyncio.timeout(PATIENCE):
        while await served_by(site, client) != who:
            pass


def cookies_of(client: aiohttp.ClientSession, site: Site) -> dict[str, str]:
    sent = client.cookie_jar.filter_cookies(URL(site.front.url))
    return {name: morsel.value for name, morsel in sent.items()}


def with_cookies(**cookies: str) -> aiohttp.ClientSession:
    text = "; ".join(f"{name.replace('_', '-')}={value}" for name, value in cookies.items())
    return aiohttp.ClientSession(headers={"Cookie": text})


async def test_owner_works_while_the_gateway_is_stopped_and_nobody_else_gets_in(
    direct: Site,
) -> None:
    async with signed_in(link_of(direct, "alice")) as alice:
        await until_served_by(direct, alice, "httpd")
        direct.gateway.stop()
        try:
            await use(alice, direct.notebook)
            async with alice.get(direct.front.url + STATUS, headers=TRACED) as answer:
                assert (answer.status, answer.headers.getall("X-Request-ID")) == (200, [MINE])
            async with aiohttp.ClientSession() as stranger:
                assert await served_by(direct, stranger) == "gateway 503"
                with pytest.raises(aiohttp.WSServerHandshakeError):
                    await stranger.ws_connect(f"{direct.notebook}api/events/subscribe")
        finally:
            direct.gateway.start()


async def test_stopped_notebook_is_not_served_by_httpd_any_more(direct: Site) -> None:
    async with signed_in(link_of(direct, "alice")) as alice:
        await until_served_by(direct, alice, "httpd")
        direct.gateway.nbgate("notebook", "stop", SLUG)
        assert (await served_by(direct, alice)).startswith("gateway")


async def test_edge_id_opens_the_own_notebook_at_httpd_and_nothing_else(direct: Site) -> None:
    async with signed_in(link_of(direct, "alice")) as alice, AsyncExitStack() as stack:
        await until_served_by(direct, alice, "httpd")
        edge = cookies_of(alice, direct)["nbgate-edge"]
        token = cookies_of(alice, direct)["nbgate-session"]
        bob = await stack.enter_async_context(signed_in(link_of(direct, "bob")))
        direct.gateway.nbgate("notebook", "start", "demo-x-bob")
        bobs = cookies_of(bob, direct)
        alone = await stack.enter_async_context(with_cookies(nbgate_edge=edge))
        assert await served_by(direct, alone) == "httpd"
        for path in ("/nb/demo-x-bob/api/status", "/nb/cold-x-alice/api/status"):
            assert await served_by(direct, alone, path) == "gateway 401"
        for wrong in (
            with_cookies(nbgate_edge=bobs["nbgate-edge"]),
            with_cookies(nbgate_edge=token),
            with_cookies(nbgate_session=edge),
            with_cookies(nbgate_edge="0" * 48),
        ):
            stranger = await stack.enter_async_context(wrong)
            assert await served_by(direct, stranger) in ("gateway 401", "gateway 404")
        async with alone.get(f"{direct.front.url}/gateway/") as answer:
            nobody = (answer.status, "alice" in await answer.text())
        async with (
            aiohttp.ClientSession() as stranger,
            stranger.get(f"{direct.front.url}/gateway/") as answer,
        ):
            assert nobody == (answer.status, False)


async def test_foreign_pages_post_and_socket_are_refused(direct: Site) -> None:
    foreign = {"Origin": "https://evil.example.org", "Sec-Fetch-Site": "cross-site"}
    async with signed_in(link_of(direct, "alice")) as alice:
        await until_served_by(direct, alice, "httpd")
        async with alice.post(f"{direct.notebook}api/kernels", headers=foreign) as answer:
            assert answer.status == 403
        with pytest.raises(aiohttp.WSServerHandshakeError, match="403"):
            await alice.ws_connect(f"{direct.notebook}api/events/subscribe", headers=foreign)


@asynccontextmanager
async def edge_alone(
    site: Site, alice: aiohttp.ClientSession
) -> AsyncIterator[aiohttp.ClientSession]:
    """Yield who has the edge id of alice's session and nothing else; httpd serves them."""
    await until_served_by(site, alice, "httpd")
    async with with_cookies(nbgate_edge=cookies_of(alice, site)["nbgate-edge"]) as kept:
        assert await served_by(site, kept) == "httpd"
        yield kept


async def sign_out(site: Site, alice: aiohttp.ClientSession) -> None:
    own = {"Origin": site.front.url}
    async with alice.post(f"{site.front.url}/gateway/logout", headers=own) as answer:
        assert answer.status < 400


async def test_httpd_refuses_a_session_once_signing_out_is_answered(direct: Site) -> None:
    """The very next request; nothing is waited for."""
    for _ in range(3):
        async with (
            signed_in(link_of(direct, "alice")) as alice,
            edge_alone(direct, alice) as kept,
        ):
            await sign_out(direct, alice)
            assert "nbgate-edge" not in cookies_of(alice, direct)
            assert await served_by(direct, kept) == "gateway 401"


async def test_httpd_refuses_a_deleted_student_once_the_command_is_back(direct: Site) -> None:
    async with signed_in(link_of(direct, "alice")) as alice, edge_alone(direct, alice) as kept:
        direct.gateway.nbgate("student", "delete", "demo", "alice", "--yes")
        assert await served_by(direct, kept) in ("gateway 401", "gateway 404")
        maps = direct.front.log.parent / "state" / "routes"
        assert read(maps / "edges.gdbm") == {}


@asynccontextmanager
async def tunnel_at_the_gateway(
    site: Site, client: aiohttp.ClientSession
) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """Open a WebSocket of alice's that goes through httpd to the gateway: without an edge id."""
    token = cookies_of(client, site)["nbgate-session"]
    async with (
        with_cookies(nbgate_session=token) as gateways,
        gateways.ws_connect(f"{site.notebook}api/events/subscribe") as socket,
    ):
        yield socket


async def test_ended_session_has_no_tunnel_at_workers_and_nothing_at_httpd(
    request: pytest.FixtureRequest,
) -> None:
    async with AsyncExitStack() as stack:
        made = await site(request, "process", stack, direct=True, workers="2")
        made.gateway.nbgate("notebook", "url", "--project", "demo", "--person", "alice")
        made.gateway.nbgate("notebook", "start", SLUG)
        alice = await stack.enter_async_context(signed_in(link_of(made, "alice")))
        kept = await stack.enter_async_context(edge_alone(made, alice))
        sockets = [
            await stack.enter_async_context(tunnel_at_the_gateway(made, alice)) for _ in range(6)
        ]
        bob = await stack.enter_async_context(signed_in(link_of(made, "bob")))
        await sign_out(made, alice)
        assert await served_by(made, kept) == "gateway 401"
        async with asyncio.timeout(PATIENCE):
            for socket in sockets:
                while (await socket.receive()).type not in CLOSED:
                    pass
        async with bob.get(f"{made.front.url}/gateway/") as answer:
            assert "bob" in await answer.text()


async def test_full_disk_lets_httpd_admit_nobody_who_is_out(
    request: pytest.FixtureRequest,
) -> None:
    async with AsyncExitStack() as stack:
        made = await site(request, "process", stack, direct=True, small=True)
        disk = made.front.log.parent / "disk"
        made.gateway.nbgate("notebook", "url", "--project", "demo", "--person", "alice")
        made.gateway.nbgate("notebook", "start", SLUG)
        alice = await stack.enter_async_context(signed_in(link_of(made, "alice")))
        other = await stack.enter_async_context(signed_in(link_of(made, "alice")))
        kept = await stack.enter_async_context(edge_alone(made, alice))
        await until_served_by(made, other, "httpd")
        filler = fill(disk)
        await sign_out(made, alice)
        assert await served_by(made, kept) == "gateway 401"
        assert await served_by(made, other) == "gateway 200", "the gateway serves who is in"
        assert await withheld(made) == 1.0
        log = made.gateway.log.read_text()
        assert log.count("map of edge ids: emptied") == 1
        assert "make room on its disk" in log
        filler.unlink()
        await until_served_by(made, other, "httpd")
        assert await served_by(made, kept) == "gateway 401"
        async with asyncio.timeout(PATIENCE):
            while await withheld(made):
                pass


async def withheld(site: Site) -> float:
    """Return what the metrics say about the map of edge ids."""
    async with (
        aiohttp.ClientSession() as client,
        client.get(f"{site.gateway.management_url}/gateway/metrics") as answer,
    ):
        text = await answer.text()
    (line,) = (line for line in text.splitlines() if line.startswith(WITHHELD))
    return float(line.split()[-1])


async def test_maps_are_for_owner_and_group_alone(direct: Site) -> None:
    folder = direct.front.log.parent / "state" / "routes"
    for name in ("secrets.gdbm", "edges.gdbm", "owners.gdbm"):
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o640
    direct.gateway.nbgate("route", "check")
