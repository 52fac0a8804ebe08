"""A page that is open while its server stops is told; after one click the next cell computes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest
from playwright.async_api import Page, Route, expect

from tests.end_to_end.conftest import gateway_with
from tests.end_to_end.open_page import (
    MILLISECONDS,
    NOTEBOOK,
    RESULT,
    VIEWS,
    banner_of,
    compute,
    edit,
    is_saved,
    open_notebook,
    start_again,
    until_saved,
)
from tests.support.browser import browser_page, screenshot
from tests.support.gateway import GatewayProcess
from tests.support.waiting import PATIENCE, until

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("view", list(VIEWS))
async def test_one_click_brings_a_stopped_notebook_back_with_its_edits(
    gateway: GatewayProcess, view: str
) -> None:
    spawner = gateway.environment["NBGATE_SPAWNER"]
    async with browser_page() as page:
        slug = await open_notebook(page, gateway, f"erin-{view}", view)
        await edit(page)
        gateway.nbgate("notebook", "stop", slug)
        banner = banner_of(page)

        await expect(banner.get_by_role("alert")).to_contain_text("stopped", timeout=MILLISECONDS)
        await page.keyboard.press("Control+s")  # is made good for when it is back
        await screenshot(page, f"stopped-{view}-{spawner}")
        assert gateway.show(slug)["state"] == "cold", "a page that is open wakes nothing"
        assert not is_saved(gateway, slug)
        await banner.get_by_role("button", name="Start it again").click()
        await expect(banner).to_contain_text("runs again", timeout=MILLISECONDS)
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
        await expect(banner_of(page)).to_contain_text("stopped", timeout=MILLISECONDS)

        gateway.nbgate("notebook", "start", slug)

        await expect(banner_of(page)).to_contain_text("runs again", timeout=MILLISECONDS)
        await compute(page, RESULT)
        assert await page.evaluate("window.dialogs") == []


async def test_idle_notebook_is_warned_kept_and_stopped_and_comes_back(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    settings = {"idle_timeout": "40", "warning_time": "30", "cull_interval": "1"}
    with gateway_with(request, tmp_path / "state", "process", **settings) as gateway:
        async with browser_page() as page:
            slug = await open_notebook(page, gateway, "ivan", "lab")
            await edit(page)
            banner = banner_of(page)
            await expect(banner).to_contain_text("This notebook stops in", timeout=MILLISECONDS)
            await banner.get_by_role("button", name="Keep it running").click()
            await expect(banner).to_be_hidden()
            assert gateway.show(slug)["state"] == "running"

            await expect(banner).to_contain_text("was stopped", timeout=MILLISECONDS)
            assert gateway.show(slug)["state"] == "cold", "an open page alone keeps nothing"
            await start_again(page, "was stopped")
            await compute(page, RESULT)
            assert await page.evaluate("window.dialogs") == []


@pytest.mark.engine
async def test_a_stop_loses_nothing_that_the_projects_interval_has_saved(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    with gateway_with(request, tmp_path / "state", "docker") as gateway:
        gateway.nbgate("project", "update", "demo", "--autosave", "1")
        async with browser_page() as page:
            slug = await open_notebook(page, gateway, "judy", "lab")
            await edit(page)
            await until_saved(page, gateway, slug)  # nobody has pressed a key for that
            gateway.nbgate("notebook", "stop", slug)
            assert is_saved(gateway, slug)


class SlowSave:
    """Holds the next save of a page up, between its request and its answer."""

    def __init__(self) -> None:
        self.began, self.may_end = asyncio.Event(), asyncio.Event()

    async def hold(self, route: Route) -> None:
        """Answer a request about the file."""
        answer = await route.fetch()
        if route.request.method == "PUT":
            self.began.set()
            await self.may_end.wait()
        await route.fulfill(response=answer)


@pytest.mark.parametrize("view", list(VIEWS))
async def test_edit_during_a_save_is_still_to_be_saved(gateway: GatewayProcess, view: str) -> None:
    """Lab alone takes the document for saved then, and autosave passes it over."""
    async with browser_page() as page:
        slug = await open_notebook(page, gateway, f"kate-{view}", view)
        slow = SlowSave()
        await page.route(f"**/api/contents/{NOTEBOOK}*", slow.hold)
        await page.keyboard.press("Control+s")
        async with asyncio.timeout(PATIENCE):
            await slow.began.wait()
        await edit(page)
        async with page.expect_event("requestfinished", lambda one: one.method == "PUT"):
            slow.may_end.set()  # later ones are not held up
        assert not is_saved(gateway, slug)
        await asyncio.to_thread(gateway.nbgate, "notebook", "stop", slug)
        await start_again(page, "stopped")  # what is unsaved is saved then
        await until_saved(page, gateway, slug)
        await expect(page.locator(".lm-TabBar-tab.jp-mod-dirty")).to_have_count(0)


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
        await expect(banner_of(page)).to_contain_text("stops in 4 minutes", timeout=MILLISECONDS)

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
