"""An open page comes back by one click however it is reached, and whatever was done to its server.

With a Docker Engine, each notebook at a host of its own; and behind an httpd that reaches them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack

import pytest
from playwright.async_api import Page, expect

from tests.end_to_end.conftest import gateway_with
from tests.end_to_end.open_page import (
    MILLISECONDS,
    RESULT,
    banner_of,
    compute,
    edit,
    is_saved,
    open_notebook,
    start_again,
)
from tests.end_to_end.test_httpd import Site, site
from tests.support.browser import browser_page
from tests.support.gateway import GatewayProcess
from tests.support.places import free_port
from tests.support.waiting import until

pytestmark = [pytest.mark.browser, pytest.mark.engine]


@pytest.fixture(scope="module")
def gateway(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    """Host routing with Docker; its culler looks each second."""
    state = tmp_path_factory.mktemp("hosts") / "state"
    port = free_port()
    settings = {
        "listen": f"127.0.0.1:{port}",
        "public_url": f"http://nb.localhost:{port}",
        "routing": "host",
        "base_domain": "nb.localhost",
        "cull_interval": "1",
        "cpus": "1",
    }
    with gateway_with(request, state, "docker", **settings) as process:
        yield process


@pytest.fixture
async def behind_httpd(request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    async with AsyncExitStack() as stack:
        yield await site(request, "docker", stack, direct=True)


def host_of(gateway: GatewayProcess) -> str:
    """Return the URL of notebooks, with their slug's place in it."""
    return f"http://{{slug}}.nb.localhost:{gateway.port}/"


async def goes_on(page: Page, gateway: GatewayProcess, slug: str) -> None:
    """The edit is computed and saved, on the page that was there all the time."""
    await compute(page, RESULT)
    await page.keyboard.press("Control+s")
    await until(lambda: is_saved(gateway, slug))
    assert await page.evaluate("window.dialogs") == []


async def test_stopped_notebook_at_its_own_host(gateway: GatewayProcess) -> None:
    async with browser_page() as page:
        slug = await open_notebook(page, gateway, "judy", "notebooks", host_of(gateway))
        await edit(page)
        before = gateway.show(slug)
        gateway.nbgate("notebook", "stop", slug)
        await start_again(page, "stopped")
        await goes_on(page, gateway, slug)
    assert gateway.show(slug)["generation"] == before["generation"] + 1


async def test_paused_notebook_goes_on_with_its_kernel(gateway: GatewayProcess) -> None:
    async with browser_page() as page:
        slug = await open_notebook(page, gateway, "kim", "lab", host_of(gateway))
        await edit(page)
        before = gateway.show(slug)
        gateway.nbgate("project", "update", "demo", "--pause-after", "1s")
        await expect(banner_of(page)).to_contain_text("sleeps", timeout=MILLISECONDS)
        assert not is_saved(gateway, slug)
        gateway.nbgate("project", "update", "demo", "--pause-after", "default")
        await start_again(page, "sleeps", "Wake it up")
        await goes_on(page, gateway, slug)
        # The kernel counts on: it is the one that computed before.
        prompt = page.locator(".jp-CodeCell .jp-InputArea-prompt").first
        await expect(prompt).to_contain_text("[2]", timeout=MILLISECONDS)
    assert gateway.show(slug)["container_id"] == before["container_id"]


async def test_stopped_notebook_that_httpd_reaches_itself(behind_httpd: Site) -> None:
    gateway = behind_httpd.gateway
    async with browser_page() as page:
        base = f"{behind_httpd.front.url}/nb/{{slug}}/"
        slug = await open_notebook(page, gateway, "alice", "notebooks", base)
        await edit(page)
        gateway.nbgate("notebook", "stop", slug)
        await start_again(page, "stopped")
        await goes_on(page, gateway, slug)
