"""What a person sees: from the printed URL of a cold notebook to a cell's result."""

from __future__ import annotations

import pytest

from tests.support.browser import browser_page, run_first_cell, screenshot
from tests.support.gateway import GatewayProcess

pytestmark = pytest.mark.browser


async def test_printed_url_ends_on_a_notebook_that_computes(gateway: GatewayProcess) -> None:
    link = gateway.nbgate(
        "notebook", "url", "--project", "demo", "--person", "alice", "first-steps.ipynb"
    )
    spawner = gateway.environment["NBGATE_SPAWNER"]
    assert gateway.show("demo-x-alice")["state"] == "cold"
    async with browser_page() as page:
        answer = await page.goto(link)
        assert answer is not None
        assert answer.status == 503
        await screenshot(page, f"waiting-{spawner}")
        await run_first_cell(page, "5050")
        await screenshot(page, f"notebook-{spawner}")
        assert page.url.startswith(f"{gateway.url}/nb/demo-x-alice/lab")


async def test_used_link_and_missing_session_are_explained(gateway: GatewayProcess) -> None:
    link = gateway.nbgate("notebook", "url", "--project", "demo", "--person", "bob")
    async with browser_page() as page:
        answer = await page.goto(f"{gateway.url}/nb/demo-x-bob/lab")
        assert answer is not None
        assert answer.status == 401
        await screenshot(page, "sign-in")
        await page.goto(link)
        await page.goto("about:blank")  # Lab and the waiting page go elsewhere by themselves
        await page.context.clear_cookies()
        answer = await page.goto(link)
        assert answer is not None
        assert answer.status == 410
        assert "used already" in await page.inner_text("main")


async def test_index_lists_the_persons_notebooks(gateway: GatewayProcess) -> None:
    link = gateway.nbgate("notebook", "url", "--project", "demo", "--person", "carol")
    gateway.nbgate("notebook", "url", "--project", "demo", "--person", "dave")
    async with browser_page() as page:
        answer = await page.goto(f"{gateway.url}/")
        assert answer is not None
        assert answer.status == 200
        await page.goto(link)
        await page.goto(f"{gateway.url}/")
        text = await page.inner_text("main")
        assert "carol" in text
        assert "dave" not in text
        await screenshot(page, "index")
        await page.get_by_role("button", name="Sign out").click()
        await page.get_by_text("by the login link").wait_for()
        assert "carol" not in await page.inner_text("main")
