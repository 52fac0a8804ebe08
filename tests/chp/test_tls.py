"""TLS with clients, with the API's callers and with targets; files that are renewed."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.chp.options import TlsFiles
from gateway.chp.tls import client_context, renewing, server_context
from gateway.errors import InvalidInput
from tests.chp.harness import SWITCH, TOKEN, UPGRADE, Rig, get, rig
from tests.proxy.certificates import Pair, make_pair
from tests.proxy.upstreams import Upstream, echo, parsed
from tests.proxy.wire import Message, Wire
from tests.support.waiting import PATIENCE

EVERY_LOOP = True


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return make_pair(tmp_path_factory.mktemp("pair"), "nb")


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return make_pair(tmp_path_factory.mktemp("other"), "other", kind="rsa")


@dataclass
class SecureUpstream:
    """An echoing upstream over TLS."""

    port: int
    context: ssl.SSLContext
    accepted: int = 0
    plain: int = 0


@contextlib.asynccontextmanager
async def secure(pair: Pair, *, ask: Pair | None = None) -> AsyncIterator[SecureUpstream]:
    """Serve `echo` over TLS; with `ask`, for clients with that certificate alone."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pair.cert, pair.key)
    if ask is not None:
        context.load_verify_locations(ask.cert)
        context.verify_mode = ssl.CERT_REQUIRED
    made = SecureUpstream(0, context)
    tasks = set()

    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        made.accepted += 1
        task = asyncio.current_task()
        tasks.add(task)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
                await echo(Wire(reader, writer))
        finally:
            writer.transport.abort()

    # On 127.0.0.2 too, for which there is no certificate.
    server = await asyncio.start_server(play, "0.0.0.0", 0, ssl=context, limit=2**20)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        for task in tasks:
            if task is not None:
                task.cancel()
        await asyncio.gather(*(task for task in tasks if task), return_exceptions=True)
        await server.wait_closed()


async def ask_over_tls(port: int, context: ssl.SSLContext, data: bytes) -> Message:
    """Send one request over TLS."""
    async with asyncio.timeout(PATIENCE):
        streams = await asyncio.open_connection("127.0.0.1", port, ssl=context, limit=2**20)
    async with Wire(*streams) as wire:
        await wire.send(data)
        return await wire.response()


async def through(proxy: Rig, target: str) -> Message:
    await proxy.add("/x", target)
    return await proxy.ask(get("/x/y%20?z"))


async def test_https_target_is_reached_and_its_connection_is_used_again(pair: Pair) -> None:
    async with secure(pair) as up, rig(f"--client-ssl-ca={pair.cert}") as proxy:
        await proxy.add("/x", f"https://127.0.0.1:{up.port}/base")
        async with await proxy.connect() as client:
            for _ in range(3):
                await client.send(get("/x/y%20?z"))
                answer = await client.response()
                assert parsed(answer.body).target == b"/base/x/y%20?z"
        assert up.accepted == 1


async def test_https_target_with_another_certificate_is_503(pair: Pair, other: Pair) -> None:
    async with secure(other) as up, rig(f"--client-ssl-ca={pair.cert}") as proxy:
        assert (await through(proxy, f"https://127.0.0.1:{up.port}")).status == 503
        assert (await through(proxy, f"http://127.0.0.1:{up.port}")).status == 503


async def test_https_target_under_another_name_is_503(pair: Pair) -> None:
    async with secure(pair) as up, rig(f"--client-ssl-ca={pair.cert}") as proxy:
        assert (await through(proxy, f"https://127.0.0.2:{up.port}")).status == 503


async def test_without_authorities_of_its_own_the_systems_decide(pair: Pair) -> None:
    async with secure(pair) as up, rig() as proxy:
        assert (await through(proxy, f"https://127.0.0.1:{up.port}")).status == 503


async def test_insecure_checks_nothing(other: Pair) -> None:
    async with secure(other) as up, rig("--insecure") as proxy:
        assert (await through(proxy, f"https://127.0.0.1:{up.port}")).status == 200


async def test_targets_that_ask_are_shown_our_certificate(pair: Pair, other: Pair) -> None:
    flags = [f"--client-ssl-ca={pair.cert}"]
    async with secure(pair, ask=other) as up:
        async with rig(*flags) as proxy:
            assert (await through(proxy, f"https://127.0.0.1:{up.port}")).status == 503
        flags += [f"--client-ssl-key={other.key}", f"--client-ssl-cert={other.cert}"]
        flags += ["--client-ssl-request-cert", "--client-ssl-reject-unauthorized"]
        async with rig(*flags) as proxy:
            assert (await through(proxy, f"https://127.0.0.1:{up.port}")).status == 200


async def test_plain_connection_is_never_used_for_https(pair: Pair, other: Pair) -> None:
    async with Upstream(echo) as plain, rig(f"--client-ssl-ca={pair.cert}") as proxy:
        await proxy.add("/plain", f"http://127.0.0.1:{plain.port}")
        assert (await proxy.ask(get("/plain"))).status == 200
        assert (await through(proxy, f"https://127.0.0.1:{plain.port}")).status == 503


async def test_error_page_may_come_over_tls(pair: Pair) -> None:
    async with secure(pair) as up:
        flags = (f"--client-ssl-ca={pair.cert}", f"--error-target=https://127.0.0.1:{up.port}/e")
        async with rig(*flags) as proxy:
            answer = await proxy.ask(get("/none"))
            assert answer.status == 404
            assert answer.body.startswith(b"GET /e/404?url=%2Fnone ")


