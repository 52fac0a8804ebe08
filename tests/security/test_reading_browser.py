"""Path routing: what a student has made, in the browser of a teacher who looks at it.

All notebooks and the gateway's pages are one origin there. So nothing of the student's may run in
the teacher's browser, by whichever address the teacher is made to open.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page

from tests.security.test_browser import ASK, CONNECT
from tests.support.browser import browser_page, screenshot
from tests.support.gateway import ROOT, GatewayProcess, running, signed_in
from tests.support.waiting import until

pytestmark = pytest.mark.browser

SLUG = "demo-x-mallory"
RUN = "fetch('/gateway/stop/demo-x-tess', {method: 'POST'}); document.title = 'owned'"
PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk"
    "+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
HOSTILE = {
    "nbformat": 4,
    "nbformat_minor": 5,
    "metadata": {},
    "cells": [
        {
            "cell_type": "markdown",
            "metadata": {"trusted": True},
            "source": [
                "# Exercise <img src=x onerror=\"", RUN, "\">\n\n",
                f"<script>{RUN}</script>\n\n<iframe src=/nb/demo-x-tess/lab></iframe>\n\n",
                "<base href=http://evil.example/><style>body{display:none}</style>\n\n",
                f"[click](javascript:{RUN.replace(' ', '')}) ![](/nb/demo-x-tess/api/status) ",
                "![](http://evil.example/x.png)\n\n<meta http-equiv=refresh content='0;url=/'>",
            ],
        },
        {
            "cell_type": "code",
            "metadata": {"trusted": True},
            "execution_count": 1,
            "source": f"</code></pre><script>{RUN}</script>",
            "outputs": [
                {
                    "output_type": "display_data",
                    "metadata": {},
                    "data": {kind: f"<svg onload=\"{RUN}\"><script>{RUN}</script></svg>"},
                }
                for kind in ("text/html", "image/svg+xml", "application/javascript", "text/plain")
            ]
            + [
                {
                    "output_type": "display_data",
                    "metadata": {},
                    "data": {"image/png": f"x\" onerror=\"{RUN}"},
                },
                {"output_type": "display_data", "metadata": {}, "data": {"image/png": PIXEL}},
                {"output_type": "stream", "name": "stdout", "text": f"<script>{RUN}</script>"},
            ],
        },
    ],
}  # fmt: skip
PAGE = f"<!doctype html><title>mine</title><script>{RUN}</script>"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """Path routing; tess teaches the course of mallory, whose server runs; hers runs as well."""
    with running(tmp_path_factory.mktemp("read") / "state") as process:
        source = str(ROOT / "examples" / "demo")
        process.nbgate("project", "add", "demo", "--source", source, "--staff", "tess")
        for person in ("mallory", "tess"):
            link = process.nbgate("notebook", "url", "--project", "demo", "--person", person)
            asyncio.run(started(process, link, f"demo-x-{person}"))
        space = Path(process.state) / "spaces" / SLUG
        (space / "hostile.ipynb").write_text(json.dumps(HOSTILE))
        (space / "hostile.html").write_text(PAGE)
        (space / "hostile.svg").write_text(PAGE)
        yield process


async def started(gateway: GatewayProcess, link: str, slug: str) -> None:
    async with signed_in(link) as client, client.get(f"{gateway.url}/nb/{slug}/api") as answer:
        assert answer.status == 200


@pytest.fixture(params=["light", "dark"])
async def tess(request: pytest.FixtureRequest, gateway: GatewayProcess) -> AsyncIterator[Page]:
    """The teacher's browser, at the home page."""
    async with browser_page(color_scheme=request.param) as page:
        await page.goto(gateway.nbgate("notebook", "url", "demo-x-tess"))
        await page.goto(gateway.url)
        yield page


def runs(gateway: GatewayProcess, slug: str) -> tuple[Any, Any]:
    """Return what tells that a server runs, and is the one that did."""
    record = gateway.show(slug)
    assert record["state"] == "running"
    return record["state"], record["generation"]


async def test_hostile_notebook_in_a_page_to_read_runs_nothing(
    gateway: GatewayProcess, tess: Page, request: pytest.FixtureRequest
) -> None:
    before, answered, blocked = runs(gateway, "demo-x-tess"), set[str](), set[str | None]()
    await tess.locator(f"#nb-{SLUG} a").click()
    await tess.get_by_role("link", name="hostile.ipynb").wait_for()
    scheme = request.node.callspec.params["tess"]
    await screenshot(tess, f"read-folder-{scheme}")
    tess.on("response", lambda one: answered.add(one.url.removeprefix(gateway.url)))
    tess.on("requestfailed", lambda one: blocked.add(one.failure))
    await tess.get_by_role("link", name="hostile.ipynb").click()
    await tess.get_by_role("heading", name="Exercise").wait_for()
    await screenshot(tess, f"read-notebook-{scheme}")
    assert await tess.title() == "hostile.ipynb"
    data = {url for url in answered if url.startswith("data:")}
    assert answered - data <= {f"/gateway/read/{SLUG}/hostile.ipynb", "/gateway/static/nbgate.css"}
    await until(lambda: bool(blocked))  # of that Chromium tells when it likes
    assert blocked == {"csp"}, "the images that the student's text names are not asked for"
    lively = ":is(script, iframe, svg, style, base, meta, object)"
    assert await tess.locator(f"main {lively}").count() == 0
    assert await tess.locator("img[src^=data]").count() == 1
    assert await tess.locator("main a[href^=javascript]").count() == 0
    assert runs(gateway, "demo-x-tess") == before


@pytest.mark.parametrize(
    "path",
    ["lab/tree/hostile.ipynb", "files/hostile.html", "view/hostile.html", "files/hostile.svg"],
)
async def test_nothing_of_a_student_is_open_live_to_their_teacher(
    gateway: GatewayProcess, tess: Page, path: str
) -> None:
    before = [runs(gateway, slug) for slug in ("demo-x-tess", SLUG)]
    live = f"/nb/{SLUG}/{path}"
    assert (await tess.evaluate(ASK, [live, "GET"]))[:3] == "404"
    assert (await tess.evaluate(ASK, [f"/nb/{SLUG}/api/kernels", "POST"]))[:3] == "404"
    socket = f"{gateway.url.replace('http', 'ws')}/nb/{SLUG}/api/events/subscribe"
    assert await tess.evaluate(CONNECT, socket) == ""
    if "html" in path or "svg" in path:
        async with tess.expect_download() as download:
            await tess.evaluate("url => { location.href = url; }", live)
        assert (await download.value).suggested_filename == path.rpartition("/")[2]
    else:
        await tess.goto(gateway.url + live)
        assert tess.url == f"{gateway.url}/gateway/read/{SLUG}/hostile.ipynb"
    assert await tess.title() != "owned"
    assert [runs(gateway, slug) for slug in ("demo-x-tess", SLUG)] == before
