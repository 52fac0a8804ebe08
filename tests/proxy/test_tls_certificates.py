"""The listener's certificate: loaded, refused in one line, and renewed while it serves."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.errors import InvalidInput
from gateway.proxy.interface import ProxyLimits
from gateway.proxy.renewal import Renewed, watch
from gateway.proxy.tls import load_pair, open_tls, renewing
from tests.proxy.certificates import Pair, make_pair
from tests.proxy.harness import Rig
from tests.proxy.secure import connect
from tests.proxy.test_websockets import SWITCH, UPGRADE
from tests.proxy.upstreams import Upstream, echo

EVERY_LOOP = True
GET = b"GET /x HTTP/1.1\r\nHost: h\r\n\r\n"


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Pair, Pair, Pair]:
    """Three pairs; the last has another kind of key."""
    folder = tmp_path_factory.mktemp("pairs")
    return make_pair(folder, "a"), make_pair(folder, "b"), make_pair(folder, "c", kind="rsa")


class Served:
    """A data path whose certificate is in `live`."""

    def __init__(self, rig: Rig, live: Pair, certificate: Renewed) -> None:
        self.rig, self.live, self.certificate = rig, live, certificate

    async def accepted_by(self, pair: Pair, *, sni: bool = False) -> bool:
        """Whether a client that trusts `pair` alone gets an answer."""
        name = "localhost" if sni else "127.0.0.1"  # addresses are not sent as SNI
        try:
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", self.rig.port, ssl=pair.client(), server_hostname=name
            )
        except ssl.SSLCertVerificationError:
            return False
        writer.write(GET)
        status = await reader.readline()
        writer.transport.abort()
        return status == b"HTTP/1.1 200 OK\r\n"


@pytest.fixture
async def served(tmp_path: Path, pairs: tuple[Pair, Pair, Pair]) -> AsyncIterator[Served]:
    live = Pair(tmp_path / "live.pem", tmp_path / "live.key")
    pairs[0].put(live.cert, live.key)
    certificate = renewing(live.cert, live.key)
    async with Upstream(echo) as upstream:
        rig = Rig(tmp_path, upstream.target, ProxyLimits(), ())
        await rig.proxy.start("127.0.0.1", 0, tls=certificate.for_listener())
        yield Served(rig, live, certificate)
        await rig.proxy.stop(grace=0.0)
        for client in rig.clients:
            await client.close()


async def test_new_connections_get_the_new_certificate_and_old_ones_go_on(
    served: Served, pairs: tuple[Pair, Pair, Pair]
) -> None:
    first, second, other_kind = pairs
    old = await connect(served.rig, first)
    assert not served.certificate.refresh()
    for new in (second, other_kind, first):
        new.put(served.live.cert, served.live.key)
        assert served.certificate.refresh()
        assert not served.certificate.refresh()
        for pair in pairs:
            assert await served.accepted_by(pair) == (pair is new)
            assert await served.accepted_by(pair, sni=True) == (pair is new)
        await old.send(GET)
        assert (await old.response()).status == 200


async def test_websockets_survive_a_renewal(
    tmp_path: Path, served: Served, pairs: tuple[Pair, Pair, Pair]
) -> None:
    async with Upstream() as upstream:
        served.rig.notebook(upstream.target)
        client = await connect(served.rig, pairs[0])
        await client.send(UPGRADE)
        server = await upstream.take()
        await server.head()
        await server.send(SWITCH)
        await client.head()
        pairs[1].put(served.live.cert, served.live.key)
        assert served.certificate.refresh()
        await server.send(b"\x82\x02hi")
        assert await client.read(4) == b"\x82\x02hi"


def _put(source: Path, goal: Path) -> None:
    """Replace one file, by another: two writings within a tick of the clock look alike."""
    beside = goal.with_name("beside")
    beside.write_bytes(source.read_bytes())
    beside.replace(goal)


async def test_half_a_renewal_keeps_the_old_pair_and_is_told_once(
    served: Served, pairs: tuple[Pair, Pair, Pair], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "gateway.proxy.renewal")
    _put(pairs[1].cert, served.live.cert)
    for _ in range(3):
        assert not served.certificate.refresh()
    assert await served.accepted_by(pairs[0])
    (line,) = caplog.messages
    assert str(served.live.key) in line
    assert "old one stays" in line
    _put(pairs[1].key, served.live.key)
    assert served.certificate.refresh()
    assert await served.accepted_by(pairs[1])


@pytest.mark.parametrize("damage", ["gone", "empty", "cut"])
async def test_damaged_files_keep_the_old_pair(
    served: Served, pairs: tuple[Pair, Pair, Pair], damage: str
) -> None:
    text = pairs[1].cert.read_bytes()
    if damage == "gone":
        served.live.cert.unlink()
    else:
        served.live.cert.write_bytes(b"" if damage == "empty" else text[: len(text) // 2])
    assert not served.certificate.refresh()
    assert await served.accepted_by(pairs[0])
    pairs[1].put(served.live.cert, served.live.key)
    assert served.certificate.refresh()
    assert await served.accepted_by(pairs[1])


async def test_a_renewal_behind_a_link_is_seen(
    tmp_path: Path, pairs: tuple[Pair, Pair, Pair]
) -> None:
    links = [tmp_path / "current.pem", tmp_path / "current.key"]
    for link, goal in zip(links, (pairs[0].cert, pairs[0].key), strict=True):
        link.symlink_to(goal)
    certificate = renewing(*links)
    for link, goal in zip(links, (pairs[1].cert, pairs[1].key), strict=True):
        link.unlink()
        link.symlink_to(goal)
    assert certificate.refresh()


async def test_the_files_are_looked_at_again_and_again(
    tmp_path: Path, pairs: tuple[Pair, Pair, Pair]
) -> None:
    live = Pair(tmp_path / "live.pem", tmp_path / "live.key")
    pairs[0].put(live.cert, live.key)
    certificate, slept, renewed = renewing(live.cert, live.key), [], asyncio.Event()

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 2:
            pairs[1].put(live.cert, live.key)
        if len(slept) == 4:
            renewed.set()
            await asyncio.Event().wait()

    chore = asyncio.create_task(watch(certificate, sleep=sleep, seconds=7.0))
    await renewed.wait()
    chore.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await chore
    assert slept == [7.0] * 4
    assert not certificate.refresh()


async def test_the_watch_ends_with_its_stack(pairs: tuple[Pair, Pair, Pair]) -> None:
    before = asyncio.all_tasks()
    async with contextlib.AsyncExitStack() as stack:
        assert await open_tls(pairs[0].cert, pairs[0].key, stack) is not None
        assert await open_tls(None, None, stack) is None
        assert len(asyncio.all_tasks() - before) == 1
    assert asyncio.all_tasks() == before


def _refused(cert: Path, key: Path) -> str:
    with pytest.raises(InvalidInput) as caught:
        load_pair(cert, key)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def test_a_pair_that_cannot_be_used_is_one_line_with_file_and_remedy(
    tmp_path: Path, pairs: tuple[Pair, Pair, Pair]
) -> None:
    pair, other, _ = pairs
    missing = tmp_path / "missing.pem"
    for told in (_refused(missing, pair.key), _refused(pair.cert, missing)):
        assert str(missing) in told
        assert "No such file" in told
    assert "NBGATE_TLS_KEY" in _refused(pair.cert, missing)
    assert "NBGATE_TLS_CERT" in _refused(missing, pair.key)
    assert "Is a directory" in _refused(tmp_path, pair.key)
    mismatch = _refused(pair.cert, other.key)
    assert f"{other.key} is not that of the certificate {pair.cert}" in mismatch
    locked = make_pair(tmp_path, "locked", passphrase="open sesame")
    encrypted = _refused(locked.cert, locked.key)
    assert str(locked.key) in encrypted
    assert "without a passphrase" in encrypted
    assert "no certificate in PEM form" in _refused(pair.key, pair.key)
    assert "no private key in PEM form" in _refused(pair.cert, pair.cert)
    cut = tmp_path / "cut.pem"
    cut.write_bytes(pair.cert.read_bytes()[:200])
    assert str(cut) in _refused(cut, pair.key)


def test_a_key_that_may_not_be_read_is_named(
    pairs: tuple[Pair, Pair, Pair], monkeypatch: pytest.MonkeyPatch
) -> None:
    read = Path.read_bytes

    def guarded(path: Path) -> bytes:  # root, who may run the tests, reads every file
        if path == pairs[0].key:
            raise PermissionError(13, "Permission denied", str(path))
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", guarded)
    assert f"{pairs[0].key}: Permission denied" in _refused(pairs[0].cert, pairs[0].key)
