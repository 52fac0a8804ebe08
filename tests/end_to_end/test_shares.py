"""A notebook that runs, shared to be read: with workers, by path and by host, in Chromium."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from urllib.parse import urlsplit

import aiohttp
import pytest
from playwright.async_api import expect

from gateway.notebooks.names import notebook_slug
from tests.support.browser import browser_page, run_first_cell, screenshot
from tests.support.gateway import ROOT, GatewayProcess, running_by
from tests.support.waiting import until

FILE = "first-steps.ipynb"
PERSON = "shirin"


@pytest.fixture(scope="module", params=["path", "host"])
def gateway(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    """A gateway with workers, and a course that takes plain links."""
    state = tmp_path_factory.mktemp("shares") / "state"
    with running_by(request.param, state, workers="2", access_log="combined") as process:
        source = str(ROOT / "examples" / "demo")
        words = ("--source", source, "--links", "plain", "--links-page", "lab")
        process.nbgate("project", "add", "demo", *words)
        yield process


@pytest.mark.browser
async def test_what_was_computed_is_shared_read_and_taken_back(gateway: GatewayProcess) -> None:
    origin, slug = gateway.origin, notebook_slug("demo", f"plain/demo:{PERSON}")
    async with browser_page() as page, browser_page() as stranger:
        await page.goto(f"{origin}/ipythonExercice/demo/{FILE}/{PERSON}")
        await run_first_cell(page, "5050")
        await page.keyboard.press("Control+s")
        await page.locator(".jp-mod-dirty").wait_for(state="detached")
        generation = gateway.show(slug)["generation"]
        await page.goto(f"{origin}/ipythonShare/demo/{FILE}/{PERSON}")
        await screenshot(page, f"share-ask-{urlsplit(origin).hostname}")
        await page.get_by_role("button", name="Share a copy").click()
        link = page.locator(".address a")
        address = await link.get_attribute("href")
        assert address is not None
        assert address.startswith(f"{origin}/gateway/shared/")
        await screenshot(page, f"share-made-{urlsplit(origin).hostname}")

        answer = await stranger.goto(address)
        assert answer is not None
        assert answer.status == 200
        await expect(stranger.get_by_text("5050").first).to_be_visible()
        await screenshot(stranger, f"shared-{urlsplit(origin).hostname}")
        # Its policy gives the page no origin, and still its style.
        assert await stranger.evaluate("self.origin") == "null"
        width = "getComputedStyle(document.querySelector('main')).maxWidth"
        assert await stranger.evaluate(width) == "608px"
        assert await stranger.context.cookies() == []

        await page.get_by_role("button", name="Take back").click()
        await expect(page.get_by_role("heading", name="The copy is taken back")).to_be_visible()
        gone = await stranger.goto(address)
        assert gone is not None
        assert gone.status == 404
        assert gateway.show(slug)["generation"] == generation, "it went on running"
    assert address.rpartition("/")[2] not in gateway.log.read_text()


@contextlib.asynccontextmanager
async def program_of(gateway: GatewayProcess, person: str) -> AsyncIterator[aiohttp.ClientSession]:
    """Yield what asks as a program in a browser of `person` does, who has opened the exercise."""
    headers = {"Host": urlsplit(gateway.origin).netloc, "Accept": "application/json"}
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(cookie_jar=jar, headers=headers) as client:
        for _ in range(3):
            async with client.get(
                f"{gateway.url}/ipythonExercice/demo/{FILE}/{person}",
                headers={"Accept": "text/html"},
                allow_redirects=False,
            ) as answer:
                assert answer.status == 303
        yield client


def write(gateway: GatewayProcess, person: str, prose: str) -> None:
    """Put a cell of prose in the place of somebody's exercise."""
    cells = [{"cell_type": "markdown", "source": prose}]
    space = gateway.state / "spaces" / notebook_slug("demo", f"plain/demo:{person}")
    (space / FILE).write_text(json.dumps({"cells": cells}))


async def shared(gateway: GatewayProcess, client: aiohttp.ClientSession, person: str) -> str:
    """Return the path of a new copy."""
    link = f"{gateway.url}/ipythonShare/demo/{FILE}/{person}"
    async with client.post(link, headers={"Origin": gateway.origin}) as answer:
        assert answer.status == 200, await answer.text()
        return str((await answer.json())["url_path"])


async def test_other_origins_share_nothing_and_a_deleted_students_copies_go(
    gateway: GatewayProcess,
) -> None:
    slug = notebook_slug("demo", "plain/demo:omid")
    link, own = f"{gateway.url}/ipythonShare/demo/{FILE}/omid", gateway.origin
    notebooks = f"http://{slug}.nb.localhost:{gateway.port}"
    async with program_of(gateway, "omid") as client:
        for foreign in ("https://evil.example", notebooks, "null"):
            async with client.post(link, headers={"Origin": foreign}) as answer:
                assert (answer.status, list(await answer.json())) == (403, ["error"])
        url = gateway.url + await shared(gateway, client, "omid")
    headers = {"Host": urlsplit(own).netloc, "Accept": "text/html"}
    async with aiohttp.ClientSession(headers=headers) as stranger:
        async with stranger.get(url) as answer:
            assert answer.status == 200
            assert "Set-Cookie" not in answer.headers
        async with stranger.get(f"{gateway.url}/gateway/status/{slug}") as answer:
            assert answer.status == 404
        gateway.nbgate("student", "delete", "demo", "omid", "--yes")
        async with stranger.get(url) as answer:
            assert answer.status == 404
    assert not list((gateway.state / "spaces" / ".shares").glob(f"notebooks/{slug}/*"))


@pytest.mark.browser
async def test_hostile_copy_runs_nothing_and_asks_nobody(gateway: GatewayProcess) -> None:
    evil = (
        "<script>document.title = 'run'</script><img src=x onerror=\"document.title = 'run'\">\n\n"
        "![seen](https://evil.localhost/seen.png) ![ours](/gateway/logout) "
        "[go](javascript:document.title='run')\n\n<form action=/gateway/logout method=post>"
    )
    origin, answered, blocked = gateway.origin, set[str](), dict[str, str | None]()
    async with program_of(gateway, "navid") as client, browser_page() as page:
        write(gateway, "navid", evil)
        place = await shared(gateway, client, "navid")
        page.on("response", lambda answer: answered.add(answer.url))
        page.on("requestfailed", lambda one: blocked.update({one.url: one.failure}))
        await page.goto(origin + place)
        await expect(page.get_by_text("<script>")).to_be_visible()
        assert await page.title() == FILE
        assert await page.locator("script, form, [onerror]").count() == 0
        await page.wait_for_load_state("networkidle")
        await until(lambda: len(blocked) > 1)
    ours = {place, "/gateway/static/nbgate.css", "/favicon.ico"}
    assert {url.removeprefix(origin) for url in answered} <= ours
    assert blocked == {"https://evil.localhost/seen.png": "csp", f"{origin}/gateway/logout": "csp"}
