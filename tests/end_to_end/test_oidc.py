"""Signing in at a real OpenID provider in a real Chromium, with notebooks at their own origins."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urljoin, urlsplit

import pytest
from playwright.async_api import Page, expect

from gateway.notebooks.names import notebook_slug
from tests.proxy.certificates import make_pair
from tests.support.browser import browser_page, screenshot
from tests.support.gateway import ROOT, GatewayProcess, running
from tests.support.openid import CLIENT_ID, CLIENT_SECRET, real_provider
from tests.support.places import free_port

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module", params=["path", "host", "path over https", "host over https"])
def gateway(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    routing, _, tls = request.param.partition(" over ")
    folder, port = tmp_path_factory.mktemp("oidc"), free_port()
    secret = folder / "secret"
    secret.write_text(f"{CLIENT_SECRET}\n")
    origin = f"{tls or 'http'}://nb.localhost:{port}"
    settings = {"listen": f"127.0.0.1:{port}", "public_url": origin}
    if tls:
        pair = make_pair(folder, "nb", names="DNS:nb.localhost,DNS:*.nb.localhost")
        settings |= {"tls_cert": str(pair.cert), "tls_key": str(pair.key)}
    if routing == "host":
        settings |= {"routing": "host", "base_domain": "nb.localhost"}
    with real_provider(folder, origin) as provider:
        settings |= {
            "oidc_issuer": provider.issuer,
            "oidc_client_id": CLIENT_ID,
            "oidc_client_secret_file": str(secret),
            "oidc_name": "Example University",
        }
        with running(folder / "state", **settings) as process:
            process.nbgate("project", "add", "demo", "--source", str(ROOT / "examples" / "demo"))
            yield process


def origin_of(gateway: GatewayProcess) -> str:
    return gateway.environment["NBGATE_PUBLIC_URL"]


def subject(gateway: GatewayProcess, name: str) -> str:
    issuer = urlsplit(gateway.environment["NBGATE_OIDC_ISSUER"])
    return f"oidc/{issuer.netloc}:{name}"


def notebook_of(gateway: GatewayProcess, owner: str) -> str:
    """Make somebody's notebook; return its URL."""
    gateway.nbgate("notebook", "url", "--project", "demo", "--person", owner)
    slug, origin = notebook_slug("demo", owner), origin_of(gateway)
    if "NBGATE_BASE_DOMAIN" in gateway.environment:
        return origin.replace("nb.localhost", f"{slug}.nb.localhost") + "/"
    return f"{origin}/nb/{slug}/"


async def sign_in_there(page: Page, name: str) -> None:
    """Fill in the provider's forms: who one is, and that the gateway may know it."""
    await page.get_by_placeholder("Enter any login").fill(name)
    await page.get_by_placeholder("and password").fill("any")
    await page.get_by_role("button", name="Sign-in").click()
    await page.get_by_role("button", name="Continue").click()


async def test_stranger_at_a_notebook_signs_in_and_is_there(gateway: GatewayProcess) -> None:
    url = f"{notebook_of(gateway, subject(gateway, 'mary'))}lab/tree/first-steps.ipynb"
    async with browser_page(ignore_https_errors=True) as page:
        await page.goto(url)
        await expect(page.get_by_role("heading")).to_have_text("Please sign in")
        await page.get_by_role("link", name="Sign in with Example University").click()
        await sign_in_there(page, "mary")
        await page.locator(".jp-CodeCell").first.wait_for()
        assert page.url.startswith(url)
        await shows_what_they_are_called(page, subject(gateway, "mary"), "Mary of the tests")
        await cookies_are_of_one_origin(gateway, page)
        home = f"{origin_of(gateway)}/"
        await page.goto(home)
        await page.get_by_role("button", name="Sign out").click()
        # The provider asks, for it was not told who is meant; then it sends the browser back.
        await page.get_by_role("button", name="Yes, sign me out").click()
        await page.wait_for_url(home)
        await page.goto(url)
        await expect(page.get_by_role("heading")).to_have_text("Please sign in")


async def shows_what_they_are_called(page: Page, username: str, name: str) -> None:
    """Wait until Lab has taken up who its person is; it keeps what the server told."""
    kept = "@jupyterlab/services:UserManager#user"
    handle = await page.wait_for_function("key => JSON.parse(localStorage.getItem(key))", arg=kept)
    told = await handle.json_value()
    assert (told["username"], told["name"], told["display_name"]) == (username, name, name)
    assert told["initials"] == "MT"


async def cookies_are_of_one_origin(gateway: GatewayProcess, page: Page) -> None:
    """Over https no other origin, nor plain http, can have set the gateway's cookies."""
    https = origin_of(gateway).startswith("https:")
    cookies = [one for one in await page.context.cookies() if "nbgate" in str(one.get("name"))]
    # The state of a sign-in goes with it.
    origins = {origin_of(gateway), urljoin(page.url, "/").rstrip("/")}
    hosts = {urlsplit(origin).hostname for origin in origins}
    assert {one.get("domain") for one in cookies} == hosts
    for one in cookies:
        assert str(one.get("name")).startswith("__Host-nbgate") is https, one
        assert (one.get("secure"), one.get("httpOnly"), one.get("path")) == (https, True, "/")


async def test_another_person_does_not_get_in(gateway: GatewayProcess) -> None:
    owner = subject(gateway, "olga")
    url = notebook_of(gateway, owner)
    async with browser_page(ignore_https_errors=True) as page:
        await page.goto(f"{url}lab")
        await page.get_by_role("link", name="Sign in with Example University").click()
        await sign_in_there(page, "mallory")
        await page.wait_for_url(lambda address: "nb.localhost" in urlsplit(address).netloc)
        await expect(page.locator("h1")).to_be_visible()
        answer = await page.reload()
        assert answer is not None
        assert answer.status == 404
        assert owner not in await page.content()


@pytest.mark.parametrize(("scheme", "language"), [("light", "en"), ("dark", "fr")])
async def test_sign_in_page_is_looked_at(
    gateway: GatewayProcess, scheme: str, language: str
) -> None:
    options = {"color_scheme": scheme, "locale": language, "ignore_https_errors": True}
    async with browser_page(**options) as page:
        await page.goto(f"{origin_of(gateway)}/gateway/login")
        await expect(page.get_by_role("link", name="Example University")).to_be_visible()
        await screenshot(page, f"sign-in-{scheme}-{language}")
