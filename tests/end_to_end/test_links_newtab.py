"""A frame in another site's page whose browser keeps no cookie there, in a real Chromium.

Chromium is told by its preferences to keep none of the gateway's in the LMS's pages, not even
partitioned ones; in a tab of its own the gateway keeps its cookies.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import BrowserContext, Page, async_playwright

from gateway.notebooks.names import notebook_slug
from tests.end_to_end.test_links_framed import FLAG, LMS, lms_page
from tests.proxy.certificates import make_pair
from tests.support.browser import chromium, screenshot
from tests.support.gateway import ROOT, GatewayProcess, running
from tests.support.places import free_port
from tests.support.waiting import PATIENCE

pytestmark = pytest.mark.browser

COURSE, FILE = "flotpython", "first-steps.ipynb"
BLOCK = 2
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", FLAG)


@pytest.fixture(scope="module", params=["path", "host"])
def gateway(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    """A gateway over https; its course says itself that the LMS may frame it."""
    folder, port = tmp_path_factory.mktemp("newtab"), free_port()
    pair = make_pair(folder, "nb", names="DNS:nb.localhost,DNS:*.nb.localhost")
    settings = {
        "listen": f"127.0.0.1:{port}",
        "public_url": f"https://nb.localhost:{port}",
        "tls_cert": str(pair.cert),
        "tls_key": str(pair.key),
        "routing": request.param,
        "base_domain": "nb.localhost" if request.param == "host" else "",
    }
    with running(folder / "state", **settings) as process:
        source = str(ROOT / "examples" / "demo")
        ancestors = ("--frame-ancestors", LMS)
        process.nbgate("project", "add", COURSE, "--source", source, "--links", "plain", *ancestors)
        process.nbgate("link", "key", "add", "--project", COURSE)
        yield process


@contextlib.asynccontextmanager
async def profile(
    folder: Path, *, blocked: Sequence[str] = (), **options: Any
) -> AsyncIterator[BrowserContext]:
    """Yield a browser that keeps no cookie of `blocked`, origins, in the LMS's pages."""
    if blocked:
        rules = {f"{pattern},{LMS}": {"setting": BLOCK} for pattern in blocked}
        wanted = {"profile": {"content_settings": {"exceptions": {"cookies": rules}}}}
        (folder / "Default").mkdir(parents=True)
        (folder / "Default" / "Preferences").write_text(json.dumps(wanted))
    async with async_playwright() as playwright:
        context = await playwright.chromium.launch_persistent_context(
            folder,
            executable_path=chromium(),
            args=list(FLAGS),
            ignore_https_errors=True,
            **options,
        )
        context.set_default_timeout(1000 * PATIENCE)
        try:
            yield context
        finally:
            await context.close()


def origins_of(gateway: GatewayProcess) -> tuple[str, ...]:
    """Return the gateway's origins, as Chromium's preferences name them."""
    own = gateway.environment["NBGATE_PUBLIC_URL"]
    return (
        (own, own.replace("//", "//[*.]")) if gateway.environment["NBGATE_BASE_DOMAIN"] else (own,)
    )


def links_of(gateway: GatewayProcess) -> dict[str, tuple[str, str]]:
    """Return kind → (link, slug of the notebook that it opens)."""
    origin = gateway.environment["NBGATE_PUBLIC_URL"]
    signed = gateway.nbgate("link", "sign", COURSE, FILE, "--person", "s8")
    plain = f"{origin}/ipythonExercice/{COURSE}/{FILE}/p7"
    return {
        "signed": (signed, notebook_slug(COURSE, f"course/{COURSE}:s8")),
        "plain": (plain, notebook_slug(COURSE, f"plain/{COURSE}:p7")),
    }


async def shows_notebook(page: Page, slug: str) -> None:
    await page.locator(".jp-Notebook .jp-Cell").first.wait_for()
    by_path, by_host = rf"//nb\.localhost:\d+/nb/{slug}", rf"//{slug}\.nb\.localhost:\d+"
    assert re.search(rf"({by_path}|{by_host})/notebooks/{FILE}$", page.url), page.url


@pytest.mark.parametrize("kind", ["signed", "plain"])
async def test_link_goes_on_in_a_tab_of_its_own(
    gateway: GatewayProcess, tmp_path: Path, kind: str
) -> None:
    link, slug = links_of(gateway)[kind]
    async with profile(tmp_path / "profile", blocked=origins_of(gateway)) as context:
        page = await context.new_page()
        await lms_page(page, [link])
        tab_link = page.frame_locator("iframe").get_by_role("link", name="Open in a new tab")
        await tab_link.wait_for()
        await screenshot(page, f"new-tab-{kind}")
        async with context.expect_page() as opened:
            await tab_link.click()
        await shows_notebook(await opened.value, slug)


async def test_notebook_in_a_frame_offers_a_tab_in_which_it_opens(
    gateway: GatewayProcess, tmp_path: Path
) -> None:
    link, slug = links_of(gateway)["signed"]
    async with profile(tmp_path / "profile", blocked=origins_of(gateway)) as context:
        first = await context.new_page()
        await first.goto(link)
        await shows_notebook(first, slug)
        page = await context.new_page()
        await lms_page(page, [first.url])
        tab_link = page.frame_locator("iframe").get_by_role("link", name="Open in a new tab")
        async with context.expect_page() as opened:
            await tab_link.click()
        await shows_notebook(await opened.value, slug)


async def test_browser_that_keeps_partitioned_cookies_shows_no_such_page(
    gateway: GatewayProcess, tmp_path: Path
) -> None:
    link, slug = links_of(gateway)["signed"]
    async with profile(tmp_path / "profile") as context:
        page = await context.new_page()
        await lms_page(page, [link])
        frame = page.frame_locator("iframe")
        await frame.locator(".jp-Notebook .jp-Cell").first.wait_for()
        assert slug in await frame.locator("body").evaluate("() => location.href")


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_page_fits_a_small_frame_in_french(
    gateway: GatewayProcess, tmp_path: Path, scheme: str
) -> None:
    link, _ = links_of(gateway)["signed"]
    size = {"width": 420, "height": 360}
    options = {"locale": "fr-FR", "color_scheme": scheme, "viewport": size}
    async with profile(tmp_path / "profile", blocked=origins_of(gateway), **options) as context:
        page = await context.new_page()
        await lms_page(page, [link])
        frame = page.frame_locator("iframe")
        await frame.get_by_role("link", name="Ouvrir dans un nouvel onglet").wait_for()
        wide = "() => document.documentElement.scrollWidth > innerWidth"
        assert not await frame.locator("body").evaluate(wide)
        await screenshot(page, f"new-tab-small-{scheme}")
