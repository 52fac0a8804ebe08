"""A session that ends takes its tunnels and its requests on their way with it, and no others."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.proxy.interface import Hold, Relay
from tests.proxy.harness import Rig, forwarded, rig
from tests.proxy.upstreams import Upstream, echo, parsed
from tests.proxy.wire import get, until

GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
BEGUN = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
PUT = b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nhalf"
UPGRADE = b"GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


def admit(proxy: Rig, session: str) -> None:
    """Admit the requests that come from now on by a session."""
    proxy.gate.rule = lambda head, client: Relay(proxy.entry, "alice", session=session)


def let_in(proxy: Rig, relay: Relay) -> None:
    """Let in what comes from now on as `relay` says."""
    proxy.gate.rule = lambda head, client: relay


@pytest.mark.parametrize("others", [0, 1])
async def test_tunnels_of_the_session_end_at_once_on_both_sides(
    tmp_path: Path, others: int
) -> None:
    async with Upstream() as upstream, rig(tmp_path, upstream.target) as proxy:
        pairs = []
        for session in ("s1", "s2", ""):
            admit(proxy, session)
            client, server = await forwarded(proxy, upstream, UPGRADE)
            await server.send(SWITCH)
            assert (await client.head()).status == 101
            pairs.append((client, server))
        proxy.proxy.end_sessions({"s1", "unknown"})
        ended, *left = pairs
        for side in ended:
            await side.rest()
            assert await side.gone()
        client, server = left[others]
        await client.send(b"\x82\x01x")
        assert await server.read(3) == b"\x82\x01x"
        await until(lambda: proxy.observer.websockets == 2)


async def test_request_that_waits_for_its_answer_is_told(tmp_path: Path) -> None:
    async with Upstream() as upstream, rig(tmp_path, upstream.target) as proxy:
        admit(proxy, "s1")
        client, server = await forwarded(proxy, upstream)
        admit(proxy, "s2")
        other, others_server = await forwarded(proxy, upstream)
        proxy.proxy.end_sessions(["s1"])
        assert (await client.response()).status == 401
        assert await server.gone()
        await others_server.send(OK)
        assert (await other.response()).body == b"ok"


async def test_answer_that_has_begun_is_broken_off(tmp_path: Path) -> None:
    async with Upstream() as upstream, rig(tmp_path, upstream.target) as proxy:
        admit(proxy, "s1")
        client, server = await forwarded(proxy, upstream)
        await server.send(BEGUN)
        await client.head()
        assert await client.read(4) == b"half"
        proxy.proxy.end_sessions(["s1"])
        assert await client.gone()


async def test_request_that_waits_for_its_notebook_is_told(tmp_path: Path) -> None:
    async with Upstream() as upstream, rig(tmp_path, upstream.target) as proxy:
        proxy.gate.rule = lambda head, client: Hold(proxy.entry, "alice", "s1")
        async with await proxy.connect() as client:
            await client.send(GET)
            await until(lambda: proxy.gate.awaiting == 1)
            proxy.proxy.end_sessions(["s1"])
            assert (await client.response()).status == 401
        assert upstream.accepted == 0


async def test_client_that_has_just_left_its_upload_keeps_no_other_from_being_told(
    tmp_path: Path,
) -> None:
    async with Upstream() as upstream, rig(tmp_path, upstream.target) as proxy:
        admit(proxy, "s1")
        clients = [(await forwarded(proxy, upstream, PUT))[0] for _ in range(8)]
        clients[4].writer.close()
        await asyncio.sleep(0)  # it is closed, and the loop has not looked since
        proxy.proxy.end_sessions(["s1"])
        for client in (*clients[:4], *clients[5:]):
            assert (await client.response()).status == 401
    assert sorted(proxy.observer.outcomes) == ["4xx"] * 8


async def test_who_may_use_a_route_no_more_is_out_of_that_one_alone(tmp_path: Path) -> None:
    async with Upstream() as upstream, rig(tmp_path, upstream.target) as proxy:
        here, elsewhere = proxy.entry, replace(proxy.entry, key="/elsewhere")
        pairs = []
        for entry, person in ((here, "tina"), (here, "alice"), (elsewhere, "tina"), (here, None)):
            let_in(proxy, Relay(entry, person, session="s"))
            client, server = await forwarded(proxy, upstream, UPGRADE)
            await server.send(SWITCH)
            assert (await client.head()).status == 101
            pairs.append((client, server))
        proxy.proxy.end_use(here.key, frozenset({"tina", "bob"}))
        (client, server), *left = pairs
        assert await client.rest() == b"\x88\x02\x03\xe9"
        assert await client.gone()
        await server.rest()
        assert await server.gone()
        for client, server in left:
            await client.send(b"\x82\x01x")
            assert await server.read(3) == b"\x82\x01x"
        await until(lambda: proxy.observer.websockets == 3)


async def test_request_of_somebody_who_is_shut_out_meanwhile_finds_nothing(tmp_path: Path) -> None:
    async with Upstream() as upstream, rig(tmp_path, upstream.target) as proxy:
        let_in(proxy, Relay(proxy.entry, "tina", session="s"))
        client, server = await forwarded(proxy, upstream)
        proxy.proxy.end_use(proxy.entry.key, frozenset({"tina"}))
        assert (await client.response()).status == 404
        assert await server.gone()


async def test_request_that_fails_in_the_very_moment_is_answered_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The failure is told to nobody: least of all to the next request of the connection."""
    async with Upstream(echo) as upstream, rig(tmp_path, upstream.target) as proxy:
        sessions = {b"/1": "s1", b"/2": "s2"}
        entry = proxy.entry
        proxy.gate.rule = lambda head, client: Relay(entry, session=sessions[head.target])

        def stands(relay: Relay) -> bool:
            if relay.session == "s1":  # between the end of the task and what is done about it
                asyncio.get_running_loop().call_soon(proxy.proxy.end_sessions, ["s1"])
            return relay.session != "s1"

        monkeypatch.setattr(proxy.gate, "stands", stands)
        async with await proxy.connect() as client:
            await client.send(get(target=b"/1") + get(target=b"/2"))
            assert (await client.response()).status == 401
            assert parsed((await client.response()).body).target == b"/2"
            await client.send(get(target=b"/2"))
            assert parsed((await client.response()).body).target == b"/2"
    assert proxy.observer.outcomes == ["4xx", "2xx", "2xx"]
