"""A real Chromium for tests, driven by Playwright."""

from __future__ import annotations

import contextlib
import functools
import re
import shlex
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from playwright.async_api import Page, async_playwright, expect

from tests.support.waiting import PATIENCE

ROOT = Path(__file__).resolve().parents[2]
SCREENSHOTS = ROOT / "test-results"
_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_MILLISECONDS = 1000 * PATIENCE


@contextlib.asynccontextmanager
async def browser_page(*flags: str, **options: Any) -> AsyncIterator[Page]:
    """Yield an empty page of a fresh profile.

    Args:
        flags: more of Chromium's command line.
        options: of the profile, as Playwright names them, e.g. color_scheme="dark".
    """
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=chromium(), args=[*_FLAGS, *flags], timeout=_MILLISECONDS
        )
        try:
            size: dict[str, Any] = {"viewport": {"width": 1280, "height": 860}}
            page = await browser.new_page(**(size | options))
            page.set_default_timeout(_MILLISECONDS)
            expect.set_options(timeout=_MILLISECONDS)
            yield page
        finally:
            await browser.close()


@functools.cache
def chromium() -> Path:
    """Return a program that runs Chromium deaf to the networks of engines; see deaf.py."""
    words = [sys.executable, str(Path(__file__).with_name("deaf.py")), "/usr/bin/chromium"]
    program = Path(tempfile.mkdtemp(prefix="nbgate-chromium-")) / "chromium"
    program.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
    program.chmod(0o755)
    return program


async def screenshot(page: Page, name: str) -> None:
    """Keep a picture of the page under test-results/."""
    SCREENSHOTS.mkdir(exist_ok=True)
    await page.screenshot(path=SCREENSHOTS / f"{name}.png")


async def run_first_cell(page: Page, result: str) -> None:
    """Run the first code cell of the notebook that is open in Lab; wait for its result.

    Lab shows an idle kernel before it is connected to one, and asks for a kernel when a cell is
    run then; its status bar tells the truth.
    """
    cell = page.locator(".jp-CodeCell").first
    await cell.wait_for()
    await page.get_by_text("Python 3 (ipykernel) | Idle").wait_for()
    await cell.locator(".cm-content").click()
    await page.keyboard.press("Shift+Enter")
    output = cell.locator(".jp-OutputArea-output")
    await expect(output).to_have_text(re.compile(re.escape(result)), timeout=_MILLISECONDS)
