"""A page that is open while its server stops is told; after one click the next cell computes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from playwright.async_api import Locator, Page, Route, expect

from tests.end_to_end.conftest import gateway_with
from tests.support.browser import browser_page, screenshot
from tests.support.gateway import GatewayProcess
from tests.support.waiting import PATIENCE, until

pytestmark = pytest.mark.browser

NOTEBOOK = "first-steps.ipynb"
EDIT = "6 * 7 * 1000"
RESULT = "42000"
_MILLISECONDS = 1000 * PATIENCE
_VIEWS = {"lab": "lab/tree", "notebooks": "notebooks"}


def banner_of(page: Page) -> Locator:
    return page.locator("#nbgate-banner")


async def open_notebook(page: Page, gateway: GatewayProcess, person: str, view: str) -> str:
    """Open a person's demo notebook in Lab or in Notebook 7 and compute; return its slug."""
    slug = f"demo-x-{person}"
    link = gateway.nbgate("notebook", "url", "--project", "demo", "--person", person)
    await page.goto(link)
    await page.locator(".jp-Launcher").wait_for()
    # The page shows an idle kernel before it is connected to one; then the kernel says something.
    async with page.expect_websocket(lambda socket: "/channels" in socket.url) as connecting:
        await page.goto(f"{gateway.url}/nb/{slug}/{_VIEWS[view]}/{NOTEBOOK}")
    await (await connecting.value).wait_for_event("framereceived")
    await page.locator(".jp-Notebook-ExecutionIndicator[data-status=idle]").first.wait_for()
    await compute(page, "5050")
    # Its own elements appear with what asks the gateway.
    await banner_of(page).wait_for(state="attached")
    await note_dialogs(page)
    return slug


async def note_dialogs(page: Page) -> None:
    """Note every dialog of Lab's from now on, and mark the page: a new one has no mark."""
    await page.evaluate(
        """() => {
            window.dialogs = [];
            new MutationObserver(() => {
                for (const dialog of document.querySelectorAll(".jp-Dialog"))
                    window.dialogs.push(dialog.innerText);
            }).observe(document.body, { childList: true, subtree: true });
        }"""
    )


async def compute(page: Page, result: str) -> None:
    """Run the first cell; wait for its result."""
    cell = page.locator(".jp-CodeCell").first
    await cell.locator(".cm-content").click()
    await page.keyboard.press("Shift+Enter")
    output = cell.locator(".jp-OutputArea-output")
    await expect(output).to_have_text(re.compile(result), timeout=_MILLISECONDS)


async def edit(page: Page) -> None:
    """Add a line to the first cell, and do not save it."""
    await page.locator(".jp-CodeCell .cm-content").first.click()
    await page.keyboard.press("Control+End")
    await page.keyboard.type(f"\n{EDIT}")


def is_saved(gateway: GatewayProcess, slug: str) -> bool:
    """Whether the file has the edit; it is whole at each moment."""
    return EDIT in json.dumps(json.loads((gateway.state / "spaces" / slug / NOTEBOOK).read_text()))


@pytest.mark.parametrize("view", list(_VIEWS))
async def test_one_click_brings_a_stopped_notebook_back_with_its_edits(
    gateway: GatewayProcess, view: str
) -> None:
    spawner = gateway.environment["NBGATE_SPAWNER"]
    async with browser_page() as page:
        slug = await open_notebook(page, gateway, f"erin-{view}", view)
        await edit(page)
        gateway.nbgate("notebook", "stop", slug)
        banner = banner_of(page)

        await expect(banner.get_by_role("alert")).to_contain_text("stopped", timeout=_MILLISECONDS)
        await page.keyboard.press("Control+s")  # is made good for when it is back
        await screenshot(page, f"stopped-{view}-{spawner}")
        assert gateway.show(slug)["state"] == "cold", "a page that is open wakes nothing"
        assert not is_saved(gateway, slug)
        await banner.get_by_role("button", name="Start it again").click()
        await expect(banner).to_contain_text("runs again", timeout=_MILLISECONDS)
        await screenshot(page, f"back-{view}-{spawner}")

        await compute(page, RESULT)
        await until(lambda: is_saved(gateway, slug))
        assert await page.evaluate("window.dialogs") == [], "loaded once, and nothing in the way"


