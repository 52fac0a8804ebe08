"""What people see while they wait, in a real Chromium: every state, light, dark, scriptless."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from playwright.async_api import Page, expect

from gateway.activation.progress import Phase
from gateway.errors import ImageMissing
from gateway.launch.cookies import cookie_name
from gateway.proxy.interface import Decision, Local, Relay
from gateway.spawners.base import OnPull, Pull, Server, ServerSpec, untold
from gateway.web.context import Pages
from gateway.web.streams import Streams
from tests.activation.conftest import World
from tests.proxy.harness import Rig
from tests.support.browser import browser_page, screenshot
from tests.support.waiting import until

pytestmark = pytest.mark.browser

ADDRESS = "/nb/demo-x-alice/lab/tree/a%20b.ipynb?reset&x=1#cell-id=3"
LOG = """[I 2026-11-21 10:00:00.123 ServerApp] jupyterlab | extension was successfully linked.
[C 2026-11-21 10:00:00.391 ServerApp] Bad config encountered during initialization:
    The 'port' trait of a ServerApp instance expected an int, not the str 'eighty'.
"""


@pytest.fixture
async def slug(world: World, proxy: Rig) -> str:
    made = await world.notebook()

    def rule(head: Any, client: Any) -> Decision:
        entry = world.routes.entry(f"/nb/{made}")
        if head.target.startswith(b"/gateway/"):
            return Local()
        if entry is not None and entry.target is not None:
            return Relay(entry)
        return Local("waiting", made)

    proxy.gate.rule = rule
    return made


# Playwright's own way to switch script off leaves <noscript> without effect.
NO_SCRIPT = "--blink-settings=scriptEnabled=false"


@contextlib.asynccontextmanager
async def browsing(proxy: Rig, pages: Pages, *flags: str, **options: Any) -> AsyncIterator[Page]:
    """Open alice's browser at the gateway."""
    host = f"127.0.0.1:{proxy.port}"
    token = await pages.sessions.create("alice", host)
    async with browser_page(*flags, base_url=f"http://{host}", **options) as page:
        cookie = {"name": cookie_name(https=False), "value": token, "url": f"http://{host}"}
        await page.context.add_cookies([cookie])  # type: ignore[list-item]
        yield page


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_line_pull_and_start_are_shown_and_the_address_opens(
    world: World,
    proxy: Rig,
    pages: Pages,
    slug: str,
    streams: Streams,
    monkeypatch: pytest.MonkeyPatch,
    scheme: str,
) -> None:
    begin, pulled, tell = world.spawner.start, asyncio.Event(), []

    async def start(spec: ServerSpec, on_pull: OnPull | None = untold) -> Server:
        if spec.slug == slug and not pulled.is_set():
            raise ImageMissing(spec.image)
        return await begin(spec, on_pull)

    async def pull(image: str, on_pull: OnPull = untold) -> None:
        tell.append(on_pull)
        await pulled.wait()

    monkeypatch.setattr(world.spawner, "start", start)
    monkeypatch.setattr(world.spawner, "pull", pull)
    world.spawner.gate.clear()
    others = [await world.notebook(f"p{number}") for number in range(4)]
    for other in others:
        world.activator.begin(other)
    async with browsing(proxy, pages, color_scheme=scheme) as page:
        await page.goto(ADDRESS)
        await expect(page.locator("#step")).to_have_text("You are number 3 in line")
        await until(lambda: len(streams) == 1)
        await screenshot(page, f"waiting-line-{scheme}")
        world.activator.withdraw(others[2])
        await expect(page.locator("#step")).to_have_text("You are number 2 in line")
        world.spawner.gate.set()
        await until(lambda: bool(tell))
        tell[0](Pull(420_000_000, 1_310_000_000))
        await page.locator("progress[value]").wait_for()
        await expect(page.locator("#detail")).to_contain_text("420 of 1310 MB")
        await screenshot(page, f"waiting-pull-{scheme}")
        pulled.set()
        await expect(page.locator("#waiting")).to_have_count(0)
        assert page.url.endswith(ADDRESS), "path, query and fragment"
    await until(lambda: len(streams) == 0)


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_failure_is_shown_and_the_button_starts_again(
    world: World,
    proxy: Rig,
    pages: Pages,
    slug: str,
    monkeypatch: pytest.MonkeyPatch,
    scheme: str,
) -> None:
    async def logs(server: Server, lines: int) -> str:
        return LOG

    monkeypatch.setattr(world.spawner, "logs", logs)
    world.spawner.gate.clear()
    world.spawner.dies = True
    async with browsing(proxy, pages, color_scheme=scheme) as page:
        await page.goto(ADDRESS)
        await expect(page.locator("#step")).to_have_text("Preparing the server")
        world.spawner.gate.set()
        await expect(page.locator("#step")).to_have_text("The notebook did not start")
        await expect(page.locator("#again")).to_be_focused()
        await page.locator("summary").click()
        await expect(page.locator("#log")).to_contain_text("expected an int")
        await screenshot(page, f"waiting-failure-{scheme}")
        world.spawner.dies = False
        await page.locator("#again").click()
        await expect(page.locator("#waiting")).to_have_count(0)
        assert page.url.endswith(ADDRESS)