async def test_websocket_goes_over_tls_on_both_sides(pair: Pair) -> None:
    flags = [f"--ssl-key={pair.key}", f"--ssl-cert={pair.cert}", f"--client-ssl-ca={pair.cert}"]
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pair.cert, pair.key)
    ended = asyncio.Event()

    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        wire = Wire(reader, writer)
        head = await wire.head()
        assert head.one(b"x-forwarded-proto") == b"wss"
        await wire.send(SWITCH)
        await wire.send(await wire.read(100_000))
        assert await wire.gone()
        writer.close()
        ended.set()

    server = await asyncio.start_server(play, "127.0.0.1", 0, ssl=context, limit=2**20)
    target = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, rig(*flags, f"--default-target={target}") as proxy:
        streams = await asyncio.open_connection("127.0.0.1", proxy.port, ssl=pair.client())
        async with Wire(*streams) as client:
            await client.send(UPGRADE % b"/ws")
            assert (await client.head()).status == 101
            await client.send(b"x" * 100_000)
            assert await client.read(100_000) == b"x" * 100_000
        async with asyncio.timeout(PATIENCE):
            await ended.wait()


async def test_public_listener_and_api_speak_tls(pair: Pair, other: Pair) -> None:
    flags = [f"--ssl-key={pair.key}", f"--ssl-cert={pair.cert}", "--ssl-protocol=TLSv1_2"]
    flags += [f"--api-ssl-key={other.key}", f"--api-ssl-cert={other.cert}"]
    flags += [f"--api-ssl-ca={pair.cert}", "--api-ssl-request-cert"]
    flags += ["--api-ssl-reject-unauthorized"]
    async with Upstream(echo) as up, rig(*flags) as proxy:
        proxy.proxy.book.put("/", {"target": f"http://127.0.0.1:{up.port}"})
        answer = await ask_over_tls(proxy.port, pair.client(), get("/x"))
        assert parsed(answer.body).one(b"x-forwarded-proto") == b"https"
        assert parsed(answer.body).one(b"x-forwarded-port") == b"443"
        request = get("/api/routes", f"Authorization: token {TOKEN}".encode())
        context = other.client()
        with pytest.raises((ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)):
            await ask_over_tls(proxy.api_port, context, request)
        context.load_cert_chain(pair.cert, pair.key)
        assert (await ask_over_tls(proxy.api_port, context, request)).status == 200


def files(pair: Pair, **more: object) -> TlsFiles:
    return TlsFiles("--ssl", str(pair.key), str(pair.cert), **more)  # type: ignore[arg-type]


def test_renewed_files_are_used_and_broken_ones_are_not(
    tmp_path: Path, pair: Pair, other: Pair
) -> None:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    pair.put(cert, key)
    renewed = renewing(TlsFiles("--ssl", str(key), str(cert)), server_context)
    first = renewed.current
    assert not renewed.refresh()
    cert.write_text("broken")
    assert not renewed.refresh()
    assert renewed.current is first
    other.put(cert, key)
    assert renewed.refresh()
    assert renewed.current is not first


async def test_new_handshakes_get_the_renewed_certificate(
    tmp_path: Path, pair: Pair, other: Pair
) -> None:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    pair.put(cert, key)
    renewed = renewing(TlsFiles("--ssl", str(key), str(cert)), server_context)
    server = await asyncio.start_server(
        lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=renewed.for_listener()
    )
    port = server.sockets[0].getsockname()[1]
    async with server:
        for present in (pair, other):
            present.put(cert, key)
            renewed.refresh()
            async with asyncio.timeout(PATIENCE):
                _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=present.client())
            writer.close()


def test_passphrase_and_parameters(tmp_path: Path) -> None:
    locked = make_pair(tmp_path, "locked", passphrase="open sesame")
    assert server_context(files(locked, passphrase="open sesame"))
    for wrong in ("", "wrong"):
        with pytest.raises(InvalidInput, match="--ssl-key and --ssl-cert"):
            server_context(files(locked, passphrase=wrong))
    command = ["openssl", "genpkey", "-genparam", "-algorithm", "DH"]
    command += ["-pkeyopt", "group:ffdhe2048"]
    made = subprocess.run(command, check=True, capture_output=True)
    (tmp_path / "dh.pem").write_bytes(made.stdout)
    assert server_context(files(locked, passphrase="open sesame", dhparam=str(tmp_path / "dh.pem")))


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"protocol": "SSLv3"}, "--ssl-protocol SSLv3"),
        ({"ciphers": "NONSENSE"}, "--ssl-ciphers"),
        ({"ca": "/none"}, "--ssl-ca: cannot read /none"),
        ({"dhparam": "/none"}, "--ssl-dhparam: cannot read /none"),
    ],
)
def test_what_cannot_be_used_is_one_line(pair: Pair, more: dict[str, str], words: str) -> None:
    with pytest.raises(InvalidInput, match=words) as caught:
        server_context(files(pair, **more))
    assert "\n" not in str(caught.value)


def test_authorities_for_targets_replace_the_systems(pair: Pair) -> None:
    context = client_context(TlsFiles("--client-ssl", ca=str(pair.cert)))
    assert context.cert_store_stats()["x509"] == 1
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
