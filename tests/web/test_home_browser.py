"""The home page in a real Chromium: light, dark, French; a start and a stop by keyboard."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from gateway.notebooks.model import State
from gateway.web.context import Pages
from tests.activation.conftest import World
from tests.proxy.harness import Rig
from tests.support.browser import screenshot
from tests.web.test_waiting_browser import browsing

pytestmark = pytest.mark.browser


@pytest.fixture(autouse=True)
async def school(world: World) -> None:
    """Alice learns in `demo`, teaches `bio`, and sam shares with her."""
    await world.catalogue.update_project("demo", title="Python from the first day")
    await world.catalogue.add_project("bio", title="Bioinformatics", staff=("alice",))
    for course, name in (("demo", "alice"), ("demo", "sam"), ("bio", "otto"), ("bio", "zoe")):
        await world.catalogue.open_for(course, name)
    await world.catalogue.share("demo-x-sam", ["alice"])
    await world.catalogue.update_notebook("bio-x-otto", state=State.FAILED)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("light", {"color_scheme": "light"}),
        ("dark", {"color_scheme": "dark"}),
        ("french", {"locale": "fr-FR"}),
        ("narrow", {"viewport": {"width": 360, "height": 720}}),
    ],
)
async def test_home_page_looks_as_it_should(
    proxy: Rig, pages: Pages, name: str, options: dict[str, object]
) -> None:
    async with browsing(proxy, pages, **options) as page:
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        await page.goto("/")
        await expect(page.locator("section h2")).to_have_count(3)
        await screenshot(page, f"home-{name}")
        width = await page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert width <= 0, "nothing is wider than the window"
        unnamed = await page.locator("button").evaluate_all(
            "all => all.filter(one => !(one.ariaLabel || one.textContent).trim()).length"
        )
        assert (unnamed, errors) == (0, [])


async def test_start_and_stop_by_keyboard_are_followed_and_told(
    world: World, proxy: Rig, pages: Pages
) -> None:
    async with browsing(proxy, pages) as page:
        await page.goto("/")
        row = page.locator("#nb-demo-x-alice")
        await row.get_by_role("button").focus()
        await page.keyboard.press("Enter")
        await expect(row.locator(".state")).to_have_text("running")
        stop = row.get_by_role("button", name="Stop Python from the first day")
        await stop.focus()
        await page.keyboard.press("Enter")
        await expect(row.locator(".state")).to_have_text("asleep")
    assert world.catalogue.notebook("demo-x-alice").state is State.COLD


async def test_what_another_does_is_shown_without_moving_the_focus(
    world: World, proxy: Rig, pages: Pages
) -> None:
    await world.catalogue.update_notebook("demo-x-alice", state=State.STOPPING)
    async with browsing(proxy, pages) as page:
        await page.goto("/")
        row = page.locator("#nb-demo-x-alice")
        await row.get_by_role("link").focus()
        await world.catalogue.update_notebook("demo-x-alice", state=State.COLD)
        await expect(row.locator(".state")).to_have_text("asleep")
        await expect(row.get_by_role("link")).to_be_focused()
        await expect(page.locator("#told")).to_have_text("Python from the first day: asleep")
