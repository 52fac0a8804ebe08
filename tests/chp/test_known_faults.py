"""Where nbgate-proxy differs from configurable-http-proxy on purpose: both are shown.

Each test says first what configurable-http-proxy does, so that it fails when that is no longer so.
What cannot be shown so (leaks, a request that is never answered) has tests of ours elsewhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest

from tests.chp import peer
from tests.chp.harness import SWITCH, UPGRADE, get
from tests.chp.pair import Start, paired
from tests.chp.test_fleet import fleet_running
from tests.chp.test_process import ask, started
from tests.proxy.wire import until
from tests.spawners.helpers import eventually
from tests.workers.support import accepted, sockets_of, until_async
from tests.workers.support import until as until_true

# sent → what configurable-http-proxy asks for
CHANGED = {
    b"/a/./b/../c": "/a/c", b"/%2e%2E/x": "/x", b"/x/.": "/x/", b"/x/..": "/", b"/x?": "/x",
    b"/x?a='": "/x?a=%27", b'/x?"<>': "/x?%22%3C%3E", b"/{}": "/%7B%7D", b'/"<>': "/%22%3C%3E",
    b"/^`": "/^%60", b"/\\x": "/",
}  # fmt: skip


class TestPaths:
    """There a path is read as a browser reads a link, and written anew."""

    @pytest.mark.parametrize(("path", "theirs"), CHANGED.items())
    async def test_paths_and_queries_are_left_as_they_were(
        self, chp: Start, path: bytes, theirs: str
    ) -> None:
        async with paired(chp) as pair:
            await pair.add("/")
            told, ours = await pair.ask(get(path))
            assert told.target == theirs
            assert ours.target == path.decode()

    @pytest.mark.parametrize("path", [b"/user/foo/../hub/x", b"/user/foo/%2e%2e/hub/x"])
    async def test_dots_lead_out_of_no_route(self, chp: Start, path: bytes) -> None:
        async with paired(chp) as pair:
            await pair.add("/", "/d")
            await pair.add("/user/foo", "/t")
            theirs, ours = await pair.ask(get(path))
            assert theirs.target == "/d/user/hub/x"
            assert ours.target == "/t" + path.decode()

    async def test_two_slashes_in_front_are_no_host(self, chp: Start) -> None:
        async with paired(chp) as pair:
            await pair.add("/", "/d")
            await pair.add("/x", "/t")
            theirs, ours = await pair.ask(get("//host/x"))
            assert (theirs.target, ours.target) == ("/t//host/x", "/d//host/x")

    @pytest.mark.parametrize("path", [b"/\xc3\xa9", b"/x?\xe9"])
    async def test_bytes_beyond_ascii_pass(self, chp: Start, path: bytes) -> None:
        async with paired(chp) as pair:
            await pair.add("/")
            theirs, ours = await pair.ask(get(path))
            assert theirs.status == 400
            assert ours.target.encode("latin-1") == path

    async def test_escapes_need_not_be_utf_8(self, chp: Start) -> None:
        async with paired(chp) as pair:
            await pair.add("/")
            theirs, ours = await pair.ask(get("/%E2%82"))
            assert (theirs.status, ours.target) == (500, "/%E2%82")

    @pytest.mark.parametrize(
        ("path", "theirs", "ours"),
        [
            (b"/user/a%40b/x", "/t/0b/x", "/t/x"),
            (b"/user/%61@b/x", "/t/@b/x", "/t/x"),
            (b"//x", "/x", "//x"),
        ],
    )
    async def test_prefix_is_cut_as_it_was_written(
        self, chp: Start, path: bytes, theirs: str, ours: str
    ) -> None:
        async with paired(chp, "--no-include-prefix") as pair:
            await pair.add("/")
            await pair.add("/user/a@b", "/t")
            told, made = await pair.ask(get(path))
            assert (told.target, made.target) == (theirs, ours)

    async def test_prefix_that_is_cut_is_without_the_host(self, chp: Start) -> None:
        async with paired(chp, "--host-routing", "--no-include-prefix") as pair:
            await pair.add("/a.example/deep", "/t")
            theirs, ours = await pair.ask(get("/deep/this-is-quite-long", host=b"a.example"))
            assert theirs.target == "/t/uite-long"
            assert ours.target == "/t/this-is-quite-long"

    async def test_target_that_ends_in_a_slash_is_as_one_that_does_not(self, chp: Start) -> None:
        """Where nothing is behind a prefix that is cut off: the only thing that is lost."""
        async with paired(chp, "--no-include-prefix") as pair:
            await pair.add("/x", "/t/")
            theirs, ours = await pair.ask(get("/x"))
            assert (theirs.target, ours.target) == ("/t/", "/t")

    @pytest.mark.parametrize("host", [b"A.EXAMPLE", b"a.Example:8000"])
    async def test_hosts_are_told_in_any_case(self, chp: Start, host: bytes) -> None:
        async with paired(chp, "--host-routing") as pair:
            await pair.add("/", "/d")
            await pair.add("/a.example", "/t")
            theirs, ours = await pair.ask(get("/x", host=host))
            assert (theirs.target, ours.target) == ("/d/x", "/t/x")


HOP_BY_HOP = [
    (b"Connection: close, X-Hop", b"X-Hop: 1"),
    (b"TE: trailers",),
    (b"Proxy-Authorization: Basic eA==",),
    (b"Proxy-Connection: keep-alive",),
    (b"Upgrade: h2c",),
]


class TestHeaders:
    """What it lets through, leaves out, or gets wrong."""

    @pytest.mark.parametrize("lines", HOP_BY_HOP, ids=lambda lines: lines[0].decode())
    async def test_hop_by_hop_headers_end_here(self, chp: Start, lines: tuple[bytes, ...]) -> None:
        async with paired(chp) as pair:
            await pair.add("/")
            theirs, ours = await pair.ask(get("/x", *lines))
            name = lines[-1].partition(b":")[0].decode().lower()
            assert name in theirs.sent
            assert name not in ours.sent

    @pytest.mark.parametrize("name", ["authorization", "user-agent", "referer"])
    async def test_repeated_headers_are_not_dropped(self, chp: Start, name: str) -> None:
        async with paired(chp) as pair:
            await pair.add("/")
            lines = (f"{name}: 1".encode(), f"{name}: 2".encode())
            theirs, ours = await pair.ask(get("/x", *lines))
            assert (theirs.sent[name], ours.sent[name]) == (["1"], ["1", "2"])

    async def test_names_are_left_as_they_were_written(self, chp: Start) -> None:
        async with paired(chp) as pair:
            await pair.add("/")
            await pair.ask(get("/x", b"X-MiXeD: 1"))
            theirs, ours = [[name for name, _ in seen.headers] for seen in pair.upstream.seen]
            assert b"x-mixed" in theirs
            assert b"X-MiXeD" in ours

    @pytest.mark.parametrize(("host", "port"), [(b"[::1]:99", "99"), (b"[::1]", "80")])
    async def test_port_of_an_address_in_brackets(self, chp: Start, host: bytes, port: str) -> None:
        async with paired(chp) as pair:
            await pair.add("/")
            theirs, ours = await pair.ask(get("/x", host=host))
            assert theirs.header("x-forwarded-port") == "1"
            assert ours.header("x-forwarded-port") == port

    async def test_upgrades_are_told_the_host_too(self, chp: Start) -> None:
        async with paired(chp) as pair:
            await pair.add("/")
            pair.upstream.answer = SWITCH
            theirs, ours = await pair.ask(UPGRADE % b"/ws")
            assert theirs.header("x-forwarded-host") is None
            assert ours.header("x-forwarded-host") == "h"

    async def test_upstream_that_closes_does_not_cost_the_client_its_connection(
        self, chp: Start
    ) -> None:
        async with paired(chp) as pair:
            await pair.add("/")
            pair.upstream.answer = (
                b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"
            )
            theirs, ours = await pair.ask(get("/x"))
            assert (theirs.status, theirs.alive) == (200, False)
            assert (ours.status, ours.alive) == (200, True)

    async def test_kept_connection_of_an_old_client_needs_a_length(self, chp: Start) -> None:
        async with paired(chp) as pair:
            await pair.add("/")
            pair.upstream.answer = (
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
            )
            theirs, ours = await pair.ask(
                b"GET / HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\n\r\n"
            )
            assert (theirs.body, theirs.alive) == (b"ok", True)  # and yet it is closed
            assert (ours.body, ours.alive) == (b"ok", False)

    async def test_port_of_the_target_does_not_stay_in_a_location(self, chp: Start) -> None:
        async with paired(chp, "--auto-rewrite") as pair:
            await pair.add("/")
            port = pair.upstream.port
            for path, left in (("/a", "/a"), ("/a/../b", "/b")):
                pair.upstream.answer = (
                    b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n"
                    b"Location: http://127.0.0.1:%d%b\r\n\r\n" % (port, path.encode())
                )
                theirs, ours = await pair.ask(get("/x", host=b"hub.example"))
                assert theirs.location() == f"http://hub.example:{port}{left}"
                assert ours.location() == f"http://hub.example{path}"


@pytest.mark.parametrize("method", [b"DELETE", b"OPTIONS"])
async def test_chunked_body_becomes_no_second_request(chp: Start, method: bytes) -> None:
    hidden = b"GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n"
    data = b"%b /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n"
    async with paired(chp) as pair:
        await pair.add("/")
        theirs, ours = await pair.connected()
        async with theirs:
            await theirs.send(data % (method, len(hidden), hidden))
            await until(lambda: len(pair.upstream.seen) == 2)
            first, second = pair.upstream.seen
            assert (first.one(b"content-length"), second.target) == (b"0", b"/smuggled")
        async with ours:
            await ours.send(data % (method, len(hidden), hidden))
            assert (await ours.response()).status == 200
            assert pair.upstream.seen[2].body == hidden
            assert len(pair.upstream.seen) == 3


async def test_what_follows_a_handshake_at_once_is_not_lost(chp: Start) -> None:
    async with paired(chp) as pair:
        await pair.add("/")
        pair.upstream.answer = SWITCH
        for wire, early in zip(await pair.connected(), (b"", b"early"), strict=True):
            async with wire:
                await wire.send(UPGRADE % b"/ws" + b"early")
                assert (await wire.head()).status == 101
                await wire.send(b"later")
                assert await wire.read(len(early + b"later")) == early + b"later"


async def test_upgrade_to_something_else_is_a_plain_request(chp: Start) -> None:
    async with paired(chp) as pair:
        await pair.add("/")
        theirs, ours = await pair.ask(get("/x", b"Connection: Upgrade", b"Upgrade: h2c"))
        assert (theirs.status, theirs.target) == (0, "")  # closed without a word
        assert (ours.status, ours.target) == (200, "/x")


async def test_client_keeps_its_connection_after_an_upgrade_that_failed(chp: Start) -> None:
    async with paired(chp) as pair:
        pair.upstream.answer = b"HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno"
        await pair.add("/x")
        theirs, ours = await pair.connected()
        async with theirs:
            await theirs.send(UPGRADE % b"/x/ws")
            assert (await theirs.response()).status == 403
            assert await theirs.gone()
        async with ours:
            for path, status in ((b"/x/ws", 403), (b"/none", 404)):
                await ours.send(UPGRADE % path)
                assert (await ours.response()).status == status


@pytest.mark.parametrize("framing", [b"Transfer-Encoding: chunked", b"Content-Length: 9"])
async def test_upstream_that_breaks_off_in_an_answer_is_told(chp: Start, framing: bytes) -> None:
    """There the client waits for the rest for ever."""
    async with paired(chp) as pair:
        await pair.add("/")
        part = b"2\r\nok\r\n" if framing.startswith(b"T") else b"ok"
        pair.upstream.answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\n%b\r\n\r\n%b" % (
            framing,
            part,
        )
        theirs, ours = await pair.connected()
        async with theirs, ours:
            for wire in (theirs, ours):
                await wire.send(get("/x"))
                assert (await wire.head()).status == 200
                assert await wire.read(len(part)) == part
            assert await ours.gone()
            assert not theirs.reader.at_eof()


async def test_more_processes_than_one_serve_clients(chp: Start, tmp_path: Path) -> None:
    """There one process has every connection, and so one core does all the work."""

    theirs = chp()
    async with connections(theirs.port) as inodes:
        await until(lambda: inodes <= sockets_of(theirs.process.pid))
    with fleet_running(tmp_path) as fleet:

        async def all_serve() -> bool:
            async with connections(fleet.port) as inodes:

                def shares() -> list[int]:
                    return [len(inodes & sockets_of(pid)) for pid in fleet.workers]

                await until(lambda: sum(shares()) == len(inodes))
                return min(shares()) > 0  # on a busy machine one may have no core for a while

        await eventually(all_serve, "each worker serves")


@contextlib.asynccontextmanager
async def connections(port: int, count: int = 16) -> AsyncIterator[set[str]]:
    """Connect; yield the inodes of the other ends."""
    made = [await asyncio.open_connection("127.0.0.1", port) for _ in range(count)]
    ports = [writer.get_extra_info("sockname")[1] for _, writer in made]
    try:
        yield {str(await until_async(partial(accepted, port, own), "accepted")) for own in ports}
    finally:
        for _, writer in made:
            writer.close()


def test_stale_sockets_are_replaced(tmp_path: Path) -> None:
    place = tmp_path / "public"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(place))
    with peer.started(tmp_path, f"--metrics-socket={place}") as theirs:
        until_true(lambda: "EADDRINUSE" in theirs.log.read_text(), "it cannot listen there")
    with started(tmp_path, f"--socket={place}", f"--api-socket={tmp_path}/api") as ours:
        ours.await_line("Proxying")
        assert '{"status":"OK"}' in ask(place, "/_chp_healthz")
        assert ours.stop() == 2
