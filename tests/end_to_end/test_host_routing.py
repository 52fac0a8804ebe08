"""Host routing: one origin per notebook, each with a cookie of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest

from tests.support.browser import browser_page, run_first_cell, screenshot
from tests.support.gateway import ROOT, GatewayProcess, running_by


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[GatewayProcess]:
    with running_by("host", tmp_path / "state") as process:
        process.nbgate("project", "add", "demo", "--source", str(ROOT / "examples" / "demo"))
        yield process


@pytest.mark.browser
async def test_login_link_reaches_the_notebooks_own_origin(gateway: GatewayProcess) -> None:
    link = gateway.nbgate(
        "notebook", "url", "--project", "demo", "--person", "alice", "first-steps.ipynb"
    )
    async with browser_page() as page:
        await page.goto(link)
        await run_first_cell(page, "5050")
        await screenshot(page, "notebook-host-routing")
        assert urlsplit(page.url).netloc == f"demo-x-alice.nb.localhost:{gateway.port}"
        cookies = await page.context.cookies()
        sessions = {
            str(one.get("domain")) for one in cookies if one.get("name") == "nbgate-session"
        }
        assert sessions == {"nb.localhost", "demo-x-alice.nb.localhost"}


async def test_one_origins_cookie_opens_no_other(gateway: GatewayProcess) -> None:
    first = gateway.nbgate("notebook", "url", "--project", "demo", "--person", "alice")
    host = f"demo-x-alice.nb.localhost:{gateway.port}"
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as client:
        here = gateway.url
        own = {"Host": f"nb.localhost:{gateway.port}"}
        path = here + "/" + first.split("/", 3)[3]
        async with client.get(path, headers=own, allow_redirects=False) as answer:
            main = answer.headers["Set-Cookie"].partition(";")[0]
        stolen = {"Host": host, "Cookie": main}
        async with client.get(f"{here}/api/status", headers=stolen) as answer:
            assert answer.status == 401, "the gateway's cookie is worthless at a notebook's origin"


async def test_a_notebooks_own_token_opens_and_wakes_no_other(gateway: GatewayProcess) -> None:
    link = gateway.nbgate("notebook", "url", "--project", "demo", "--person", "alice")
    gateway.nbgate("notebook", "create", "second", "--project", "demo", "--owner", "alice")
    here, main_host = gateway.url, f"nb.localhost:{gateway.port}"
    first, second = (f"{slug}.nb.localhost:{gateway.port}" for slug in ("demo-x-alice", "second"))
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as client:

        async def ask(path: str, host: str, cookie: str, method: str = "GET") -> tuple[int, str]:
            headers = {"Host": host, "Cookie": cookie}
            async with client.request(
                method, here + path, headers=headers, allow_redirects=False
            ) as answer:
                cookies = answer.headers.getall("Set-Cookie", [""])
                where = answer.headers.get("Location", "")
                return answer.status, cookies[0].partition(";")[0] or where

        _, main = await ask("/" + link.split("/", 3)[3], main_host, "")
        wanted = f"/gateway/authorize?next=http://{first}/lab&state=abc"
        _, enter = await ask(wanted, main_host, main)
        _, token = await ask("/" + enter.split("/", 3)[3], first, "nbgate-state=abc")
        assert token.startswith("nbgate-session=")
        other = f"/gateway/authorize?next=http://{second}/lab&state=abc"
        assert (await ask(other, first, token))[0] == 401
        assert (await ask("/gateway/status/second", first, token))[0] == 404
        assert (await ask("/gateway/start/second", first, token, "POST"))[0] == 404
        assert (await ask("/gateway/status/demo-x-alice", first, token))[0] == 200


async def test_entry_ticket_needs_the_browser_that_asked(gateway: GatewayProcess) -> None:
    link = gateway.nbgate("notebook", "url", "--project", "demo", "--person", "alice")
    here, main_host = gateway.url, f"nb.localhost:{gateway.port}"
    host = f"demo-x-alice.nb.localhost:{gateway.port}"
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as client:
        login = here + "/" + link.split("/", 3)[3]
        async with client.get(login, headers={"Host": main_host}, allow_redirects=False) as answer:
            cookie = answer.headers["Set-Cookie"].partition(";")[0]
        ask = f"{here}/gateway/authorize?next=http://{host}/lab&state=abc"
        own = {"Host": main_host, "Cookie": cookie}
        async with client.get(ask, headers=own, allow_redirects=False) as answer:
            assert answer.status == 303
            enter = here + "/" + answer.headers["Location"].split("/", 3)[3]
        async with client.get(enter, headers={"Host": host}, allow_redirects=False) as answer:
            assert answer.status == 410
            assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize(
    "target",
    [
        "https://evil.example/",
        "//evil.example/",
        "http://nb.localhost.evil.example/",
        "javascript:1",
    ],
)
async def test_authorize_sends_nobody_elsewhere(gateway: GatewayProcess, target: str) -> None:
    link = gateway.nbgate("notebook", "url", "--project", "demo", "--person", "alice")
    here, own = gateway.url, {"Host": f"nb.localhost:{gateway.port}"}
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as client:
        login = here + "/" + link.split("/", 3)[3]
        async with client.get(login, headers=own, allow_redirects=False) as answer:
            cookie = answer.headers["Set-Cookie"].partition(";")[0]
        async with client.get(
            f"{here}/gateway/authorize",
            params={"next": target, "state": "x"},
            headers=own | {"Cookie": cookie},
            allow_redirects=False,
        ) as answer:
            assert answer.status == 404
