"""What people are told when there is no route, or nothing behind it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from tests.chp.harness import SWITCH, UPGRADE, Rig, get, rig, url
from tests.proxy.upstreams import UnixUpstream, Upstream
from tests.proxy.wire import Wire, until

NOWHERE = "http://127.0.0.1:1"
GZIP = b"\x1f\x8b fake"


async def hub(wire: Wire) -> None:
    """Answer as JupyterHub's error page does, and tell what was asked."""
    while True:
        message = await wire.request()
        body = message.start + b"\n" + b"\n".join(name.lower() for name, _ in message.headers)
        await wire.send(
            b"HTTP/1.1 599 Own Status\r\nContent-Type: text/x-hub\r\nContent-Encoding: x-own\r\n"
            b"Set-Cookie: no=1\r\nX-Other: no\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
        )


async def test_health_is_told_whatever_the_routes(proxy: Rig) -> None:
    await proxy.add("/_chp_healthz", NOWHERE)
    for method in (b"GET", b"POST"):
        answer = await proxy.ask(get("/_chp_healthz", method=method))
        assert (answer.status, answer.body) == (200, b'{"status":"OK"}')
        assert answer.one(b"content-type") == b"application/json"
    assert (await proxy.ask(get("/_chp_healthz/x"))).status == 503


async def test_no_route_is_404_and_no_upstream_503() -> None:
    async with rig() as proxy:
        await proxy.add("/x", NOWHERE)
        for path, status in (("/", 404), ("/x", 503), ("/%zz", 500)):
            answer = await proxy.ask(get(path))
            assert answer.status == status
            assert (answer.one(b"content-type") or b"").startswith(b"text/html")
            assert str(status).encode() in answer.body
            head = await proxy.ask(get(path, method=b"HEAD"), "HEAD")
            assert (head.status, head.one(b"content-length")) == (
                status,
                b"%d" % len(answer.body),
            )


async def test_connection_lives_on_after_an_error() -> None:
    async with rig() as proxy, await proxy.connect() as client:
        await proxy.add("/x", NOWHERE)
        for path, status in (("/", 404), ("/x", 503), ("/_chp_healthz", 200)) * 2:
            await client.send(get(path))
            answer = await client.response()
            assert (answer.status, answer.one(b"connection")) == (status, b"keep-alive")


