"""A course whose image is not ours, a plain installation of Jupyter, through the whole gateway."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest
from playwright.async_api import Error, Page, Response, WebSocket, expect

from tests.end_to_end.conftest import gateway_with
from tests.end_to_end.test_culling import (
    POLLING,
    WAIT_FOR_A_FILE,
    forgotten_until_it_is_cold,
    opened,
)
from tests.support.browser import browser_page, run_first_cell
from tests.support.gateway import ROOT, GatewayProcess, begin, execute
from tests.support.places import free_port

pytestmark = pytest.mark.engine

COURSE, FILE = "stock", "first-steps.ipynb"


@pytest.fixture(scope="module", params=["path", "host"])
def gateway(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    """A gateway with a course of the strange image."""
    port = free_port()
    settings = {"listen": f"127.0.0.1:{port}", "public_url": f"http://nb.localhost:{port}"}
    if request.param == "host":
        settings |= {"routing": "host", "base_domain": "nb.localhost"}
    state = tmp_path_factory.mktemp(f"foreign-{request.param}") / "state"
    with with_course(request, state, **settings) as process:
        yield process


@contextlib.contextmanager
def with_course(
    request: pytest.FixtureRequest, state: Path, **settings: str
) -> Iterator[GatewayProcess]:
    """Run a gateway that has a course of the strange image."""
    image = request.getfixturevalue("stock_image")
    with gateway_with(request, state, "docker", **settings) as process:
        source = str(ROOT / "examples" / "demo")
        process.nbgate("project", "add", COURSE, "--source", source, "--image", image)
        yield process


def by_host(gateway: GatewayProcess) -> bool:
    return "NBGATE_BASE_DOMAIN" in gateway.environment


def place(gateway: GatewayProcess, person: str) -> tuple[str, str]:
    """Return the host, as a browser sends it, and the path at which a person's Jupyter is."""
    slug = f"{COURSE}-x-{person}"
    if by_host(gateway):
        return f"{slug}.nb.localhost:{gateway.port}", "/"
    return f"nb.localhost:{gateway.port}", f"/nb/{slug}/"


def secret_of(gateway: GatewayProcess, person: str) -> tuple[str, str]:
    """Return the hop secret of a notebook that runs, and the URL of its server itself."""
    direct = gateway.nbgate("notebook", "url", f"{COURSE}-x-{person}", "--direct")
    address, _, secret = direct.partition("?token=")
    assert len(secret) > 20
    return secret, address


class Witness:
    """Keeps all that a browser is sent: addresses, headers, bodies and WebSocket messages."""

    def __init__(self, page: Page) -> None:
        self.seen: list[str] = []
        self.cookies: list[str] = []
        self._answers: list[Response] = []
        page.on("response", self._keep)
        page.on("websocket", self._listen)

    def _keep(self, answer: Response) -> None:
        self._answers.append(answer)

    def _listen(self, socket: WebSocket) -> None:
        self.seen.append(socket.url)
        socket.on("framereceived", lambda frame: self.seen.append(str(frame)))

    async def told(self) -> str:
        """Return everything so far as one text."""
        answers, self._answers[:] = list(self._answers), []
        for answer in answers:
            lines = await answer.headers_array()
            self.cookies += [one["value"] for one in lines if one["name"].lower() == "set-cookie"]
            self.seen += [answer.url, *(f"{one['name']}: {one['value']}" for one in lines)]
            if answer.ok and answer.request.resource_type in ("document", "fetch", "xhr"):
                with contextlib.suppress(Error):  # of a page that is gone: the waiting page
                    self.seen.append((await answer.body()).decode(errors="replace"))
        return "\n".join(self.seen)


async def fetched(page: Page, path: str, **options: Any) -> Any:
    """Return status and text of what the notebook's page asks its own origin."""
    code = """async ([path, options]) => {
        const answer = await fetch(path, options);
        return [answer.status, await answer.text()];
    }"""
    return await page.evaluate(code, [path, options])


