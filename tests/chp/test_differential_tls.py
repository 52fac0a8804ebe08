"""TLS on either side, as configurable-http-proxy and nbgate-proxy speak it with the same flags."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from tests.chp import peer
from tests.chp.harness import SWITCH, UPGRADE, get, options, rig
from tests.chp.pair import Pair as Proxies
from tests.chp.pair import Recorder, Start, paired
from tests.chp.test_tls import secure
from tests.proxy.certificates import Pair, make_pair
from tests.proxy.upstreams import parsed


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return make_pair(tmp_path_factory.mktemp("pair"), "nb", kind="rsa")


@pytest.fixture(scope="session")
def other(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return make_pair(tmp_path_factory.mktemp("other"), "other")


def listening(pair: Pair) -> list[str]:
    return [f"--ssl-key={pair.key}", f"--ssl-cert={pair.cert}"]


async def through(proxies: Proxies, target: str) -> list[int]:
    """Return what both answer to a request that goes to a target."""
    await proxies.lead("/x", target)
    return [made.status for made in await proxies.ask(get("/x/y", host=b"localhost"))]


async def test_clients_come_over_tls(chp: Start, pair: Pair) -> None:
    async with paired(chp, *listening(pair)) as proxies:
        await proxies.add("/")
        proxies.tls = pair.client()
        told = await proxies.agree(get("/x", host=b"hub.example"))
        assert told.header("x-forwarded-proto") == "https"
        assert told.header("x-forwarded-port") == "443"
        told = await proxies.agree(get("/x", b"X-Forwarded-Proto: http", host=b"hub.example:8"))
        assert told.header("x-forwarded-proto") == "http,https"
        proxies.upstream.answer = SWITCH
        for made in await proxies.ask(UPGRADE % b"/ws"):
            assert made.header("x-forwarded-proto") == "wss"


async def test_one_version(chp: Start, pair: Pair) -> None:
    async with paired(chp, *listening(pair), "--ssl-protocol=TLSv1_2") as proxies:
        await proxies.add("/")
        proxies.tls = pair.client()
        assert (await proxies.agree(get("/x"))).status == 200
        proxies.tls.minimum_version = ssl.TLSVersion.TLSv1_3
        assert (await proxies.agree(get("/x"))).status == 0


async def test_ciphers(chp: Start, pair: Pair) -> None:
    cipher = "ECDHE-RSA-AES256-GCM-SHA384"
    async with paired(chp, *listening(pair), f"--ssl-ciphers={cipher}") as proxies:
        await proxies.add("/")
        proxies.tls = pair.client()
        proxies.tls.maximum_version = ssl.TLSVersion.TLSv1_2
        for wire in await proxies.connected():
            async with wire:
                assert wire.writer.get_extra_info("cipher")[0] == cipher
        proxies.tls.set_ciphers("ECDHE-RSA-AES128-GCM-SHA256")
        assert (await proxies.agree(get("/x"))).status == 0


async def test_clients_must_have_a_certificate(chp: Start, pair: Pair, other: Pair) -> None:
    flags = [*listening(pair), f"--ssl-ca={other.cert}", "--ssl-request-cert"]
    for more in ([], ["--ssl-reject-unauthorized"]):
        async with paired(chp, *flags, *more) as proxies:
            await proxies.add("/")
            proxies.tls = pair.client()
            assert (await proxies.agree(get("/x"))).status == 0
            proxies.tls.load_cert_chain(other.cert, other.key)
            assert (await proxies.agree(get("/x"))).status == 200


async def test_passphrase_of_a_key(tmp_path: Path) -> None:
    locked = make_pair(tmp_path, "locked", passphrase="open sesame")
    environ = {"CONFIGPROXY_SSL_KEY_PASSPHRASE": "open sesame"}
    flags = listening(locked)
    with peer.started(tmp_path, *flags, environ=environ) as theirs:
        tls = options(*flags, environ=environ).tls
        async with Recorder() as upstream, rig(tls=tls) as ours:
            proxies = Proxies(theirs, ours, upstream)
            await proxies.add("/")
            proxies.tls = locked.client()
            assert (await proxies.agree(get("/x"))).status == 200


async def test_targets_over_tls(chp: Start, pair: Pair, other: Pair) -> None:
    async with paired(chp, f"--client-ssl-ca={pair.cert}") as proxies:
        async with secure(pair) as up:
            assert await through(proxies, f"https://127.0.0.1:{up.port}/base") == [200, 200]
            asked = await proxies.ask(get("/x/%20?y", host=b"localhost"))
            theirs, ours = [parsed(made.body) for made in asked]
            assert ours.target == theirs.target == b"/base/x/%20?y"
            assert ours.one(b"host") == theirs.one(b"host") == b"localhost"
        async with secure(other) as up:
            assert await through(proxies, f"https://127.0.0.1:{up.port}") == [503, 503]


async def test_targets_that_ask_for_a_certificate(chp: Start, pair: Pair, other: Pair) -> None:
    flags = [f"--client-ssl-ca={pair.cert}"]
    shown = [f"--client-ssl-key={other.key}", f"--client-ssl-cert={other.cert}"]
    async with secure(pair, ask=other) as up:
        async with paired(chp, *flags) as proxies:
            assert await through(proxies, f"https://127.0.0.1:{up.port}") == [503, 503]
        async with paired(chp, *flags, *shown) as proxies:
            assert await through(proxies, f"https://127.0.0.1:{up.port}") == [200, 200]


async def test_certificate_of_a_target_is_for_its_own_name(chp: Start, pair: Pair) -> None:
    """A known fault: there it is for the name that the client says the proxy has."""
    async with paired(chp, f"--client-ssl-ca={pair.cert}") as proxies, secure(pair) as up:
        assert await through(proxies, f"https://127.0.0.2:{up.port}") == [200, 503]
        await proxies.lead("/x", f"https://127.0.0.1:{up.port}")
        asked = await proxies.ask(get("/x", host=b"hub.example"))
        assert [made.status for made in asked] == [503, 200]


async def test_targets_that_nobody_vouches_for(chp: Start, other: Pair) -> None:
    """A known fault: --insecure changes nothing there."""
    async with secure(other) as up:
        async with paired(chp) as proxies:
            assert await through(proxies, f"https://127.0.0.1:{up.port}") == [503, 503]
        async with paired(chp, "--insecure") as proxies:
            assert await through(proxies, f"https://127.0.0.1:{up.port}") == [503, 200]
