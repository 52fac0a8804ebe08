"""A real Chromium for tests, driven by Playwright."""

from __future__ import annotations

import contextlib
import functools
import re
import shlex
import sys
import tempfile
import time
from collections import deque
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from playwright.async_api import Error as PlaywrightError
from playwright.async_api import Page, Request, async_playwright, expect

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
# Of a page, in a failure: lines, their characters, seconds from which an answer is slow.
_LINES, _WIDTH, _SLOW = 60, 400, 5.0
_ENDS = 100  # characters of what a frame shows: its beginning, and its end, where dialogs are
_GLANCE = 1000  # milliseconds for a frame to say what it shows


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
            async with Diary(page):
                yield page
        finally:
            await browser.close()


class Diary:
    """Adds to a failure what the page said and shows, and what it still waits for."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self._lines: deque[str] = deque(maxlen=_LINES)
        self._pending: dict[Request, float] = {}
        page.on("console", lambda line: self._note(f"{line.type}: {line.text}"))
        page.on("pageerror", lambda error: self._note(f"error: {error}"))
        page.on("framenavigated", lambda frame: self._note(f"at {frame.url}"))
        page.on("request", self._asked)
        page.on("requestfinished", self._answered)
        page.on("requestfailed", self._failed)

    async def __aenter__(self) -> None:
        pass

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None:
            return
        now = time.monotonic()
        for request, since in self._pending.items():
            self._note(f"waits for {now - since:.1f} s: {request.method} {request.url}")
        for frame in self._page.frames:
            with contextlib.suppress(PlaywrightError):
                text = await frame.locator("body").inner_text(timeout=_GLANCE)
                self._note(f"{frame.url} shows {text[:_ENDS]!r} to {text[-_ENDS:]!r}")
        error.add_note("\n".join(["The page:", *self._lines]))

    def _asked(self, request: Request) -> None:
        self._pending[request] = time.monotonic()

    def _answered(self, request: Request) -> None:
        took = time.monotonic() - self._pending.pop(request, time.monotonic())
        if took > _SLOW:
            self._note(f"took {took:.1f} s: {request.method} {request.url}")

    def _failed(self, request: Request) -> None:
        self._pending.pop(request, None)
        self._note(f"{request.failure}: {request.method} {request.url}")

    def _note(self, line: str) -> None:
        self._lines.append(f"{datetime.now(UTC):%H:%M:%S.%f} {line[:_WIDTH]}")


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