@pytest.mark.browser
async def test_notebook_of_a_strange_image_works_and_keeps_the_secret(
    gateway: GatewayProcess,
) -> None:
    link = gateway.nbgate("notebook", "url", "--project", COURSE, "--person", "ingrid", FILE)
    host, base = place(gateway, "ingrid")
    async with browser_page() as page:
        witness = Witness(page)
        await page.goto(link)
        await run_first_cell(page, "5050")
        assert urlsplit(page.url).netloc == host
        assert urlsplit(page.url).path == f"{base}lab/tree/{FILE}"
        await page.keyboard.press("Control+s")
        await expect(page.locator(".jp-mod-dirty")).to_have_count(0)
        status, text = await fetched(page, f"{base}api/contents/{FILE}")
        assert status == 200
        assert "5050" in text
        told, secret = await witness.told(), secret_of(gateway, "ingrid")[0]
        assert "jupyter-config-data" in told, "the witness sees what Lab's page is"
        assert "execute_reply" in told, "the witness sees what WebSockets bring"
        for path in ("tree", f"notebooks/{FILE}", "there-is-no-such-page", "login", "api/me"):
            await page.goto(f"http://{host}{base}{path}")
            told += await witness.told() + await page.content()
        assert secret not in told, "in a page, a header, an address or a message"
        assert '"display_name": "ingrid"' in told
        ours = ("nbgate-session", "nbgate-edge", "nbgate-state", "_xsrf")
        assert [line for line in witness.cookies if not line.startswith(ours)] == []
        await tokens_of_the_client_are_its_own(gateway, page, secret)


async def tokens_of_the_client_are_its_own(
    gateway: GatewayProcess, page: Page, secret: str
) -> None:
    """With a session, what else a client shows to be let in neither helps nor harms."""
    host, base = place(gateway, "ingrid")
    cookies = await page.context.cookies(f"http://{host}{base}")
    session = "; ".join(f"{one.get('name')}={one.get('value')}" for one in cookies)
    wrong = {"Authorization": "token wrong"}
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as client:
        for cookie, query, headers, expected in [
            (session, "", {}, 200),
            (session, "", wrong, 200),
            (session, "?token=wrong", {}, 200),
            (session, "?token=wrong", wrong, 200),
            ("", f"?token={secret}", {}, 401),
            ("", "", {"Authorization": f"token {secret}"}, 401),
        ]:
            sent = {"Host": host, "Cookie": cookie, **headers}
            url = f"{gateway.url}{base}api/contents{query}"
            async with client.get(url, headers=sent, allow_redirects=False) as answer:
                assert answer.status == expected, (query, headers, await answer.text())
                assert "username-" not in str(answer.headers)


async def test_nobody_else_gets_into_a_strange_image(gateway: GatewayProcess) -> None:
    host, base = place(gateway, "ingmar")
    gateway.nbgate("notebook", "url", "--project", COURSE, "--person", "ingmar")
    gateway.nbgate("notebook", "start", f"{COURSE}-x-ingmar")
    _, address = secret_of(gateway, "ingmar")
    other = gateway.nbgate("notebook", "url", "--project", COURSE, "--person", "igor")
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as client:

        async def ask(url: str, **headers: str) -> tuple[int, str, str]:
            async with client.get(url, headers=headers, allow_redirects=False) as answer:
                cookie = answer.headers.get("Set-Cookie", "").partition(";")[0]
                return answer.status, cookie, await answer.text()

        status, _, text = await ask(f"{gateway.url}{base}api/contents", Host=host)
        assert (status, FILE in text) == (401, False)
        # At the origin that both have in path routing; a notebook's own takes no such cookie.
        path = gateway.url + other.removeprefix(f"http://nb.localhost:{gateway.port}")
        _, igor, _ = await ask(path, Host=f"nb.localhost:{gateway.port}")
        assert igor.startswith("nbgate-session")
        status, _, text = await ask(f"{gateway.url}{base}api/contents", Host=host, Cookie=igor)
        assert (status, FILE in text) == (401 if by_host(gateway) else 404, False)
        for headers in ({}, {"Authorization": "token wrong"}, {"X-Nbgate-User": "ingmar"}):
            root = f"{urlsplit(address).scheme}://{urlsplit(address).netloc}{base}"
            status, _, text = await ask(f"{root}api/contents", **headers)
            assert (status, FILE in text) == (403, False), headers


async def test_idle_culler_sees_kernels_of_a_strange_image(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """What nobody uses is stopped; a server that was used no later, and works, is not."""
    short = {"idle_timeout": "20", "warning_time": "4", "cull_interval": "1"}
    with with_course(request, tmp_path / "state", **short) as gateway:
        async with (
            opened(gateway, "ilse", COURSE) as (busy, busy_base),
            opened(gateway, "ivan", COURSE) as (tab, tab_base),
        ):
            kernel = await begin(busy, busy_base, WAIT_FOR_A_FILE)
            assert await execute(tab, tab_base, "6 * 7") == "42"
            await forgotten_until_it_is_cold(tab, tab_base)
            record = await asyncio.to_thread(gateway.show, f"{COURSE}-x-ilse")
            assert record["state"] == "running"
            url = f"{busy_base}api/kernels/{kernel}"
            async with busy.get(url, headers=POLLING) as answer:
                assert (await answer.json())["execution_state"] == "busy"
