"""Many who wait at once, through a whole gateway: frames of one page, and a class."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import aiohttp
import pytest
from playwright.async_api import Page, Request

from tests.end_to_end.conftest import remove_network
from tests.support.browser import browser_page, screenshot
from tests.support.engine import EngineHandle
from tests.support.gateway import GatewayProcess, running, signed_in
from tests.support.places import free_port, free_subnet
from tests.support.students import (
    PROJECT,
    asking,
    began,
    links_for,
    make_quick_image,
    remove_students,
    teach,
)
from tests.support.waiting import PATIENCE

STUDENTS = 60
FRAMES = 10
# The page that shows the frames comes from the test: for Chromium, from no local network.
_NO_NETWORK_CHECKS = "--disable-features=LocalNetworkAccessChecks"


class Streams:
    """How many event streams a browser has open, and had at most."""

    def __init__(self, page: Page) -> None:
        self.open: set[Request] = set()
        self.asked = self.most = 0
        page.on("request", self._began)
        page.on("requestfinished", self._ended)
        page.on("requestfailed", self._ended)

    def _began(self, request: Request) -> None:
        if "/gateway/events/" in request.url:
            self.open.add(request)
            self.asked += 1
            self.most = max(self.most, len(self.open))

    def _ended(self, request: Request) -> None:
        self.open.discard(request)


async def show_frames(page: Page, origin: str, addresses: Sequence[str]) -> None:
    """Show a page of the origin with a frame for each address; return when all came up."""
    frames = "".join(f'<iframe src="{one}" width="380" height="200"></iframe>' for one in addresses)
    await page.route(
        f"{origin}/course",
        lambda route: route.fulfill(content_type="text/html", body=f"<h1>Course</h1>{frames}"),
    )
    await page.goto(f"{origin}/course")
    for number, address in enumerate(addresses):
        frame = page.frame_locator("iframe").nth(number)
        await frame.locator("body", has_text='"started"').wait_for()
        shown = await page.locator("iframe").nth(number).element_handle()
        inside = await shown.content_frame() if shown is not None else None
        assert inside is not None
        assert inside.url.endswith(address.removeprefix(origin)), "the very address"


@pytest.mark.browser
@pytest.mark.parametrize("gateway", ["process"], indirect=True)
async def test_ten_frames_of_one_cold_notebook_all_come_up(gateway: GatewayProcess) -> None:
    link = gateway.nbgate("notebook", "url", "--project", "demo", "--person", "frames")
    async with browser_page() as page:
        await sign_in(page, link)
        streams = Streams(page)
        base = f"{gateway.url}/nb/demo-x-frames/api/status"
        await show_frames(page, gateway.url, [f"{base}?frame={n}#f{n}" for n in range(FRAMES)])
        await screenshot(page, "frames-one-notebook")
    assert streams.most <= 1, "the frames share one stream"
    assert gateway.show("demo-x-frames")["generation"] == 1


@pytest.mark.browser
@pytest.mark.parametrize("gateway", ["process"], indirect=True)
async def test_ten_frames_of_ten_cold_notebooks_all_come_up(gateway: GatewayProcess) -> None:
    slugs = [f"frame-{number}" for number in range(FRAMES)]
    for slug in slugs:
        gateway.nbgate("notebook", "create", slug, "--project", "demo", "--owner", "framer")
    link = gateway.nbgate("notebook", "url", slugs[0])
    async with browser_page() as page:
        await sign_in(page, link)
        streams = Streams(page)
        addresses = [f"{gateway.url}/nb/{slug}/api/status?x#y" for slug in slugs]
        await show_frames(page, gateway.url, addresses)
    assert streams.most <= 2, "connections are left for what else the page asks"
    assert streams.asked
    for slug in slugs:
        gateway.nbgate("notebook", "stop", slug)


@pytest.mark.browser
async def test_ten_frames_of_ten_cold_notebooks_come_up_in_host_routing(tmp_path: Path) -> None:
    port = free_port()
    origin = f"http://nb.localhost:{port}"
    settings = {"listen": f"127.0.0.1:{port}", "public_url": origin, "frame_ancestors": origin}
    with running(
        tmp_path / "state", routing="host", base_domain="nb.localhost", **settings
    ) as gateway:
        gateway.nbgate("project", "add", "demo")
        slugs = [f"frame-{number}" for number in range(FRAMES)]
        for slug in ("door", *slugs):
            gateway.nbgate("notebook", "create", slug, "--project", "demo", "--owner", "framer")
        link = gateway.nbgate("notebook", "url", "door")
        async with browser_page(_NO_NETWORK_CHECKS) as page:
            await page.goto(link)
            await show_frames(
                page,
                origin,
                [f"http://{slug}.nb.localhost:{port}/api/status?x#y" for slug in slugs],
            )


async def sign_in(page: Page, link: str) -> None:
    """Take the cookie of a login link; the notebook that it leads to stays cold."""
    answer = await page.context.request.get(link, max_redirects=0)
    assert answer.status == 303, await answer.text()


async def test_call_is_held_up_to_the_bound_and_told_when_to_come_again(tmp_path: Path) -> None:
    with running(tmp_path / "state", hold_timeout="0.05") as gateway:
        gateway.nbgate("project", "add", "demo")
        link = gateway.nbgate("notebook", "url", "--project", "demo", "--person", "kim")
        url = f"{gateway.url}/nb/demo-x-kim/api/status"
        async with signed_in(link) as client:
            async with client.get(url) as answer:
                assert answer.status == 503
                assert answer.content_type == "application/problem+json"
                assert int(answer.headers["Retry-After"]) >= 1
                assert (await answer.json())["type"] == "about:blank#starting"
            async with asyncio.timeout(PATIENCE):
                while True:
                    async with client.get(url) as answer:
                        if answer.status == 200:
                            break


@pytest.mark.parametrize("workers", ["0", "2"])
async def test_gateway_that_stops_ends_the_streams(tmp_path: Path, workers: str) -> None:
    with running(tmp_path / "state", memory_reserve="900T", workers=workers) as gateway:
        gateway.nbgate("project", "add", "demo")
        link = gateway.nbgate("notebook", "url", "--project", "demo", "--person", "kim")
        async with signed_in(link) as client, waiting_for(client, gateway, "demo-x-kim") as events:
            await until_told(events, b"memory to spare")
            assert gateway.process is not None
            gateway.process.terminate()
            assert [line async for line in events if line.strip(b":\n")] == []
            await asyncio.to_thread(gateway.process.wait, PATIENCE)


@pytest.mark.parametrize("workers", ["0", "2"])
async def test_stream_ends_for_who_is_signed_out_elsewhere(tmp_path: Path, workers: str) -> None:
    """By the operator here, who deletes the student while the page waits."""
    with running(tmp_path / "state", memory_reserve="900T", workers=workers) as gateway:
        gateway.nbgate("project", "add", "demo")
        link = gateway.nbgate("notebook", "url", "--project", "demo", "--person", "kim")
        async with signed_in(link) as client, waiting_for(client, gateway, "demo-x-kim") as events:
            await until_told(events, b"memory to spare")
            words = ("student", "delete", "demo", "kim", "--yes")
            await asyncio.to_thread(gateway.nbgate, *words)
            assert [line async for line in events if line.strip(b":\n")] == []
            async with client.get(f"{gateway.url}/gateway/events/demo-x-kim") as answer:
                assert answer.status == 404


@contextlib.asynccontextmanager
async def waiting_for(
    client: aiohttp.ClientSession, gateway: GatewayProcess, slug: str
) -> AsyncIterator[AsyncIterator[bytes]]:
    """Open a cold notebook's page, and follow its start."""
    page = {"Accept": "text/html"}
    async with client.get(f"{gateway.url}/nb/{slug}/lab", headers=page) as answer:
        assert answer.status == 503
    async with client.get(f"{gateway.url}/gateway/events/{slug}") as answer:
        assert answer.status == 200
        yield aiter(answer.content)


