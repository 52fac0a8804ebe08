"""What the tests of open pages share: a document that is open in a real Chromium."""

from __future__ import annotations

import asyncio
import json
import re

from playwright.async_api import Locator, Page, WebSocket, expect

from tests.support.gateway import GatewayProcess
from tests.support.waiting import PATIENCE, until

NOTEBOOK = "first-steps.ipynb"
EDIT = "6 * 7 * 1000"
RESULT = "42000"
MILLISECONDS = 1000 * PATIENCE
VIEWS = {"lab": "lab/tree", "notebooks": "notebooks"}


def banner_of(page: Page) -> Locator:
    return page.locator("#nbgate-banner")


async def open_notebook(
    page: Page, gateway: GatewayProcess, person: str, view: str, base: str = ""
) -> str:
    """Open a person's demo notebook in Lab or in Notebook 7 and compute; return its slug.

    Args:
        page: of a browser.
        gateway: that runs.
        person: whose notebook.
        view: of VIEWS.
        base: the notebook's URL, with `{slug}`; empty for the gateway's own in path routing.
    """
    slug = f"demo-x-{person}"
    link = gateway.nbgate("notebook", "url", "--project", "demo", "--person", person)
    await page.goto(link)
    await page.locator(".jp-Launcher").wait_for()
    # The page shows an idle kernel before it is connected to one; then the kernel says something.
    said = word_of_a_kernel(page)
    url = (base or f"{gateway.url}/nb/{{slug}}/").format(slug=slug)
    await page.goto(f"{url}{VIEWS[view]}/{NOTEBOOK}")
    async with asyncio.timeout(PATIENCE):
        await said.wait()
    await page.locator(".jp-Notebook-ExecutionIndicator[data-status=idle]").first.wait_for()
    await compute(page, "5050")
    # Its own elements appear with what asks the gateway.
    await banner_of(page).wait_for(state="attached")
    await note_dialogs(page)
    return slug


def word_of_a_kernel(page: Page) -> asyncio.Event:
    """Return what is set with the first that a kernel says from now on.

    It is listened for with the WebSocket's beginning: who asks for it later may have missed it.
    """
    said = asyncio.Event()

    def look(socket: WebSocket) -> None:
        if "/channels" in socket.url:
            socket.on("framereceived", lambda _: said.set())

    page.on("websocket", look)
    return said


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
    await expect(output).to_have_text(re.compile(result), timeout=MILLISECONDS)


async def edit(page: Page) -> None:
    """Add a line to the first cell, and do not save it."""
    editor = page.locator(".jp-CodeCell .cm-editor").first
    await editor.locator(".cm-content").click()
    # Until it has the focus, keys are commands to Lab.
    await expect(editor).to_have_class(re.compile("cm-focused"), timeout=MILLISECONDS)
    await page.keyboard.press("Control+End")
    await page.keyboard.type(f"\n{EDIT}")
    await expect(editor).to_contain_text(EDIT, timeout=MILLISECONDS)


def is_saved(gateway: GatewayProcess, slug: str) -> bool:
    """Whether the file has the edit; it is whole at each moment."""
    return EDIT in json.dumps(json.loads((gateway.state / "spaces" / slug / NOTEBOOK).read_text()))


async def until_saved(page: Page, gateway: GatewayProcess, slug: str) -> None:
    """Wait until the file has the edit; where it never has, tell what the page shows."""
    try:
        await until(lambda: is_saved(gateway, slug))
    except AssertionError as error:
        dialogs = await page.evaluate("window.dialogs")
        shown = await page.locator(".jp-Notebook").first.inner_text()
        raise AssertionError(f"it was not saved: {dialogs=} {shown=}") from error


async def start_again(page: Page, said: str, button: str = "Start it again") -> None:
    """Wait until the page tells that its notebook is away; click; wait until it is back."""
    banner = banner_of(page)
    await expect(banner).to_contain_text(said, timeout=MILLISECONDS)
    await banner.get_by_role("button", name=button).click()
    await expect(banner).to_contain_text("runs again", timeout=MILLISECONDS)
