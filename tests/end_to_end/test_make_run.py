"""`make run`: from the command to the printed URL to a cell's result, as a newcomer does it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.browser import browser_page, run_first_cell, screenshot
from tests.support.gateway import ROOT, GatewayProcess, signed_in
from tests.support.waiting import PATIENCE

_URL = re.compile(rb"http://127\.0\.0\.1:\d+/gateway/login\S+")


@contextlib.asynccontextmanager
async def make_run(state: Path) -> AsyncIterator[str]:
    """Run `make run` with ports and a state folder of the test's own; yield the URL it prints."""
    ours = GatewayProcess(state)
    process = await asyncio.create_subprocess_exec(
        "make",
        "run",
        cwd=ROOT,
        env=ours.environment,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(PATIENCE):
            text = b""
            while not (found := _URL.search(text)):
                line = await process.stdout.readline()
                assert line, "make run ended and printed no URL"
                text += line
        yield found[0].decode()
    finally:
        ours.run("notebook", "stop", "--all")
        os.killpg(process.pid, signal.SIGTERM)
        async with asyncio.timeout(PATIENCE):
            await process.wait()


@pytest.mark.browser
async def test_make_run_prints_a_url_that_ends_on_a_computing_notebook(tmp_path: Path) -> None:
    async with make_run(tmp_path / "state") as url, browser_page() as page:
        await page.goto(url)
        await run_first_cell(page, "5050")
        await screenshot(page, "notebook-make-run")


async def test_second_make_run_goes_on_with_what_is_there(tmp_path: Path) -> None:
    async with make_run(tmp_path / "state") as first:
        assert "/gateway/login?ticket=" in first
    async with make_run(tmp_path / "state") as second, signed_in(second):
        assert second != first