async def test_everything_works_without_script(
    world: World, proxy: Rig, pages: Pages, slug: str
) -> None:
    world.spawner.dies = True
    async with browsing(proxy, pages, NO_SCRIPT, locale="fr-FR") as page:
        await page.goto(ADDRESS)
        # The page loads itself again, and then tells of the failure.
        button = page.get_by_role("button", name="Réessayer")
        await button.wait_for()
        await screenshot(page, "waiting-failure-french")
        world.spawner.dies = False
        await button.click()
        await until(lambda: world.activator.status(slug).phase is Phase.READY)
        await page.wait_for_url("**/lab/tree/a%20b.ipynb?reset&x=1")


async def test_page_opens_by_itself_after_the_gateway_was_away(
    world: World, proxy: Rig, pages: Pages, slug: str
) -> None:
    world.spawner.gate.clear()
    async with browsing(proxy, pages) as page:
        await page.goto(ADDRESS)
        await expect(page.locator("#step")).to_have_text("Preparing the server")
        await page.context.set_offline(True)
        world.activator.end_watching()
        await expect(page.locator("#step")).to_contain_text("does not answer")
        await page.context.set_offline(False)
        world.spawner.gate.set()
        await expect(page.locator("#waiting")).to_have_count(0)


@pytest.mark.parametrize("width", [320, 600])
async def test_page_fits_small_frames(
    world: World, proxy: Rig, pages: Pages, slug: str, width: int
) -> None:
    world.spawner.gate.clear()
    async with browsing(proxy, pages, viewport={"width": width, "height": 360}) as page:
        await page.goto(ADDRESS)
        wide = await page.evaluate("document.documentElement.scrollWidth")
        assert wide <= width
        await screenshot(page, f"waiting-{width}")
    world.spawner.gate.set()


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_colours_have_contrast_and_nothing_moves_unasked(
    world: World, proxy: Rig, pages: Pages, slug: str, scheme: str
) -> None:
    world.spawner.dies = True
    options = {"color_scheme": scheme, "reduced_motion": "reduce"}
    async with browsing(proxy, pages, **options) as page:
        await page.goto(ADDRESS)
        await expect(page.locator("#again")).to_be_visible()
        assert await page.evaluate("document.getAnimations().length") == 0
        ratios = await page.evaluate(CONTRAST)
        assert ratios
        assert min(ratios.values()) >= 4.5, ratios


# WCAG 2.2, 1.4.3: the ratio of a text's colour to what is painted behind it.
CONTRAST = """() => {
  const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = (text) => {
    const [r, g, b] = rgb(text).slice(0, 3).map((v) => v / 255)
      .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (node) => {
    for (let one = node; one; one = one.parentElement) {
      const colour = getComputedStyle(one).backgroundColor;
      if ((rgb(colour)[3] ?? 1) === 1) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  const ratios = {};
  for (const id of ["step", "detail", "again"]) {
    const node = document.getElementById(id);
    const [a, b] = [light(getComputedStyle(node).color), light(behind(node))].sort((x, y) => y - x);
    ratios[id] = (a + 0.05) / (b + 0.05);
  }
  return ratios;
}"""
