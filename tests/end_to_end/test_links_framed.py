"""Two courses in frames of an LMS, which is another site, over https in a real Chromium."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from playwright.async_api import Page, Request, Route

from gateway.notebooks.names import notebook_slug
from tests.proxy.certificates import make_pair
from tests.support.browser import browser_page, screenshot
from tests.support.gateway import ROOT, GatewayProcess, free_port, running
from tests.support.waiting import PATIENCE

pytestmark = pytest.mark.browser

LMS = "https://lms.localhost"
FILE = "first-steps.ipynb"
COURSES = ("flotpython", "flotbioinfo")
# The LMS is answered for by the test: Chromium takes it for a public site, and us for a local one.
FLAG = "--disable-features=LocalNetworkAccessChecks"


@pytest.fixture(scope="module", params=["path", "host"])
def gateway(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    """A gateway over https, whose notebooks the LMS may frame; its courses take plain links."""
    folder, port = tmp_path_factory.mktemp("framed"), free_port()
    pair = make_pair(folder, "nb", names="DNS:nb.localhost,DNS:*.nb.localhost")
    settings = {
        "listen": f"127.0.0.1:{port}",
        "public_url": f"https://nb.localhost:{port}",
        "tls_cert": str(pair.cert),
        "tls_key": str(pair.key),
        "frame_ancestors": LMS,
    }
    if request.param == "host":
        settings |= {"routing": "host", "base_domain": "nb.localhost"}
    with running(folder / "state", **settings) as process:
        process.port = port
        for name in COURSES:
            source = str(ROOT / "examples" / "demo")
            process.nbgate("project", "add", name, "--source", source, "--links", "plain")
            process.nbgate("link", "key", "add", "--project", name)
        yield process


async def lms_page(page: Page, links: list[str]) -> None:
    """Open a page of the LMS that frames `links`, as FUN's pages do."""
    frames = "".join(
        f'<iframe width="100%" height="700px" src="{link}"></iframe>' for link in links
    )

    async def answer(route: Route) -> None:
        await route.fulfill(content_type="text/html", body=f"<!doctype html>{frames}")

    await page.route(f"{LMS}/**", answer)
    await page.goto(f"{LMS}/course")


async def opened(page: Page, links: list[str], slugs: list[str]) -> None:
    """Open the LMS's page, and wait until each of its frames shows its notebook.

    Chromium drops what it loads when the machine gets or loses a network interface, as it does with
    every container of an engine; then the page is loaded once more, as people do.
    """
    changed = asyncio.Event()

    def look(request: Request) -> None:
        if "ERR_NETWORK_CHANGED" in (request.failure or ""):
            changed.set()

    async def shown() -> None:
        await asyncio.gather(
            *(notebook_in(page, number, slug) for number, slug in enumerate(slugs))
        )

    page.on("requestfailed", look)
    try:
        while True:
            changed.clear()
            await lms_page(page, links)
            seen = asyncio.create_task(shown(), name="shown")
            again = asyncio.create_task(changed.wait(), name="again")
            await asyncio.wait({seen, again}, return_when=asyncio.FIRST_COMPLETED)
            again.cancel()
            if seen.done():
                return await seen
            seen.cancel()
            await asyncio.gather(seen, again, return_exceptions=True)
    finally:
        page.remove_listener("requestfailed", look)


async def notebook_in(page: Page, number: int, slug: str) -> None:
    """Wait until a frame shows the notebook, at its own server."""
    frame = page.frame_locator(f"iframe >> nth={number}")
    await frame.locator(".jp-Notebook .jp-Cell").first.wait_for()
    address = await frame.locator("body").evaluate("() => location.href")
    assert slug in address
    assert address.endswith(f"/notebooks/{FILE}")
    assert "sig=" not in address


async def test_plain_links_of_two_courses_open_on_one_page(gateway: GatewayProcess) -> None:
    origin = gateway.environment["NBGATE_PUBLIC_URL"]
    links = [f"{origin}/ipythonExercice/{name}/{FILE}/{name[-1]}7" for name in COURSES]
    slugs = [notebook_slug(name, f"plain/{name}:{name[-1]}7") for name in COURSES]
    async with browser_page(FLAG, ignore_https_errors=True) as page:
        for _ in ("cold", "hot"):
            await opened(page, links, slugs)
        await screenshot(page, "two-courses-in-frames")


async def test_signed_links_of_two_courses_open_on_one_page(gateway: GatewayProcess) -> None:
    links = [
        gateway.nbgate("link", "sign", name, FILE, "--person", f"{name[-1]}8") for name in COURSES
    ]
    slugs = [notebook_slug(name, f"course/{name}:{name[-1]}8") for name in COURSES]
    async with browser_page(FLAG, ignore_https_errors=True) as page:
        for _ in ("cold", "hot"):
            await opened(page, links, slugs)


async def test_page_of_another_site_frames_nothing(gateway: GatewayProcess) -> None:
    link = f"{gateway.environment['NBGATE_PUBLIC_URL']}/ipythonExercice/flotpython/x/n9"
    told: list[str] = []
    async with browser_page(FLAG, ignore_https_errors=True) as page:
        page.on("console", lambda line: told.append(line.text))
        await page.route(
            "https://evil.localhost/**",
            lambda route: route.fulfill(
                content_type="text/html", body=f'<!doctype html><iframe src="{link}"></iframe>'
            ),
        )
        await page.goto("https://evil.localhost/")
        async with asyncio.timeout(PATIENCE):
            while not any("frame-ancestors" in line for line in told):
                await page.wait_for_timeout(50)
