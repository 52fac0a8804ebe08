"""A whole day at a gateway behind httpd; then all that was written is searched for secrets."""

from __future__ import annotations

import contextlib
import re
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from multidict import CIMultiDictProxy

from tests.proxy.certificates import Pair, make_pair
from tests.support.apache import folder_for_httpd
from tests.support.gateway import ROOT, GatewayProcess, execute, running
from tests.support.https_front import running_https_front
from tests.support.places import free_port

_IN_URLS = re.compile(r"[?&](ticket|sig|nonce|state|token)=([^&\s]+)")
# The notebook's page, or the one that waits for its server.
_OPENED = (200, 503)
_FILE = "first-steps.ipynb"


@dataclass
class Site:
    """A gateway with httpd in front of it.

    Attributes:
        written: files that a day leaves.
        secrets: what must be in none of them, by what it is.
    """

    gateway: GatewayProcess
    pair: Pair
    origin: str
    written: list[Path]
    secrets: dict[str, set[str]] = field(default_factory=dict)

    def note(self, what: str, secret: str) -> None:
        if len(secret) >= 8:
            self.secrets.setdefault(what, set()).add(secret)

    def note_url(self, url: str) -> str:
        """Remember what is secret in an address; return the address."""
        for name, value in _IN_URLS.findall(url):
            self.note(name, value)
        return url

    def note_headers(self, headers: CIMultiDictProxy[str]) -> None:
        self.note_url(headers.get("Location", ""))
        for cookie in headers.getall("Set-Cookie", []):
            name, _, value = cookie.partition(";")[0].partition("=")
            self.note(f"cookie {name}", value)


class _Local(AbstractResolver):
    """Every name is this machine's."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host,
                host="127.0.0.1",
                port=port,
                family=socket.AF_INET,
                proto=0,
                flags=0,
            )
        ]

    async def close(self) -> None:
        pass


@pytest.fixture
def site() -> Iterator[Site]:
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(folder_for_httpd())
        pair = make_pair(folder, "nb", names="DNS:nb.localhost,DNS:*.nb.localhost")
        port, behind, log = free_port(), free_port(), folder / "access.log"
        gateway = stack.enter_context(
            running(
                folder / "state",
                listen=f"127.0.0.1:{behind}",
                public_url=f"https://nb.localhost:{port}",
                trusted_proxies="127.0.0.1",
                routing="host",
                base_domain="nb.localhost",
                log_level="debug",
                access_log="combined",
                access_log_file=str(log),
            )
        )
        front = stack.enter_context(
            running_https_front(
                folder,
                folder / "state" / "routes",
                f"127.0.0.1:{behind}",
                port,
                pair,
                NBGATE_BASE_DOMAIN="nb.localhost",
            )
        )
        origin = f"https://nb.localhost:{port}"
        site = Site(gateway, pair, origin, [gateway.log, log, front])
        source = str(ROOT / "examples" / "demo")
        for name in ("signed", "plain"):
            gateway.nbgate("project", "add", name, "--source", source, "--links", name)
        yield site


@contextlib.asynccontextmanager
async def browser(site: Site) -> AsyncIterator[aiohttp.ClientSession]:
    """Yield what keeps cookies, and notes every secret that it is given."""

    async def look(_: Any, __: Any, told: Any) -> None:
        site.note_headers(told.response.headers)

    trace = aiohttp.TraceConfig()
    trace.on_request_end.append(look)
    trace.on_request_redirect.append(look)
    connector = aiohttp.TCPConnector(ssl=site.pair.client(), resolver=_Local())
    async with aiohttp.ClientSession(
        connector=connector, trace_configs=[trace], headers={"Accept": "text/html"}
    ) as client:
        yield client


async def alices_day(site: Site) -> None:
    """She comes by a login link, computes, and leaves; her link is tried once more."""
    gateway = site.gateway
    link = site.note_url(
        gateway.nbgate("notebook", "url", "--project", "plain", "--person", "alice")
    )
    site.note_url(gateway.nbgate("notebook", "url", "plain-x-alice", "--direct"))
    async with browser(site) as client:
        async with client.get(link) as answer:
            assert answer.status == 200
            base = str(answer.url.origin()) + "/"
        assert await execute(client, base, "6 * 7") == "42"
        async with client.get(link) as answer:
            assert answer.status == 410
        (secret,) = site.secrets["token"]
        async with browser(site) as stranger:
            for headers in ({}, {"Authorization": f"token {secret}"}):
                url = f"{base}api/status?token={secret}"
                async with stranger.get(url, headers=headers) as answer:
                    assert answer.status == 401
        async with client.post(f"{site.origin}/gateway/logout") as answer:
            assert answer.status in (200, 403)


async def marys_day(site: Site) -> None:
    """She comes by a signed link, which is used again, altered, and stripped by others."""
    gateway = site.gateway
    key = gateway.nbgate("link", "key", "add", "--project", "signed")
    for word in key.split():
        if len(word) > 30:
            site.note("key of links", word)
    assert site.secrets["key of links"]
    link = gateway.nbgate("link", "sign", "signed", _FILE, "--person", "mary", "--once")
    site.note_url(link)
    async with browser(site) as client, browser(site) as stranger:
        async with client.get(link) as answer:
            assert answer.status in _OPENED
        for tried, status in ((link, 410), (link.replace("/mary", "/bob"), 403)):
            async with stranger.get(tried) as answer:
                assert answer.status == status
        async with stranger.get(link.partition("?")[0]) as answer:
            assert answer.status == 401


async def bobs_day(site: Site) -> None:
    """He comes by a plain link, wants the exercise anew, and shares a copy of it."""
    link = f"{site.origin}/ipythonExercice/plain/{_FILE}/bob"
    async with browser(site) as client:
        async with client.get(link) as answer:
            assert answer.status in _OPENED
        headers = {"Origin": site.origin}
        async with client.post(f"{link}?forcecopy=true", headers=headers) as answer:
            assert answer.status == 200
        share = link.replace("/ipythonExercice/", "/ipythonShare/")
        asking = headers | {"Accept": "application/json"}
        async with client.post(share, headers=asking) as answer:
            copy = (await answer.json())["url"]
        site.note("copy", copy.rpartition("/")[2])
        for url in (copy, copy.replace("/shared/", "/%73hared/"), f"{copy}?x=1"):
            async with client.get(url) as answer:
                assert answer.status == 200


async def test_nothing_that_is_written_in_a_day_has_a_secret(site: Site) -> None:
    gateway = site.gateway
    site.note("management token", (gateway.state / "management.token").read_text().strip())
    for day in (alices_day, marys_day, bobs_day):
        await day(site)
    gateway.nbgate("notebook", "stop", "plain-x-alice")
    told = {path.name: path.read_text(errors="replace") for path in site.written}
    assert all(told.values())
    async with (
        aiohttp.ClientSession() as client,
        client.get(f"{gateway.management_url}/gateway/metrics") as answer,
    ):
        told["metrics"] = await answer.text()
    for words in (("notebook", "list"), ("operation", "list"), ("project", "list")):
        told[" ".join(words)] = gateway.nbgate(*words, "--json")
    wanted = {"ticket", "sig", "nonce", "state", "token", "key of links", "management token"}
    wanted |= {"copy"}
    assert site.secrets.keys() >= wanted | {"cookie __Host-nbgate", "cookie __Host-nbgate~signed"}
    found = [
        f"{what} in {name}: {line.replace(secret, '***')}"
        for what, secrets in site.secrets.items()
        for secret in secrets
        for name, text in told.items()
        for line in text.splitlines()
        if secret in line
    ]
    assert not found
