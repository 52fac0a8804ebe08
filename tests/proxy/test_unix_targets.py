"""Routes whose target is a Unix socket, and those that would lead into the gateway itself."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.proxy.interface import Local
from routes.keys import Target, parse_target
from tests.proxy.harness import Rig, rig
from tests.proxy.upstreams import UnixUpstream, pages_app, parsed
from tests.proxy.wire import until

GET = b"GET /x?a=1 HTTP/1.1\r\nHost: wiki.example.org\r\n\r\n"
UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
SWITCH = (
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)


@pytest.fixture
async def wiki(tmp_path: Path) -> AsyncIterator[UnixUpstream]:
    async with UnixUpstream(tmp_path / "wiki" / "s") as made:
        yield made


@pytest.fixture
async def proxy(tmp_path: Path, wiki: UnixUpstream) -> AsyncIterator[Rig]:
    async with rig(tmp_path, wiki.target) as made:
        yield made


async def test_request_reaches_the_socket_and_its_connection_is_used_again(
    proxy: Rig, wiki: UnixUpstream
) -> None:
    async with await proxy.connect() as client:
        for _ in range(3):
            await client.send(GET)
            answer = await client.response()
            assert answer.status == 200
            echoed = parsed(answer.body)
            assert (echoed.target, echoed.one(b"host")) == (b"/x?a=1", b"wiki.example.org")
    assert wiki.accepted == 1
    proxy.proxy.forget(wiki.target)
    assert (await proxy.ask(GET)).status == 200
    assert wiki.accepted == 2


async def test_path_of_the_target_comes_before_the_raw_path(proxy: Rig, wiki: UnixUpstream) -> None:
    target = parse_target(f"{wiki.target}/base%2Fone")
    proxy.notebook(target)
    answer = await proxy.ask(GET)
    assert parsed(answer.body).target == b"/base%2Fone/x?a=1"


async def test_client_without_a_host_is_forwarded_with_one(proxy: Rig) -> None:
    answer = await proxy.ask(b"GET / HTTP/1.0\r\n\r\n")
    assert parsed(answer.body).one(b"host") in (b"localhost", b"localhost:80")


async def test_websocket_goes_through_the_socket(tmp_path: Path) -> None:
    async with (
        UnixUpstream(tmp_path / "wiki" / "s", echoing=False) as wiki,
        rig(tmp_path, wiki.target) as proxy,
        await proxy.connect() as client,
    ):
        await client.send(UPGRADE)
        server = await wiki.take()
        assert (await server.head()).target == b"/ws"
        await server.send(SWITCH + b"\x82\x02hi")
        assert (await client.head()).status == 101
        assert await client.read(4) == b"\x82\x02hi"
        await client.send(b"\x82\x82\x00\x00\x00\x00yo")
        assert (await server.read(8)).endswith(b"yo")
        await server.close()
        assert await client.gone()
        await client.close()
        await until(lambda: proxy.observer.websockets == 0)


async def test_nobody_behind_the_socket_is_a_503_or_502_and_never_a_hang(
    tmp_path: Path, proxy: Rig, wiki: UnixUpstream
) -> None:
    wiki.stop_listening()
    for path in (wiki.path, tmp_path / "none", tmp_path):
        proxy.notebook(Target("localhost", 80, socket=str(path)))
        assert (await proxy.ask(GET)).status in (502, 503)


@pytest.mark.parametrize("way", ["path", "link", "folder"])
async def test_no_target_leads_to_the_pages_even_if_a_link_was_put_there_later(
    tmp_path: Path, way: str
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (tmp_path / "folder").symlink_to(run)
    (tmp_path / "link").symlink_to(run / "pages.sock")
    path = {"path": run, "folder": tmp_path / "folder"}.get(way, run) / "pages.sock"
    path = tmp_path / "link" if way == "link" else path
    target = Target("localhost", 80, socket=str(path))
    async with pages_app(run / "pages.sock"), rig(run, target) as proxy:
        if way != "path":  # that one is refused when the route is set
            assert (await proxy.ask(GET)).status in (502, 503)
        proxy.gate.rule = lambda head, client: Local()
        assert (await proxy.ask(GET)).status == 200


async def test_no_target_leads_to_another_socket_beside_the_pages(tmp_path: Path) -> None:
    async with (
        UnixUpstream(tmp_path / "control.sock") as control,
        rig(tmp_path, control.target) as proxy,
    ):
        assert (await proxy.ask(GET)).status in (502, 503)
