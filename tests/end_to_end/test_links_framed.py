"""Two courses in frames of an LMS, which is another site, over https in a real Chromium."""

from __future__ import annotations

import asyncio
import contextlib
import re
import shutil
from collections.abc import Iterator

import pytest
from playwright.async_api import FrameLocator, Page, Request, Route, expect

from gateway.notebooks.names import notebook_slug
from tests.proxy.certificates import make_pair
from tests.support.apache import folder_for_httpd
from tests.support.browser import browser_page, screenshot
from tests.support.gateway import ROOT, GatewayProcess, running
from tests.support.https_front import running_https_front
from tests.support.places import free_port
from tests.support.waiting import PATIENCE

pytestmark = pytest.mark.browser

LMS = "https://lms.localhost"
EVIL = "https://evil.localhost"
FILE = "w1/en-w1-s07-c1-walking.ipynb"
COURSES = ("flotpython", "flotbioinfo")
# The LMS is answered for by the test: Chromium takes it for a public site, and us for a local one.
FLAG = "--disable-features=LocalNetworkAccessChecks"
AGAIN_MILLISECONDS = 20_000

ALONE = ["path", "host"]
BEHIND = ["path through httpd", "host through httpd"]
DIRECT = ["path through httpd direct", "host through httpd direct"]


@pytest.fixture(scope="module", params=[*ALONE, *BEHIND, *DIRECT])
def gateway(request: pytest.FixtureRequest) -> Iterator[GatewayProcess]:
    """A gateway over https, whose notebooks the LMS may frame; its courses take plain links.

    Alone, behind httpd, or behind one that serves hot notebooks by itself.
    """
    routing, _, httpd = request.param.partition(" ")
    direct = str(request.param in DIRECT).lower()
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(folder_for_httpd())
        pair = make_pair(folder, "nb", names="DNS:nb.localhost,DNS:*.nb.localhost")
        port, behind = free_port(), free_port()
        settings = {
            "public_url": f"https://nb.localhost:{port}",
            "frame_ancestors": LMS,
            "routing": routing,
            "base_domain": "nb.localhost" if routing == "host" else "",
            "httpd_direct": direct,
        }
        if httpd:
            settings |= {"listen": f"127.0.0.1:{behind}", "trusted_proxies": "127.0.0.1"}
        else:
            certificate = {"tls_cert": str(pair.cert), "tls_key": str(pair.key)}
            settings |= {"listen": f"127.0.0.1:{port}", **certificate}
        process = stack.enter_context(running(folder / "state", **settings))
        process.port = port
        if httpd:
            more = {
                "NBGATE_BASE_DOMAIN": settings["base_domain"],
                "NBGATE_HTTPD_DIRECT": direct,
            }
            routes = folder / "state" / "routes"
            front = running_https_front(folder, routes, settings["listen"], port, pair, **more)
            stack.enter_context(front)
        source = folder / "course"
        (source / FILE).parent.mkdir(parents=True)
        shutil.copy(ROOT / "examples" / "demo" / "first-steps.ipynb", source / FILE)
        for name in COURSES:
            process.nbgate("project", "add", name, "--source", str(source), "--links", "plain")
            process.nbgate("link", "key", "add", "--project", name)
        yield process


def lines_of_httpd(gateway: GatewayProcess) -> list[str]:
    log = gateway.state.parent / "front.log"
    return log.read_text().splitlines() if log.exists() else []


def served_by_httpd(lines: list[str]) -> set[str]:
    """Return what httpd has served without the gateway, as paths below the notebook's."""
    direct = [line for line in lines if "direct=" in line and "direct=- " not in line]
    return {re.sub(r'.*?"[A-Z]+ (/nb/[^/]*)?([^ ]*) .*', r"\2", line) for line in direct}


async def framing(page: Page, site: str, links: list[str]) -> None:
    """Have every page of a site frame `links`, as FUN's pages do."""
    frames = "".join(
        f'<iframe width="100%" height="700px" src="{link}"></iframe>' for link in links
    )

    async def answer(route: Route) -> None:
        await route.fulfill(content_type="text/html", body=f"<!doctype html>{frames}")

    await page.route(f"{site}/**", answer)


async def lms_page(page: Page, links: list[str]) -> None:
    """Open a page of the LMS that frames `links`."""
    await framing(page, LMS, links)
    await page.goto(f"{LMS}/course")


def network_changed(page: Page) -> asyncio.Event:
    """Return what is set whenever Chromium drops what a page loads.

    It does when the machine gets or loses a network interface, as with each container of an engine.
    """
    changed = asyncio.Event()

    def look(request: Request) -> None:
        if "ERR_NETWORK_CHANGED" in (request.failure or ""):
            changed.set()

    page.on("requestfailed", look)
    return changed


async def opened(page: Page, links: list[str], slugs: list[str]) -> None:
    """Open the LMS's page, and wait until each of its frames shows its notebook.

    Where Chromium drops what it loads, the page is loaded once more, as people do.
    """

    async def shown() -> None:
        await asyncio.gather(
            *(notebook_in(page, number, slug) for number, slug in enumerate(slugs))
        )

    changed = network_changed(page)
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


