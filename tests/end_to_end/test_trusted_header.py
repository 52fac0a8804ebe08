"""People whom a proxy in front has authenticated: a real httpd with mod_auth_basic."""

from __future__ import annotations

import base64
import contextlib
import hashlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest

from tests.support.apache import folder_for_httpd, running_apache
from tests.support.gateway import ROOT, GatewayProcess, running
from tests.support.places import free_port

HEADER, NAMES = "X-Remote-User", "X-Remote-Name"
PAGE = "/nb/demo-x-alice/api/status"


@pytest.fixture(scope="module", params=["0", "2"], ids=["one-process", "workers"])
def gateway(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    """A gateway whose proxy in front has the address 127.0.0.1."""
    front = free_port()
    with running(
        tmp_path_factory.mktemp("trusted") / "state",
        public_url=f"http://127.0.0.1:{front}",
        trusted_proxies="127.0.0.1",
        user_header=HEADER,
        user_name_header=NAMES,
        workers=request.param,
    ) as process:
        process.nbgate("project", "add", "demo", "--source", str(ROOT / "examples" / "demo"))
        for person in ("alice", "bob"):
            process.nbgate("notebook", "url", "--project", "demo", "--person", person)
        yield process


@dataclass
class Browser:
    """One that keeps cookies, and follows what leads on.

    Attributes:
        url: what it asks.
        cookies: name → value.
        log: the Location headers of its last request.
    """

    client: aiohttp.ClientSession
    url: str
    origin: str
    cookies: dict[str, str] = field(default_factory=dict)
    keeps_cookies: bool = True

    async def ask(self, path: str, **headers: str) -> tuple[int, str, str]:
        """Return status, Location and text of one answer."""
        sent = {"Host": self.origin.removeprefix("http://"), "Accept": "text/html"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        if self.cookies:
            sent["Cookie"] = "; ".join(f"{k}={v}" for k, v in self.cookies.items())
        async with self.client.get(
            f"{self.url}{path}", headers=sent, allow_redirects=False
        ) as answer:
            for line in answer.headers.getall("Set-Cookie", []) if self.keeps_cookies else []:
                name, _, value = line.partition(";")[0].partition("=")
                self.cookies[name] = value
            return answer.status, answer.headers.get("Location", ""), await answer.text()

    async def open(self, path: str, **headers: str) -> tuple[int, str, str]:
        """Follow redirects; return status and text of the last answer, and its path."""
        for _ in range(6):
            status, where, text = await self.ask(path, **headers)
            if status != 303:
                return status, text, path
            path = where.removeprefix(self.origin)
            assert path.startswith("/"), path
        raise AssertionError(f"it goes round and round: {path}")


@pytest.fixture
async def direct(gateway: GatewayProcess) -> AsyncIterator[Browser]:
    """A browser that a trusted peer speaks for: the test, from 127.0.0.1."""
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as client:
        origin = gateway.environment["NBGATE_PUBLIC_URL"]
        yield Browser(client, gateway.url, origin)


async def test_navigation_begins_a_session_and_ends_where_it_wanted(direct: Browser) -> None:
    status, text, path = await direct.open("/?a=b", X_Remote_User="alice", X_Remote_Name="Älice L.")
    assert (status, path) == (200, "/?a=b")
    assert "demo-x-alice" in text
    assert "demo-x-bob" not in text
    status, _, _ = await direct.ask(PAGE, X_Remote_User="alice", Accept="*/*")
    assert status == 200


async def test_shared_copy_begins_no_session_and_its_address_goes_nowhere(direct: Browser) -> None:
    status, where, _ = await direct.ask(f"/gateway/shared/{'a' * 43}", X_Remote_User="alice")
    assert (status, where) == (404, "")
    assert not direct.cookies


async def test_program_without_a_session_is_refused(direct: Browser) -> None:
    status, _, _ = await direct.ask(PAGE, X_Remote_User="alice", Accept="*/*")
    assert status == 401
    assert not direct.cookies


async def test_another_persons_session_does_not_count_and_ends(direct: Browser) -> None:
    await direct.open("/", X_Remote_User="alice")
    alices = dict(direct.cookies)
    status, _, _ = await direct.ask(PAGE, X_Remote_User="bob", Accept="*/*")
    assert status == 401
    status, text, _ = await direct.open("/", X_Remote_User="bob")
    assert status == 200
    assert "demo-x-bob" in text
    assert "demo-x-alice" not in text
    assert direct.cookies != alices
    direct.cookies = alices
    status, _, _ = await direct.ask(PAGE, X_Remote_User="alice", Accept="*/*")
    assert status == 401, "it has ended"


async def test_page_asks_in_the_background_with_another_persons_name(direct: Browser) -> None:
    await direct.open("/", X_Remote_User="alice")
    headers = {"Sec-Fetch-Mode": "cors", "Accept": "*/*"}
    status, _, _ = await direct.ask("/gateway/status/demo-x-alice", X_Remote_User="bob", **headers)
    assert status == 404
    status, _, _ = await direct.ask(PAGE, X_Remote_User="alice", Accept="*/*")
    assert status == 401, "the session has ended"


@pytest.mark.parametrize("name", ["admin", "plain/demo:mary", "moodle:mary", "a/b"])
async def test_names_of_other_kinds_of_people_are_refused(direct: Browser, name: str) -> None:
    status, _, _ = await direct.open("/", X_Remote_User=name)
    assert status == 403
    assert not direct.cookies


@pytest.mark.parametrize("value", ["", "(null)", "-"])
async def test_no_name_is_nobody(direct: Browser, value: str) -> None:
    status, text, _ = await direct.open("/", X_Remote_User=value)
    assert status == 200
    assert "demo-x-" not in text
    assert not direct.cookies


async def test_browser_without_cookies_is_told(direct: Browser) -> None:
    direct.keeps_cookies = False
    status, text, _ = await direct.open("/", X_Remote_User="alice")
    assert status == 403
    assert "keeps no cookies" in text


async def test_inner_headers_are_not_taken_from_clients(direct: Browser) -> None:
    status, text, _ = await direct.open("/", X_Nbgate_Told_User="alice")
    assert status == 200
    assert "demo-x-alice" not in text
    assert not direct.cookies


async def test_header_given_twice_names_nobody(gateway: GatewayProcess, direct: Browser) -> None:
    headers = [("Host", direct.origin.removeprefix("http://")), ("Accept", "text/html")]
    headers += [(HEADER, "alice"), (HEADER, "mallory")]
    async with direct.client.get(f"{gateway.url}/", headers=headers, allow_redirects=False) as one:
        assert one.status == 403
        assert "Set-Cookie" not in one.headers


async def test_untrusted_peers_word_is_not_taken(tmp_path: Path) -> None:
    with running(tmp_path / "state", trusted_proxies="192.0.2.1", user_header=HEADER) as process:
        async with aiohttp.ClientSession() as client:
            named = {HEADER: "alice", "Accept": "text/html"}
            async with client.get(process.url, headers=named, allow_redirects=False) as answer:
                assert answer.status == 200
                assert "Set-Cookie" not in answer.headers


@contextlib.contextmanager
def passwords(*people: str) -> Iterator[Path]:
    """Yield a folder for httpd with a file of passwords: each person's is their name."""
    with folder_for_httpd() as folder:
        # {SHA} of htpasswd's: the one form that needs no program to be made.
        lines = (
            f"{one}:{{SHA}}{base64.b64encode(hashlib.sha1(one.encode()).digest()).decode()}\n"
            for one in people
        )
        (folder / "passwords").write_text("".join(lines))
        yield folder


def basic(person: str) -> str:
    """Return the Authorization header of somebody whose password is their name."""
    return f"Basic {base64.b64encode(f'{person}:{person}'.encode()).decode()}"


async def test_httpd_that_asks_for_a_password(gateway: GatewayProcess) -> None:
    with passwords("alice", "bob") as folder:
        configuration = f"""
ProxyPreserveHost On
<Location />
  AuthType Basic
  AuthName notebooks
  AuthBasicProvider file
  AuthUserFile {folder}/passwords
  Require valid-user
  RequestHeader set {HEADER} "expr=%{{REMOTE_USER}}"
  RequestHeader unset Authorization
  ProxyPass {gateway.url}/
</Location>
"""
        modules = ("auth_basic", "authn_core", "authn_file", "authz_user")
        async with (
            running_apache(folder, configuration, *modules) as port,
            aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as client,
        ):
            origin = gateway.environment["NBGATE_PUBLIC_URL"]
            browser = Browser(client, f"http://127.0.0.1:{port}", origin)
            assert (await browser.ask("/"))[0] == 401
            assert not browser.cookies
            alice = basic("alice")
            lie = {"Authorization": alice, "X_Remote_User": "bob"}
            status, text, _ = await browser.open("/", **lie)
            assert status == 200
            assert "demo-x-alice" in text
            assert "demo-x-bob" not in text
            status, _, _ = await browser.ask(PAGE, Authorization=alice, Accept="*/*")
            assert status == 200
            bob = basic("bob")
            status, _, _ = await browser.ask(PAGE, Authorization=bob, Accept="*/*")
            assert status == 401
