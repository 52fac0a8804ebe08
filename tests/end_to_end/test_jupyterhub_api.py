"""`nbgate serve` with a JupyterHub's routes beside notebooks: real processes, raw wires, kills."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from routes import extras
from tests.app.hub import Api
from tests.proxy.certificates import make_pair
from tests.proxy.upstreams import UnixUpstream, Upstream, echo, parsed
from tests.proxy.wire import Message, Wire
from tests.support.gateway import ROOT, GatewayProcess, running


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    with running(tmp_path_factory.mktemp("hub") / "state") as process:
        process.nbgate("project", "add", "demo", "--source", str(ROOT / "examples" / "demo"))
        yield process


@pytest.fixture
async def echoing() -> AsyncIterator[Upstream]:
    async with Upstream(echo) as made:
        yield made


def api_of(gateway: GatewayProcess) -> Api:
    return Api(gateway.management_port, (gateway.state / "management.token").read_text().strip())


async def ask(gateway: GatewayProcess, path: str, *lines: str, method: str = "GET") -> Message:
    """Send one request to the public port; the path and the lines go out as they are."""
    head = [f"{method} {path} HTTP/1.1", "Host: hub.example:81", *lines, "Connection: close"]
    wire = Wire(*await asyncio.open_connection("127.0.0.1", gateway.port, limit=2**20))
    async with wire:
        await wire.send("\r\n".join(head).encode() + b"\r\n\r\n")
        return await wire.response(method)


async def test_what_the_target_gets(gateway: GatewayProcess, echoing: Upstream) -> None:
    base = "/@/space%20word"
    await api_of(gateway).add("/user/a%40b", f"http://127.0.0.1:{echoing.port}{base}/")
    for path in ("/user/a@b/x%2Fy//z;p?q=%zz", "/user/a%40b/../x", "/user/a%40b"):
        answer = await ask(
            gateway,
            path,
            "Cookie: nbgate-session=secret; jupyterhub-session-id=1; __Host-nbgate=s",
            "Authorization: token of-the-person",
            "X-Forwarded-For: 6.6.6.6",
        )
        assert answer.status == 200
        sent = parsed(answer.body)
        assert sent.target == (base + path).encode()
        assert sent.one(b"host") == b"hub.example:81"
        assert sent.one(b"cookie") == b"jupyterhub-session-id=1"
        assert sent.one(b"authorization") == b"token of-the-person"
        assert sent.one(b"x-forwarded-for") == b"127.0.0.1"
        assert sent.one(b"x-forwarded-proto") == b"http"
    await api_of(gateway).ask("DELETE", "/api/routes/user/a%40b")


async def test_default_route_stands_beside_pages_and_notebooks(
    gateway: GatewayProcess, echoing: Upstream
) -> None:
    def location(answer: Message) -> bytes:
        return answer.one(b"location") or b""

    gateway.nbgate("notebook", "url", "--project", "demo", "--person", "alice")
    paths = ("/nb/demo-x-alice/", "/nb/demo-x-nobody/", "/gateway/", "/gateway/nothing")
    before = [await ask(gateway, path, "Accept: text/html") for path in paths]
    own = await ask(gateway, "/", "Accept: text/html")
    api = api_of(gateway)
    await api.add("", f"http://127.0.0.1:{echoing.port}", jupyterhub=True)
    assert parsed((await ask(gateway, "/hub/login")).body).target == b"/hub/login"
    assert parsed((await ask(gateway, "/", "Accept: text/html")).body).target == b"/"
    after = [await ask(gateway, path, "Accept: text/html") for path in paths]
    assert [(one.status, location(one)) for one in after] == [
        (one.status, location(one)) for one in before
    ]
    assert after[0].status == after[1].status, "which notebooks there are is not told"
    assert (await api.ask("DELETE", "/api/routes")).status == 204
    again = await ask(gateway, "/", "Accept: text/html")
    assert (again.status, again.body) == (own.status, own.body)


async def test_activity_is_of_persons_and_told(gateway: GatewayProcess, echoing: Upstream) -> None:
    api = api_of(gateway)
    await api.add("/user/a", f"http://127.0.0.1:{echoing.port}")
    began = (await api.routes())["/user/a"]["last_activity"]
    await ask(gateway, "/user/a/api/status", "Sec-Fetch-Mode: cors")
    assert (await api.routes())["/user/a"]["last_activity"] == began, "pages poll for ever"
    await ask(gateway, "/user/a/api/kernels", "Content-Length: 0", method="POST")
    assert (await api.routes())["/user/a"]["last_activity"] > began
    await api.ask("DELETE", "/api/routes/user/a")


async def test_unix_sockets_and_tls(tmp_path: Path) -> None:
    pair = make_pair(tmp_path, "hub")
    gateway = GatewayProcess(tmp_path / "state")
    gateway.environment["SSL_CERT_FILE"] = str(pair.cert)
    try:
        await asyncio.to_thread(gateway.start)
        api = api_of(gateway)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(pair.cert, pair.key)
        async with UnixUpstream(tmp_path / "u" / "s") as local, tls_echo(context) as port:
            await api.add("/socket", str(local.target))
            await api.add("/tls", f"https://localhost:{port}/base")
            assert parsed((await ask(gateway, "/socket/x")).body).target == b"/socket/x"
            assert parsed((await ask(gateway, "/tls/x")).body).target == b"/base/tls/x"
            await api.flush()
            gateway.kill()
            await asyncio.to_thread(gateway.start)
            assert parsed((await ask(gateway, "/socket/x")).body).target == b"/socket/x"
            assert parsed((await ask(gateway, "/tls/x")).body).target == b"/base/tls/x"
    finally:
        gateway.stop_all()


@asynccontextmanager
async def tls_echo(context: ssl.SSLContext) -> AsyncIterator[int]:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await echo(Wire(reader, writer))
        except (OSError, EOFError):
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@pytest.mark.parametrize("end", [GatewayProcess.kill, GatewayProcess.stop])
async def test_flushed_routes_outlive_a_kill_and_all_a_stop(
    tmp_path: Path, end: Callable[[GatewayProcess], None]
) -> None:
    with running(tmp_path / "state") as gateway:
        api = api_of(gateway)
        for number in range(100):
            await api.add(f"/user/u{number}", f"http://127.0.0.1:{number + 1}", number=number)
        await api.add("/user/tls", "https://h.example", number=-1)
        assert (await api.ask("DELETE", "/api/routes/user/u0")).status == 204
        if end is GatewayProcess.kill:
            assert await asyncio.to_thread(gateway.nbgate, "route", "flush")
        await asyncio.to_thread(end, gateway)
        await asyncio.to_thread(gateway.start)
        told = await api_of(gateway).routes()
        assert {one["number"] for one in told.values()} == {-1, *range(1, 100)}
        listed = await asyncio.to_thread(gateway.nbgate, "route", "list")
        assert listed.count("/user/") == 100
        assert await asyncio.to_thread(gateway.nbgate, "route", "check")


async def test_a_damaged_companion_is_no_reason_not_to_start(tmp_path: Path) -> None:
    with running(tmp_path / "state") as gateway:
        await api_of(gateway).add("/a", "http://127.0.0.1:1", user="a")
        await asyncio.to_thread(gateway.stop)
        companion = extras.beside(gateway.state / "routes" / "routes.gdbm")
        companion.write_bytes(b"no GDBM file")
        result = await asyncio.to_thread(gateway.run, "route", "check")
        assert result.returncode == 1
        assert f"{companion} is damaged" in result.stdout
        await asyncio.to_thread(gateway.start)
        told = (await api_of(gateway).routes())["/a"]
        assert (told["target"], told.get("user")) == ("http://127.0.0.1:1", None)


async def test_nothing_is_kept_where_that_is_not_wanted(tmp_path: Path) -> None:
    with running(tmp_path / "state") as gateway:
        await api_of(gateway).add("/kept", "http://127.0.0.1:1")
        await asyncio.to_thread(gateway.nbgate, "route", "set", "/mine", "127.0.0.1:2")
        await asyncio.to_thread(gateway.stop)
        gateway.environment["NBGATE_PERSIST_ROUTES"] = "false"
        for _ in range(2):
            await asyncio.to_thread(gateway.start)
            assert set(await api_of(gateway).routes()) == {"/mine"}
            await api_of(gateway).add("/memory", "http://127.0.0.1:1")
            await asyncio.to_thread(gateway.stop)
