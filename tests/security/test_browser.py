"""Attacks that a browser carries out: by script in a notebook, and by a page of another site.

In a real Chromium over https, where session cookies go along with requests of frames. What keeps an
attack out is looked for at its goal: what must not have changed, has not.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Page, Route

from tests.proxy.certificates import make_pair
from tests.support.browser import browser_page
from tests.support.gateway import ROOT, GatewayProcess, running
from tests.support.places import free_port
from tests.support.waiting import until

pytestmark = pytest.mark.browser

EVIL = "https://evil.localhost"
# The other site is answered for by the test: Chromium takes it for a public one, and us for local.
FLAG = "--disable-features=LocalNetworkAccessChecks"

# What script tries: it tells what it got to know, "" for nothing.
ASK = """async ([url, method]) => {
    try {
        const body = method === 'GET' ? undefined : '{}';
        const told = await fetch(url, {method, body, credentials: 'include'});
        return `${told.status} ${(await told.text()).slice(0, 300)}`;
    } catch (error) { return ''; }
}"""
ASK_BLINDLY = """async ([url, method]) => {
    try {
        const body = method === 'GET' ? undefined : '{}';
        await fetch(url, {method, body, mode: 'no-cors', credentials: 'include'});
    } catch (error) {}
}"""
CONNECT = """url => new Promise(done => {
    const socket = new WebSocket(url);
    socket.onopen = () => done('open');
    socket.onerror = () => done('');
})"""
LOOK_INTO_FRAME = """url => new Promise(done => {
    const frame = document.createElement('iframe');
    frame.src = url;
    frame.onload = () => {
        try { done(frame.contentDocument.body.innerText); } catch (error) { done(''); }
    };
    document.body.append(frame);
})"""
PLANT_COOKIE = """domain => {
    document.cookie = `__Host-nbgate=planted; Domain=${domain}; Path=/; Secure`;
    document.cookie = `nbgate-session=planted; Domain=${domain}; Path=/; Secure`;
}"""
POST_FORM = """url => {
    const form = document.createElement('form');
    form.method = 'POST';
    form.action = url;
    document.body.append(form);
    form.submit();
}"""


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """Host routing over https; alice has two notebooks, and mary one by a plain link."""
    folder, port = tmp_path_factory.mktemp("attacked"), free_port()
    pair = make_pair(folder, "nb", names="DNS:nb.localhost,DNS:*.nb.localhost")
    with running(
        folder / "state",
        listen=f"127.0.0.1:{port}",
        public_url=f"https://nb.localhost:{port}",
        routing="host",
        base_domain="nb.localhost",
        tls_cert=str(pair.cert),
        tls_key=str(pair.key),
    ) as process:
        source = str(ROOT / "examples" / "demo")
        process.nbgate("project", "add", "demo", "--source", source, "--links", "plain")
        process.nbgate("notebook", "url", "--project", "demo", "--person", "alice")
        process.nbgate("notebook", "create", "second", "--project", "demo", "--owner", "alice")
        yield process


def host_of(gateway: GatewayProcess, slug: str) -> str:
    return f"{slug}.nb.localhost:{gateway.port}"


@pytest.fixture
async def alice(gateway: GatewayProcess) -> AsyncIterator[Page]:
    """Alice's browser, at her first notebook; her second one has been open and runs."""
    async with browser_page(FLAG, ignore_https_errors=True) as page:
        for words in (("second",), ("demo-x-alice",)):
            await page.goto(gateway.nbgate("notebook", "url", *words))
            await page.wait_for_url(f"https://{host_of(gateway, words[0])}/lab**")
            await page.wait_for_selector(".jp-LabShell")  # not the waiting page, which goes away
        yield page


def kept(gateway: GatewayProcess, slug: str) -> tuple[Any, Any]:
    """Return what tells that a notebook runs as it did."""
    record = gateway.show(slug)
    return record["state"], record["generation"]


async def still_hers(page: Page, gateway: GatewayProcess, slug: str) -> list[Any]:
    """Return the kernels of a notebook, which its own page must still be able to ask for."""
    await page.goto(f"https://{host_of(gateway, slug)}/lab")
    await page.wait_for_selector(".jp-LabShell")  # not the waiting page, which goes away
    told = await page.evaluate(
        "async () => await (await fetch('/api/kernels', {credentials: 'include'})).json()"
    )
    assert isinstance(told, list), told
    return told


async def test_script_in_a_notebook_reaches_neither_another_notebook_nor_the_gateway(
    gateway: GatewayProcess, alice: Page
) -> None:
    other, main = f"https://{host_of(gateway, 'second')}", f"https://nb.localhost:{gateway.port}"
    await until(lambda: kept(gateway, "second")[0] == "running")
    before = kept(gateway, "second")
    got = [
        await alice.evaluate(ASK, [url, method])
        for url, method in (
            (f"{other}/api/contents", "GET"),
            (f"{other}/api/kernels", "POST"),
            (f"{other}/lab", "GET"),
            (f"{main}/", "GET"),
            (f"{main}/gateway/status/second", "GET"),
            (f"{main}/gateway/start/second", "POST"),
            (f"{main}/gateway/logout", "POST"),
            (f"{main}/gateway/authorize?next={other}/lab&state=x", "GET"),
            (f"http://127.0.0.1:{gateway.management_port}/gateway/api/notebooks", "GET"),
            (f"http://127.0.0.1:{gateway.management_port}/gateway/metrics", "GET"),
        )
    ]
    assert got == [""] * len(got)
    for url in (f"{other}/api/kernels", f"{main}/gateway/logout", f"{main}/gateway/start/second"):
        await alice.evaluate(ASK_BLINDLY, [url, "POST"])
    for path in ("api/events/subscribe", "api/kernels/0/channels"):
        assert await alice.evaluate(CONNECT, f"wss://{host_of(gateway, 'second')}/{path}") == ""
    assert await alice.evaluate(LOOK_INTO_FRAME, f"{other}/lab") == ""
    assert kept(gateway, "second") == before
    assert await still_hers(alice, gateway, "second") == []