async def refused_at(page: Page, address: str) -> None:
    """Open a page, and wait until the browser says that something may not be framed there."""
    told: list[str] = []
    page.on("console", lambda line: told.append(line.text))
    changed = network_changed(page)
    await page.goto(address)
    async with asyncio.timeout(PATIENCE):
        while not any("frame-ancestors" in line for line in told):
            await page.wait_for_timeout(50)
            if changed.is_set():
                changed.clear()
                await page.reload()


async def notebook_in(page: Page, number: int, slug: str) -> None:
    """Wait until a frame shows the notebook, at its own server."""
    frame = page.frame_locator(f"iframe >> nth={number}")
    await frame.locator(".jp-Notebook .jp-Cell").first.wait_for()
    address = await frame.locator("body").evaluate("() => location.href")
    assert slug in address
    assert address.endswith(f"/notebooks/{FILE}")
    assert "sig=" not in address


async def computed_in(frame: FrameLocator) -> None:
    """Run the first code cell that the frame shows, once its kernel is there.

    Idle is what Notebook 7 shows before it has asked for a kernel, too: what is run then has it ask
    people which, in a dialog. The kernel's name tells the truth. What runs while Chromium drops its
    WebSockets, see `opened`, shows no output: it is run again.
    """
    cell = frame.locator(".jp-CodeCell").first
    async with asyncio.timeout(PATIENCE):
        await frame.locator(".jp-KernelName", has_text="Python 3 (ipykernel)").wait_for()
        while True:
            await frame.locator('.jp-Notebook-ExecutionIndicator[data-status="idle"]').wait_for()
            await cell.locator(".cm-content").click()
            await cell.locator(".cm-content").press("Shift+Enter")
            shown = expect(cell.locator(".jp-OutputArea-output"))
            with contextlib.suppress(AssertionError):
                return await shown.to_have_text(re.compile("5050"), timeout=AGAIN_MILLISECONDS)


async def test_plain_links_of_two_courses_open_on_one_page(gateway: GatewayProcess) -> None:
    origin = gateway.environment["NBGATE_PUBLIC_URL"]
    links = [f"{origin}/ipythonExercice/{name}/{FILE}/mary" for name in COURSES]
    slugs = [notebook_slug(name, f"plain/{name}:mary") for name in COURSES]
    async with browser_page(FLAG, ignore_https_errors=True) as page:
        await opened(page, links, slugs)
        before = len(lines_of_httpd(gateway))
        await opened(page, links, slugs)
        for number in range(len(slugs)):
            await computed_in(page.frame_locator(f"iframe >> nth={number}"))
        served = served_by_httpd(lines_of_httpd(gateway)[before:])
        if gateway.environment["NBGATE_HTTPD_DIRECT"] == "true":
            assert served >= {f"/notebooks/{FILE}", "/api/kernels", f"/api/contents/{FILE}"}
        else:
            assert not served
        await screenshot(page, "two-courses-in-frames")
        await lms_page(page, [f"{links[1]}?forcecopy=true"])
        frame = page.frame_locator("iframe")
        await frame.get_by_role("button").click()
        await frame.get_by_text(re.compile(r"en-w1-s07-c1-walking\.kept-")).first.wait_for()


@pytest.mark.parametrize("gateway", [*ALONE, BEHIND[0], DIRECT[1]], indirect=True)
async def test_signed_links_of_two_courses_open_on_one_page(gateway: GatewayProcess) -> None:
    links = [
        gateway.nbgate("link", "sign", name, FILE, "--person", f"{name[-1]}8") for name in COURSES
    ]
    slugs = [notebook_slug(name, f"course/{name}:{name[-1]}8") for name in COURSES]
    async with browser_page(FLAG, ignore_https_errors=True) as page:
        for _ in ("cold", "hot"):
            await opened(page, links, slugs)


@pytest.mark.parametrize("gateway", [*ALONE, *DIRECT], indirect=True)
async def test_page_of_another_site_frames_nothing(gateway: GatewayProcess) -> None:
    link = f"{gateway.environment['NBGATE_PUBLIC_URL']}/ipythonExercice/flotpython/x/n9"
    async with browser_page(FLAG, ignore_https_errors=True) as page:
        await framing(page, EVIL, [link])
        await refused_at(page, f"{EVIL}/")


@pytest.mark.parametrize("gateway", [*ALONE, *DIRECT], indirect=True)
async def test_page_of_another_site_within_the_lms_frames_no_hot_notebook(
    gateway: GatewayProcess,
) -> None:
    """Its frames have the cookies that frames of the LMS have; httpd serves it the notebook."""
    link = f"{gateway.environment['NBGATE_PUBLIC_URL']}/ipythonExercice/flotpython/{FILE}/n10"
    slug = notebook_slug("flotpython", "plain/flotpython:n10")
    async with browser_page(FLAG, ignore_https_errors=True) as page:
        await opened(page, [link], [slug])
        body = page.frame_locator("iframe").locator("body")
        place = str(await body.evaluate("() => location.href")).replace(f"notebooks/{FILE}", "tree")
        await framing(page, EVIL, [place])
        await framing(page, LMS, [f"{EVIL}/"])
        await refused_at(page, f"{LMS}/course")
        assert place not in [frame.url for frame in page.frames]
        if gateway.environment["NBGATE_HTTPD_DIRECT"] == "true":
            async with asyncio.timeout(PATIENCE):
                while "/tree" not in served_by_httpd(lines_of_httpd(gateway)):
                    await page.wait_for_timeout(50)