async def test_upstream_that_breaks_off_is_503(upstream: Upstream) -> None:
    async with rig("--default-target", url(upstream.port)) as proxy, await proxy.connect() as wire:
        for answer in (b"", b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Le"):
            await wire.send(get("/", method=b"POST"))
            server = await upstream.take()
            await server.request()
            await server.send(answer)
            await server.close()
            assert (await wire.response()).status == 503


async def test_upstream_that_takes_too_long_is_503(upstream: Upstream) -> None:
    async with rig("--proxy-timeout=50", "--default-target", url(upstream.port)) as proxy:
        assert (await proxy.ask(get("/"))).status == 503


async def test_error_while_streaming_breaks_the_connection(upstream: Upstream) -> None:
    async with rig("--default-target", url(upstream.port)) as proxy, await proxy.connect() as wire:
        await wire.send(get("/"))
        server = await upstream.take()
        await server.request()
        await server.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        assert (await wire.head()).status == 200
        assert await wire.read(10) == b"5\r\nhello\r\n"
        server.reset()
        assert await wire.gone()  # and never a last chunk


class TestErrorTarget:
    async def test_its_page_is_told_under_our_status(self) -> None:
        async with Upstream(hub) as behind:
            target = url(behind.port, "/hub/error")
            async with rig("--error-target", target) as proxy:
                await proxy.add("/x", NOWHERE)
                for path, status in (("/a%20b?q=1&r=%2F", 404), ("/x", 503), ("/x%", 500)):
                    answer = await proxy.ask(get(path, b"Cookie: secret=1"))
                    assert answer.status == status
                    line, *names = answer.body.split(b"\n")
                    method, asked, _ = line.split(b" ")
                    assert method == b"GET"
                    place, _, query = asked.decode().partition("?")
                    assert place == f"/hub/error/{status}"
                    assert parse_qs(query) == {"url": [path]}
                    assert b"cookie" not in names
                    assert answer.one(b"content-type") == b"text/x-hub"
                    assert answer.one(b"content-encoding") == b"x-own"
                    assert not answer.names() & {b"set-cookie", b"x-other"}

    async def test_trailing_slash_is_no_other_target(self) -> None:
        async with Upstream(hub) as behind, rig("--error-target", url(behind.port, "/")) as proxy:
            answer = await proxy.ask(get("/"))
            assert answer.body.startswith(b"GET /404?url=%2F HTTP/1.1")

    async def test_it_may_be_a_unix_socket(self, tmp_path: Path) -> None:
        async with (
            UnixUpstream(tmp_path / "dir" / "s") as behind,
            rig("--error-target", f"{behind.target}/e") as proxy,
        ):
            assert (await proxy.ask(get("/"))).body.startswith(b"GET /e/404?url=%2F")

    @pytest.mark.parametrize("answer", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Le"])
    async def test_where_it_fails_the_phrase_is_told(
        self, upstream: Upstream, answer: bytes
    ) -> None:
        async with (
            rig("--error-target", url(upstream.port)) as proxy,
            await proxy.connect() as client,
        ):
            await client.send(get("/"))
            server = await upstream.take()
            await server.request()
            await server.send(answer)
            await server.close()
            told = await client.response()
            assert (told.status, told.body) == (404, b"Not Found")

    async def test_redirect_is_not_followed(self, upstream: Upstream) -> None:
        async with (
            Upstream(hub) as elsewhere,
            rig("--error-target", url(upstream.port)) as proxy,
            await proxy.connect() as client,
        ):
            await client.send(get("/"))
            server = await upstream.take()
            await server.request()
            moved = b"HTTP/1.1 302 Found\r\nLocation: %b\r\nContent-Length: 4\r\n\r\nover"
            await server.send(moved % url(elsewhere.port, "/there").encode())
            told = await client.response()
            assert (told.status, told.body) == (404, b"over")

    async def test_where_nobody_listens_the_phrase_is_told(self) -> None:
        async with rig("--error-target", NOWHERE) as proxy:
            told = await proxy.ask(get("/"))
            assert (told.status, told.body) == (404, b"Not Found")

    async def test_client_that_leaves_meanwhile_leaves_nothing_behind(
        self, upstream: Upstream
    ) -> None:
        async with rig("--error-target", url(upstream.port)) as proxy:
            client = await proxy.connect()
            await client.send(get("/"))
            server = await upstream.take()
            await server.request()
            await client.close()
            assert await server.gone()
            await until(lambda: proxy.proxy.traffic.in_flight == 0)
            names = {task.get_name() for task in asyncio.all_tasks()}
            assert "nbgate-proxy-error-page" not in names


class TestErrorPath:
    async def test_page_of_the_status_else_the_general_one(self, tmp_path: Path) -> None:
        (tmp_path / "404.html").write_text("own 404")
        (tmp_path / "error.html").write_text("own error")
        async with rig("--error-path", str(tmp_path)) as proxy:
            await proxy.add("/x", NOWHERE)
            for path, body in (("/", b"own 404"), ("/x", b"own error")):
                answer = await proxy.ask(get(path))
                assert answer.body == body
                assert (answer.one(b"content-type") or b"").startswith(b"text/html")
            (tmp_path / "404.html").unlink()
            assert (await proxy.ask(get("/"))).body == b"own error"

    async def test_without_any_the_phrase(self, tmp_path: Path) -> None:
        async with rig("--error-path", str(tmp_path)) as proxy:
            answer = await proxy.ask(get("/"))
            assert (answer.status, answer.body) == (404, b"Not Found")


class TestWebSockets:
    async def test_without_a_route_is_a_bare_404_and_the_connection_is_not_held(self) -> None:
        async with rig("--error-target", NOWHERE) as proxy:
            await proxy.add("/x", NOWHERE)
            async with await proxy.connect() as client:
                for path, status in ((b"/ws", 404), (b"/x/ws", 503)):
                    await client.send(UPGRADE % path)
                    answer = await client.response()
                    assert (answer.status, answer.one(b"content-length")) == (status, b"0")
            await until(lambda: not proxy.proxy.server._context.connections)

    async def test_upstream_that_does_not_upgrade_is_relayed(self, upstream: Upstream) -> None:
        async with rig("--default-target", url(upstream.port)) as proxy:
            client = await proxy.connect()
            await client.send(UPGRADE % b"/ws")
            server = await upstream.take()
            await server.request()
            await server.send(b"HTTP/1.1 403 No\r\nContent-Length: 2\r\nX-A: 1\r\n\r\nno")
            answer = await client.response()
            assert (answer.start, answer.body) == (b"HTTP/1.1 403 No", b"no")
            await client.send(get("/_chp_healthz"))
            assert (await client.response()).status == 200

    async def test_bytes_go_both_ways_until_one_side_closes(self, upstream: Upstream) -> None:
        async with rig("--default-target", url(upstream.port)) as proxy:
            client = await proxy.connect()
            await client.send(UPGRADE % b"/user/a%40b/ws?x=%20")
            server = await upstream.take()
            assert (await server.head()).target == b"/user/a%40b/ws?x=%20"
            await server.send(SWITCH + b"\x82\x02hi")
            assert (await client.head()).status == 101
            assert await client.read(4) == b"\x82\x02hi"
            await client.send(b"\x82\x82\x00\x00\x00\x00yo")
            assert (await server.read(8)).endswith(b"yo")
            await client.close()
            assert await server.gone()
            await server.close()
            await until(lambda: proxy.proxy.traffic.websockets == 0)
