"""https by httpd: from the operator's files, followed through renewals, refused in one line."""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.front.conftest import Fronts
from tests.front.upstream import Upstream
from tests.proxy.certificates import Pair, make_pair
from tests.support.apache import stop
from tests.support.front import HTTPD
from tests.support.places import free_port
from tests.support.waiting import PATIENCE

pytestmark = pytest.mark.asyncio(loop_scope="package")


class Served:
    """An httpd with a certificate.

    Attributes:
        cert, key: the operator's files.
        log: what it says.
    """

    def __init__(self, folder: Path, gateway_port: int, routes: Path) -> None:
        self.cert, self.key = folder / "fullchain.pem", folder / "privkey.pem"
        self.log, self.port = folder / "front.log", free_port()
        self.url = f"https://127.0.0.1:{self.port}"
        self.environment = {
            "PATH": "/usr/sbin:/usr/bin:/bin",
            "NBGATE_HTTPD_LISTEN": f"127.0.0.1:{self.port}",
            "NBGATE_HTTPD_RUN": str(folder / "run"),
            "NBGATE_ROUTES": str(routes),
            "NBGATE_GATEWAY": f"127.0.0.1:{gateway_port}",
            "NBGATE_TLS_CERT": str(self.cert),
            "NBGATE_TLS_KEY": str(self.key),
            "NBGATE_TLS_INTERVAL": "0.1",
        }

    def refused(self, **environment: str) -> str:
        """Return what `serve` says, in one line, when it does not start."""
        result = subprocess.run(
            [HTTPD / "serve"],
            env=self.environment | environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert result.returncode == 1
        (line,) = result.stderr.splitlines()
        return line

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        with self.log.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                HTTPD / "serve", env=self.environment, stdout=output, stderr=output
            )
        try:
            await self.until_certificate()
            yield
        finally:
            await stop(process)

    async def until_certificate(self, *others: bytes) -> bytes:
        """Wait until it shows a certificate that is none of `others`; return that."""
        async with asyncio.timeout(PATIENCE):
            while True:
                with contextlib.suppress(OSError):
                    shown = await asyncio.to_thread(
                        ssl.get_server_certificate, ("127.0.0.1", self.port)
                    )
                    if shown.encode() not in others:
                        return shown.encode()
                await asyncio.sleep(0.05)

    async def until_told(self, words: str) -> None:
        async with asyncio.timeout(PATIENCE):
            while True:
                if words in self.log.read_text():
                    return
                await asyncio.sleep(0.05)


@pytest.fixture
def served(folder: Path, fronts: Fronts, tmp_path_factory: pytest.TempPathFactory) -> Served:
    own = folder / tmp_path_factory.mktemp("https").name
    own.mkdir()
    return Served(own, fronts.gateway_port, fronts.routes.folder)


@pytest.fixture
def pair(served: Served) -> Pair:
    """The pair that it serves with at first."""
    made = make_pair(served.cert.parent, "first")
    made.put(served.cert, served.key)
    return made


async def asked(url: str, trusted: Pair) -> Any:
    """Return what the gateway was asked.

    While httpd takes up a certificate, a process of before may still accept a connection.
    """
    async with asyncio.timeout(PATIENCE):
        while True:
            connector = aiohttp.TCPConnector(ssl=trusted.client())
            with contextlib.suppress(aiohttp.ClientConnectorCertificateError):
                async with aiohttp.ClientSession(connector=connector) as c, c.get(url) as answer:
                    assert answer.status == 200
                    assert answer.version == aiohttp.HttpVersion11
                    return await answer.json()
            await asyncio.sleep(0.05)


async def test_gateway_is_told_that_people_came_by_https(
    served: Served, pair: Pair, gateway: Upstream
) -> None:
    async with served.running():
        told = await asked(f"{served.url}/somewhere", pair)
    assert ["X-Forwarded-Proto", "https"] in told["headers"]


async def test_renewed_certificate_is_served_and_open_connections_go_on(
    served: Served, pair: Pair, gateway: Upstream
) -> None:
    async with served.running():
        before = await served.until_certificate()
        connector = aiohttp.TCPConnector(ssl=pair.client())
        async with (
            aiohttp.ClientSession(connector=connector) as client,
            client.ws_connect(f"{served.url}/socket") as socket,
        ):
            await socket.receive_json()
            renewed = make_pair(served.cert.parent, "second")
            renewed.put(served.cert, served.key)
            assert await served.until_certificate(before) == renewed.cert.read_bytes()
            await socket.send_str("still there")
            assert await socket.receive_str(timeout=PATIENCE) == "still there"
        await asked(f"{served.url}/somewhere", renewed)


async def test_half_a_renewal_changes_nothing(
    served: Served, pair: Pair, gateway: Upstream
) -> None:
    async with served.running():
        before = await served.until_certificate()
        renewed = make_pair(served.cert.parent, "second")
        served.cert.write_bytes(renewed.cert.read_bytes())
        await served.until_told("the old certificate stays")
        assert await served.until_certificate() == before
        served.key.write_bytes(renewed.key.read_bytes())
        assert await served.until_certificate(before) == renewed.cert.read_bytes()


async def test_wrong_files_are_one_clear_line(served: Served, pair: Pair) -> None:
    folder = served.cert.parent
    other = make_pair(folder, "other")
    locked = make_pair(folder, "locked", passphrase="secret")
    missing = f"{folder}/nothing.pem"
    assert f"NBGATE_TLS_CERT: there is no file {missing} here" in served.refused(
        NBGATE_TLS_CERT=missing
    )
    assert "NBGATE_TLS_KEY is not set" in served.refused(NBGATE_TLS_KEY="")
    assert "holds no certificate" in served.refused(NBGATE_TLS_CERT=str(pair.key))
    assert "no private key" in served.refused(NBGATE_TLS_KEY=str(locked.key))
    assert "is not the key of the certificate" in served.refused(NBGATE_TLS_KEY=str(other.key))
    said = served.refused(NBGATE_PUBLIC_URL="http://nb.example.org")
    assert "NBGATE_PUBLIC_URL must be https" in said


@pytest.mark.parametrize("whose", ["a link", "a file"])
async def test_folder_that_somebody_else_has_made_gets_no_key(
    served: Served, pair: Pair, whose: str
) -> None:
    """The folder that is taken by default has a name that anybody can guess."""
    guessed, theirs = served.cert.parent / f"nbgate-httpd-{os.getuid()}", served.cert.parent / "x"
    theirs.mkdir()
    if whose == "a link":
        guessed.symlink_to(theirs)
    else:
        guessed.touch()
    told = served.refused(NBGATE_HTTPD_RUN="", TMPDIR=str(guessed.parent))
    assert "set NBGATE_HTTPD_RUN" in told
    assert list(theirs.iterdir()) == []