async def until_told(events: AsyncIterator[bytes], words: bytes) -> None:
    """Read events until one has these words: the start may not be as far yet."""
    async with asyncio.timeout(PATIENCE):
        async for line in events:
            if words in line:
                return
    raise AssertionError(f"the events ended without {words!r}")


async def test_class_that_starts_at_once_is_served_in_order(
    engine: EngineHandle, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    settings = {
        "spawner": "docker",
        "docker_host": engine.url,
        "image": make_quick_image(engine),
        "memory": "64M",
        "network_subnet": free_subnet(),
        "starts_at_once": "2",
    }
    try:
        with running(state, **settings) as gateway:
            links = await links_for(gateway, STUDENTS + 1)
            async with signed_in(links.pop()) as early:
                hot = f"{gateway.url}/nb/{PROJECT}-x-s{STUDENTS}/api/status"

                async def ask() -> None:
                    async with early.get(hot) as answer:
                        assert answer.status == 200

                await ask()
                async with asking(ask) as answered:
                    lesson = await teach(gateway, links)
                    assert answered() > STUDENTS, "who has a notebook works on meanwhile"
            remove_students(engine)
        assert began(gateway)[1:] == lesson.asked, "first come, first served"
        assert sorted(lesson.served) == sorted(lesson.asked), "nobody is lost"
        assert max(lesson.places) > 1, "there was a line"
    finally:
        if (state / "identity.json").exists():
            remove_network(engine.url, state)
