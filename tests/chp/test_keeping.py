"""Routes that are kept: over restarts and kills, in files that httpd and nbgate read."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from gateway.chp.keeping import key_of_name, name_of
from gateway.errors import InvalidInput
from routes import extras, publishing
from routes.apachedb import ApacheDB, read
from routes.errors import BuildFailed
from routes.keys import canonical_key, checked_text
from tests.app.hub import Api
from tests.chp.harness import Rig, get, rig, url
from tests.chp.test_process import started
from tests.proxy.wire import until
from tests.support.places import free_ports

NINE = url(9)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "kept" / "routes.gdbm"


@contextlib.asynccontextmanager
async def kept_in(file: Path, *flags: str) -> AsyncIterator[Rig]:
    async with rig("--persist-routes", f"--route-file={file}", *flags) as proxy:
        yield proxy


async def told(proxy: Rig) -> dict[str, object]:
    return {
        key: {name: value for name, value in route.items() if name != "last_activity"}
        for key, route in (await proxy.routes()).items()
    }


@pytest.mark.parametrize(
    "key", ["/", "/a", "/a/", "/a//", "//", "//a", "/é ü", "/a%2Fb", "/a?b", "/@+!", "/%", "/a%2F/"]
)
def test_name_in_the_file_is_the_keys_alone(key: str) -> None:
    name = name_of(key)
    assert canonical_key(name) == name, "the file keeps it as it is"
    assert key_of_name(name) == key


async def test_routes_are_there_after_a_restart_with_all_they_came_with(file: Path) -> None:
    async with kept_in(file) as proxy:
        for path in ("/", "/user/a%40b", "/%C3%A9%20x", "/x", "/x///", "/a%252Fb"):
            await proxy.add(path, NINE, jupyterhub=True, deep=[{"é": None}], path_=path)
        await proxy.add("/tls", "https://h.example")
        await proxy.add("/socket", "http+unix://%2Ftmp%2Fx/base")
        await proxy.add("/gone", NINE)
        assert (await proxy.api("DELETE", "/api/routes/gone")).status == 204
        before = await told(proxy)
    assert set(before) == {"/", "/user/a@b", "/é x", "/x", "/x/", "/a%2Fb", "/tls", "/socket"}
    async with kept_in(file) as proxy:
        assert await told(proxy) == before
        assert (await proxy.ask(get("/x/y"))).status == 503, "it is routed"
    assert extras.check(extras.beside(file)) == []


async def test_httpd_gets_what_it_can_use(file: Path) -> None:
    async with kept_in(file) as proxy:
        await proxy.add("/a", "http://h.example:81/")
        await proxy.add("/path", "http://h.example:81/path")
        await proxy.add("/tls", "https://h.example:81")
        assert (await flush(proxy)) == (204, b"")
        assert read(file) == {b"/a": b"h.example:81"}
        await proxy.add("/a", "https://h.example:81")
        assert (await flush(proxy)) == (204, b"")
        assert read(file) == {}


async def test_hosts_are_hosts_there(file: Path) -> None:
    async with kept_in(file, "--host-routing") as proxy:
        await proxy.add("/Docs.Example.org", NINE)
        await proxy.add("/hub.example.org/user/a", NINE)
        await proxy.add("/", NINE)
        before = await told(proxy)
    assert read(file) == {b"docs.example.org": b"127.0.0.1:9", b"/": b"127.0.0.1:9"}
    async with kept_in(file, "--host-routing") as proxy:
        assert await told(proxy) == before
        assert (await proxy.ask(get("/user/a/x", host=b"hub.example.org"))).status == 503


async def test_file_follows_by_itself(file: Path) -> None:
    async with kept_in(file) as proxy:
        await proxy.add("/a", NINE)
        await until(lambda: read(file) == {b"/a": b"127.0.0.1:9"})
        await proxy.api("DELETE", "/api/routes/a")
        await until(lambda: read(file) == {} == read(extras.beside(file)))


async def test_file_of_a_process_follows_by_itself(tmp_path: Path, file: Path) -> None:
    """Nobody asks for a flush; bench/routes shows how long it takes."""
    port, api_port = free_ports(2)
    flags = ["--ip=127.0.0.1", f"--port={port}", f"--api-port={api_port}"]
    with started(tmp_path, *flags, "--persist-routes", f"--route-file={file}") as running:
        running.await_line("Proxying")
        api = Api(api_port, "t")
        for number in range(3):
            key = f"/user/{number}"
            await api.add(key, NINE, user=str(number))
            await until(partial(_holds, file, key.encode()))


def _holds(file: Path, name: bytes) -> bool:
    return name in read(file) and name in read(extras.beside(file))


async def test_target_with_a_query_is_kept_and_nothing_for_httpd(file: Path) -> None:
    async with kept_in(file) as proxy:
        await proxy.add("/a", f"{NINE}?b=c")
        before = await told(proxy)
    assert read(file) == {}
    async with kept_in(file) as proxy:
        assert await told(proxy) == before == {"/a": {"target": f"{NINE}?b=c"}}


async def test_default_target_of_the_command_line_wins_and_is_not_kept(file: Path) -> None:
    async with kept_in(file, f"--default-target={url(1)}") as proxy:
        assert set(await told(proxy)) == {"/"}
    async with kept_in(file) as proxy:
        assert await told(proxy) == {}
        await proxy.add("/", NINE)
    async with kept_in(file, f"--default-target={url(1)}") as proxy:
        assert await told(proxy) == {"/": {"target": url(1)}}


async def flush(proxy: Rig) -> tuple[int, bytes]:
    answer = await proxy.api("POST", "/gateway/api/routes/flush")
    return answer.status, answer.body


async def test_flush_says_what_keeps_routes_from_the_disk(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with kept_in(file) as proxy:

        def full(*_: object) -> None:
            raise BuildFailed(file, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(publishing, "publish", full)
            await proxy.add("/a", NINE)
            status, body = await flush(proxy)
            assert (status, body.count(b"\n")) == (500, 0)
            assert b"No space left" in body
            assert (await proxy.ask(get("/a"))).status == 503, "memory goes on"
        assert await flush(proxy) == (204, b"")
        assert read(file) == {b"/a": b"127.0.0.1:9"}
        path = "/gateway/api/routes/flush"
        assert (await proxy.api("GET", path)).status == 405
        assert (await proxy.api("POST", path, authorization=None)).status == 403


async def test_flush_where_nothing_is_kept_is_409() -> None:
    async with rig() as proxy:
        status, body = await flush(proxy)
        assert (status, b"--persist-routes" in body) == (409, True)


def spoil(file: Path) -> None:
    file.write_bytes(b"no GDBM file")


async def test_damaged_files_are_set_aside(file: Path) -> None:
    async with kept_in(file) as proxy:
        await proxy.add("/a", NINE)
    spoil(file)
    async with kept_in(file) as proxy:
        assert set(await told(proxy)) == {"/a"}
        assert await flush(proxy) == (204, b"")
        assert read(file) == {b"/a": b"127.0.0.1:9"}
    spoil(extras.beside(file))
    async with kept_in(file) as proxy:
        assert await told(proxy) == {}
    assert len(list(file.parent.glob("*.damaged-*"))) == 2


async def test_what_cannot_be_a_route_is_left_out(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with kept_in(file) as proxy:
        await proxy.add("/a", NINE)
    with ApacheDB(extras.beside(file), checked=checked_text) as companion:
        companion["/b"] = "{"
        companion["/c"] = '{"target": "-"}'
    async with kept_in(file) as proxy:
        assert set(await told(proxy)) == {"/a"}
    assert caplog.text.count("cannot be used") == 2


async def test_what_cannot_be_opened_is_one_line(file: Path) -> None:
    file.parent.parent.joinpath("folder").write_text("")
    with pytest.raises(InvalidInput, match="--persist-routes"):
        async with kept_in(file.parent.parent / "folder" / "routes.gdbm"):
            raise AssertionError("it has started")
    async with kept_in(file):
        with pytest.raises(InvalidInput, match="in use"):
            async with kept_in(file):
                raise AssertionError("two have it")


def call(api: int, method: str, path: str, body: object = None) -> int:
    data = None if body is None else json.dumps(body).encode()
    request = Request(f"http://127.0.0.1:{api}{path}", data, method=method)
    request.add_header("Authorization", "token t")
    with urlopen(request) as answer:
        status: int = answer.status
    return status


def test_nothing_that_was_flushed_is_lost_to_a_kill(tmp_path: Path) -> None:
    port, api = free_ports(2)
    flags = ["--ip=127.0.0.1", f"--port={port}", "--api-ip=127.0.0.1", f"--api-port={api}"]
    flags += ["--persist-routes", f"--route-file={tmp_path}/routes.gdbm"]
    with started(tmp_path, *flags) as proxy:
        proxy.await_line("Proxying")
        for number in range(50):
            body = {"target": NINE, "number": number}
            assert call(api, "POST", f"/api/routes/user/u{number}", body) == 201
        assert call(api, "POST", "/gateway/api/routes/flush") == 204
        proxy.process.kill()
        proxy.ended()
    with started(tmp_path, *flags) as proxy:
        proxy.await_line("Kept routes: 50")
        proxy.await_line("Proxying")
        request = Request(f"http://127.0.0.1:{api}/api/routes")
        request.add_header("Authorization", "token t")
        with urlopen(request) as answer:
            found = json.load(answer)
        assert {route["number"] for route in found.values()} == set(range(50))
        assert call(api, "DELETE", "/api/routes/user/u0") == 204
        assert proxy.stop() == 2
    assert len(read(tmp_path / "routes.gdbm")) == 49, "the end writes what is left"


def test_a_used_file_keeps_it_from_starting_with_one_line(tmp_path: Path) -> None:
    path = tmp_path / "routes.gdbm"
    with (
        ApacheDB(path),
        started(
            tmp_path, "--persist-routes", f"--route-file={path}", f"--port={free_ports(1)[0]}"
        ) as proxy,
    ):
        assert proxy.ended() == 1
        assert "in use" in proxy.lines[-1]
        assert not [line for line in proxy.lines if "Traceback" in line]