async def test_own_origin_tells_script_of_no_other_notebook(
    gateway: GatewayProcess, alice: Page
) -> None:
    for method, path in (
        ("GET", "/gateway/status/second"),
        ("POST", "/gateway/start/second"),
        ("GET", f"/gateway/authorize?next=https://{host_of(gateway, 'second')}/lab&state=x"),
    ):
        told = await alice.evaluate(ASK, [path, method])
        assert told[:3] in ("401", "404", ""), (path, told)


async def test_cookie_that_script_plants_for_all_origins_signs_nobody_in_or_out(
    gateway: GatewayProcess, alice: Page
) -> None:
    await alice.evaluate(PLANT_COOKIE, "nb.localhost")
    assert await still_hers(alice, gateway, "second") == []
    await alice.goto(f"https://nb.localhost:{gateway.port}/")
    assert await alice.get_by_text("alice").first.is_visible()


async def evil_page(page: Page) -> None:
    """Open a page of another site."""

    async def answer(route: Route) -> None:
        await route.fulfill(content_type="text/html", body="<!doctype html><body>look at this")

    await page.route(f"{EVIL}/**", answer)
    await page.goto(f"{EVIL}/")


async def test_page_of_another_site_neither_reads_nor_changes_nor_connects(
    gateway: GatewayProcess, alice: Page
) -> None:
    own, main = (
        f"https://{host_of(gateway, 'demo-x-alice')}",
        f"https://nb.localhost:{gateway.port}",
    )
    before = kept(gateway, "demo-x-alice")
    await evil_page(alice)
    for url, method in (
        (f"{own}/api/contents", "GET"),
        (f"{own}/api/kernels", "POST"),
        (f"{main}/gateway/logout", "POST"),
    ):
        assert await alice.evaluate(ASK, [url, method]) == ""
        await alice.evaluate(ASK_BLINDLY, [url, method])
    socket = f"wss://{host_of(gateway, 'demo-x-alice')}/api/events/subscribe"
    assert await alice.evaluate(CONNECT, socket) == ""
    assert kept(gateway, "demo-x-alice") == before
    assert await still_hers(alice, gateway, "demo-x-alice") == []


@pytest.mark.parametrize(
    "where",
    ["notebook/api/kernels", "notebook/api/shutdown", "main/gateway/logout"],
)
async def test_form_of_another_site_that_is_posted_on_top_changes_nothing(
    gateway: GatewayProcess, alice: Page, where: str
) -> None:
    """A navigation brings the cookies of its goal along, whatever site began it.

    Without the session the answers would be others: 401 of a notebook, a redirect of signing out.
    """
    goal, _, path = where.partition("/")
    host = (
        host_of(gateway, "demo-x-alice") if goal == "notebook" else f"nb.localhost:{gateway.port}"
    )
    before = kept(gateway, "demo-x-alice")
    await evil_page(alice)
    async with alice.expect_navigation(url=f"https://{host}/**") as navigation:
        await alice.evaluate(POST_FORM, f"https://{host}/{path}")
    answer = await navigation.value
    assert answer is not None
    assert answer.status == 403
    assert kept(gateway, "demo-x-alice") == before
    assert await still_hers(alice, gateway, "demo-x-alice") == []


async def test_form_of_another_site_puts_back_and_stops_nothing_of_a_student(
    gateway: GatewayProcess,
) -> None:
    main, course = f"https://nb.localhost:{gateway.port}", "demo"
    link = f"{main}/ipythonExercice/{course}/first-steps.ipynb/mary"
    async with browser_page(FLAG, ignore_https_errors=True) as page:
        await page.goto(link)
        await page.wait_for_url("**/notebooks/first-steps.ipynb")
        slug = (urlsplit(page.url).hostname or "").partition(".")[0]
        await page.locator(".jp-Notebook .jp-Cell").first.wait_for()
        before = kept(gateway, slug)
        for path in (f"{link}?forcecopy=true", f"{main}/containerKill/{course}/mary"):
            await evil_page(page)
            async with page.expect_navigation(url=f"{main}/**") as navigation:
                await page.evaluate(POST_FORM, path)
            answer = await navigation.value
            assert answer is not None
            assert answer.status == 403
        assert kept(gateway, slug) == before
        await page.goto(link)
        await page.wait_for_url("**/notebooks/first-steps.ipynb")
        files = await page.evaluate("async () => await (await fetch('/api/contents')).text()")
        assert "kept-" not in files
