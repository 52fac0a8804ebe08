"""Nobody without a session gets a byte of a notebook, hot or cold, by HTTP or WebSocket."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest

from tests.support.gateway import GatewayProcess, signed_in

UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "MDEyMzQ1Njc4OWFiY2RlZg==",
}
ATTEMPTS: list[tuple[str, str, dict[str, str]]] = [
    ("GET", "", {}),
    ("GET", "lab/tree/first-steps.ipynb", {"Accept": "text/html"}),
    ("GET", "api/contents/first-steps.ipynb", {}),
    ("HEAD", "api/status", {}),
    ("OPTIONS", "api/contents", {}),
    ("POST", "api/kernels", {}),
    ("PUT", "api/contents/x.txt", {"Content-Type": "application/json"}),
    ("DELETE", "api/contents/first-steps.ipynb", {}),
    ("GET", "api/status", {"Cookie": "nbgate-session=guess"}),
    ("GET", "api/status", {"Cookie": "__Host-nbgate=guess"}),
    ("GET", "api/status", {"X-Nbgate-User": "victor", "X-Nbgate-Client": "127.0.0.1"}),
    ("GET", "api/status", {"X-Forwarded-User": "victor", "X-Forwarded-For": "127.0.0.1"}),
    ("GET", "../demo-x-victor/api/status", {}),
    ("GET", "%61pi/status", {}),
    ("GET", "api/kernels/0/channels", UPGRADE),
]


@pytest.fixture(params=["cold", "hot"])
async def victim(
    request: pytest.FixtureRequest, gateway: GatewayProcess
) -> AsyncIterator[tuple[GatewayProcess, str]]:
    """A gateway, and the secret of a notebook on it that is hot or cold."""
    link = gateway.nbgate("notebook", "url", "--project", "demo", "--person", "victor")
    secret = ""
    if request.param == "hot":
        async with (
            signed_in(link) as owner,
            owner.get(f"{gateway.url}/nb/demo-x-victor/api/status") as answer,
        ):
            assert answer.status == 200
        direct = gateway.nbgate("notebook", "url", "demo-x-victor", "--direct")
        secret = direct.partition("token=")[2]
        assert secret
    yield gateway, secret
    gateway.nbgate("notebook", "stop", "demo-x-victor")


async def refused(
    client: aiohttp.ClientSession, url: str, method: str, headers: dict[str, str], status: int
) -> None:
    async with client.request(method, url, headers=headers, allow_redirects=False) as answer:
        body = await answer.text()
        assert answer.status == status, (method, url, body)
        assert "Server" not in answer.headers or "Tornado" not in answer.headers["Server"]
        assert "first-steps" not in body


async def test_no_session_gets_nothing(victim: tuple[GatewayProcess, str]) -> None:
    gateway, secret = victim
    tries = [*ATTEMPTS, ("GET", f"api/status?token={secret}", {})]
    tries.append(("GET", "api/status", {"Authorization": f"token {secret}"}))
    async with aiohttp.ClientSession() as stranger:
        for method, path, headers in tries:
            url = f"{gateway.url}/nb/demo-x-victor/{path}"
            await refused(stranger, url, method, headers, 401)


async def test_another_persons_session_gets_nothing(victim: tuple[GatewayProcess, str]) -> None:
    gateway, secret = victim
    link = gateway.nbgate("notebook", "url", "--project", "demo", "--person", "mallory")
    tries = [one for one in ATTEMPTS if "Cookie" not in one[2]]
    tries.append(("GET", f"api/status?token={secret}", {}))
    async with signed_in(link) as mallory:
        for method, path, headers in tries:
            url = f"{gateway.url}/nb/demo-x-victor/{path}"
            await refused(mallory, url, method, headers, 404)


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("POST", "api/kernels", {"Origin": "https://evil.example"}),
        ("PUT", "api/contents/x", {"Sec-Fetch-Site": "cross-site"}),
        ("DELETE", "api/contents/x", {"Sec-Fetch-Site": "same-site"}),
        ("GET", "api/kernels/0/channels", UPGRADE | {"Origin": "https://evil.example"}),
        ("GET", "files/x.py", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}),
    ],
)
async def test_another_sites_page_gets_nothing(
    victim: tuple[GatewayProcess, str], method: str, path: str, headers: dict[str, str]
) -> None:
    gateway, _ = victim
    link = gateway.nbgate("notebook", "url", "--project", "demo", "--person", "victor")
    async with signed_in(link) as owner:
        await refused(owner, f"{gateway.url}/nb/demo-x-victor/{path}", method, headers, 403)


async def test_notebook_never_sees_the_gateways_cookie_and_the_browser_never_its_secret(
    gateway: GatewayProcess,
) -> None:
    link = gateway.nbgate("notebook", "url", "--project", "demo", "--person", "wanda")
    base = f"{gateway.url}/nb/demo-x-wanda/"
    async with signed_in(link) as client:
        async with client.get(f"{base}lab") as answer:
            page, cookies = await answer.text(), answer.headers.getall("Set-Cookie", [])
        direct = gateway.nbgate("notebook", "url", "demo-x-wanda", "--direct")
        assert direct.partition("token=")[2] not in page
        assert not [cookie for cookie in cookies if cookie.startswith("username-")]


async def test_junk_cookies_neither_break_the_pages_nor_make_them_tell_the_session(
    gateway: GatewayProcess,
) -> None:
    link = gateway.nbgate("notebook", "url", "--project", "demo", "--person", "yann")
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as client:
        async with client.get(link, allow_redirects=False) as answer:
            cookie = answer.headers["Set-Cookie"].partition(";")[0]
        junk = "; ".join(f"junk{number}={'x' * 4000}" for number in range(8))
        headers = {"Cookie": f"{cookie}; {junk}", "Accept": "text/html"}
        async with client.get(f"{gateway.url}/", headers=headers) as answer:
            text = await answer.text()
            assert answer.status == 200, text
            assert "Signed in as yann" in text
            assert cookie.partition("=")[2] not in text


def test_management_api_needs_its_token(gateway: GatewayProcess) -> None:
    wrong = gateway.environment | {"NBGATE_TOKEN": "guess"}
    gateway.environment, right = wrong, gateway.environment
    try:
        result = gateway.run("notebook", "list")
    finally:
        gateway.environment = right
    assert result.returncode != 0
    assert "token" in result.stderr


def test_secrets_on_disk_are_private(gateway: GatewayProcess) -> None:
    for name in ("management.token", "identity.json"):
        assert (gateway.state / name).stat().st_mode & 0o077 == 0
    assert (gateway.state / "run" / "pages.sock").stat().st_mode & 0o077 == 0
