"""`make run`: from the command to the printed URL to a cell's result, as a newcomer does it."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.browser import browser_page, run_first_cell, screenshot
from tests.support.gateway import ROOT, GatewayProcess


@pytest.fixture
async def printed_url(tmp_path: Path) -> AsyncIterator[str]:
    """What `make run` prints, with ports and a state folder of the test's own."""
    ours = GatewayProcess(tmp_path / "state")
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
        async with asyncio.timeout(90):
            async for line in process.stdout:
                found = re.search(rb"http://127\.0\.0\.1:\d+/gateway/login\S+", line)
                if found:
                    yield found[0].decode()
                    break
            else:
                raise AssertionError("make run printed no URL")
    finally:
        ours.run("notebook", "stop", "--all")
        os.killpg(process.pid, signal.SIGTERM)
        async with asyncio.timeout(30):
            await process.wait()


@pytest.mark.browser
async def test_make_run_prints_a_url_that_ends_on_a_computing_notebook(printed_url: str) -> None:
    async with browser_page() as page:
        await page.goto(printed_url)
        await run_first_cell(page, "5050")
        await screenshot(page, "notebook-make-run")