async def test_page_comes_back_by_itself_when_the_notebook_is_started_elsewhere(
    gateway: GatewayProcess,
) -> None:
    async with browser_page() as page:
        slug = await open_notebook(page, gateway, "frank", "lab")
        await edit(page)
        gateway.nbgate("notebook", "stop", slug)
        await expect(banner_of(page)).to_contain_text("stopped", timeout=_MILLISECONDS)

        gateway.nbgate("notebook", "start", slug)

        await expect(banner_of(page)).to_contain_text("runs again", timeout=_MILLISECONDS)
        await compute(page, RESULT)
        assert await page.evaluate("window.dialogs") == []


async def test_idle_notebook_is_warned_kept_and_stopped_and_comes_back(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    settings = {"idle_timeout": "70", "warning_time": "60", "cull_interval": "1"}
    with gateway_with(request, tmp_path / "state", "process", **settings) as gateway:
        async with browser_page() as page:
            slug = await open_notebook(page, gateway, "ivan", "lab")
            await edit(page)
            banner = banner_of(page)
            await expect(banner).to_contain_text("This notebook stops in", timeout=_MILLISECONDS)
            await banner.get_by_role("button", name="Keep it running").click()
            await expect(banner).to_be_hidden()
            assert gateway.show(slug)["state"] == "running"

            await expect(banner).to_contain_text("was stopped", timeout=_MILLISECONDS)
            assert gateway.show(slug)["state"] == "cold", "an open page alone keeps nothing"
            await banner.get_by_role("button", name="Start it again").click()
            await expect(banner).to_contain_text("runs again", timeout=_MILLISECONDS)
            await compute(page, RESULT)
            assert await page.evaluate("window.dialogs") == []


class Warned:
    """Puts a warning into the gateway's answers to a page; "keep" takes it out again."""

    def __init__(self, *, avoidable: bool) -> None:
        self.stop: Mapping[str, object] | None = {
            "seconds": 240.0,
            "reason": "nobody has used it for an hour",
        }
        self.kept = 0
        self._avoidable = avoidable

    async def begin(self, page: Page) -> None:
        """Warn from now on, and have the page ask as it does when a person comes back to it."""
        await page.route("**/gateway/page/*", self._tell)
        await page.route("**/gateway/keep/*", self._keep)
        await page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        await expect(banner_of(page)).to_contain_text("stops in 4 minutes", timeout=_MILLISECONDS)

    async def _tell(self, route: Route) -> None:
        answer = await route.fetch()
        await route.fulfill(response=answer, json=await answer.json() | {"stop": self.stop})

    async def _keep(self, route: Route) -> None:
        answer = await route.fetch()
        assert answer.status == 200, "the gateway takes it from its own page"
        self.kept += 1
        if self._avoidable:
            self.stop = None
        await route.fulfill(response=answer, json={"stop": self.stop})


async def test_warning_is_shown_and_a_click_keeps_the_notebook(gateway: GatewayProcess) -> None:
    spawner = gateway.environment["NBGATE_SPAWNER"]
    warned = Warned(avoidable=True)
    async with browser_page() as page:
        await open_notebook(page, gateway, "grace", "lab")
        await warned.begin(page)
        banner = banner_of(page)
        await screenshot(page, f"warning-{spawner}")
        assert warned.kept == 0

        await banner.get_by_role("button", name="Keep it running").click()

        await expect(banner).to_be_hidden()
        assert warned.kept == 1


async def test_who_types_while_warned_is_there_and_is_asked_once(gateway: GatewayProcess) -> None:
    warned = Warned(avoidable=False)
    async with browser_page() as page:
        await open_notebook(page, gateway, "heidi", "lab")
        await warned.begin(page)
        banner = banner_of(page)

        await edit(page)

        await expect(banner.get_by_role("button")).to_be_hidden()
        await expect(banner).to_contain_text("stops in 4 minutes")
        assert warned.kept == 1
