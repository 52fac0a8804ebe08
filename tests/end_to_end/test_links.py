"""Links of an LMS through a real gateway: signed and plain, cold and hot, by path and by host."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest

from gateway.notebooks.names import notebook_slug
from tests.end_to_end.conftest import add_linked_courses
from tests.support.browser import browser_page, run_first_cell
from tests.support.gateway import ROOT, GatewayProcess, running_by

FILE = "first-steps.ipynb"


@pytest.fixture(scope="module", params=["path", "host"])
def gateway(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    with running_by(request.param, tmp_path_factory.mktemp("links") / "state") as process:
        add_linked_courses(process, ROOT / "examples" / "demo")
        yield process


@pytest.mark.browser
async def test_signed_link_opens_a_notebook_that_works(gateway: GatewayProcess) -> None:
    link = gateway.nbgate("link", "sign", "signed", FILE, "--person", "mary", "--once")
    slug = notebook_slug("signed", "course/signed:mary")
    gateway.nbgate("project", "update", "signed", "--links-page", "lab")
    async with browser_page() as page:
        await page.goto(link)
        await run_first_cell(page, "5050")
        assert slug in page.url
        assert "sig=" not in page.url
        again = await page.goto(f"{gateway.origin}/ipythonExercice/signed/{FILE}/mary")
        assert again is not None
        assert again.status == 200, "hot, by the session"
        assert urlsplit(page.url).path.endswith(f"/lab/tree/{FILE}")
        used = await page.goto(link)
        assert used is not None
        assert used.status == 410


@pytest.mark.browser
async def test_plain_link_opens_the_page_of_the_notebook(gateway: GatewayProcess) -> None:
    link = f"{gateway.origin}/ipythonExercice/plain/{FILE}.ipynb/mary"
    async with browser_page() as page:
        await page.goto(link)
        await page.wait_for_url(f"**/notebooks/{FILE}")
        await page.locator(".jp-Notebook .jp-Cell").first.wait_for()
        assert notebook_slug("plain", "plain/plain:mary") in page.url
    async with browser_page() as other:
        answer = await other.goto(link)
        assert answer is not None
        assert answer.status == 409


async def test_links_are_counted(gateway: GatewayProcess) -> None:
    headers = {"Host": urlsplit(gateway.origin).netloc, "Accept": "text/html"}
    async with aiohttp.ClientSession() as client:
        url = f"{gateway.url}/gateway/open/signed/{FILE}/mary?kid=k1&exp=1&sig=" + "0" * 64
        async with client.get(url, headers=headers) as answer:
            assert answer.status == 403
        async with client.get(f"{gateway.management_url}/gateway/metrics") as answer:
            text = await answer.text()
    assert 'nbgate_links_total{kind="signed",result="forged"}' in text


def test_log_has_no_secret(gateway: GatewayProcess, tmp_path: Path) -> None:
    link = gateway.nbgate("link", "sign", "signed", FILE, "--person", "mary")
    assert link.partition("sig=")[2]
    log = gateway.log.read_text()
    assert "sig=" not in log
    assert "exp=" not in log


@pytest.mark.parametrize("name", ["signed", "plain"])
def test_every_link_of_a_course_is_printed_and_tried(gateway: GatewayProcess, name: str) -> None:
    printed = gateway.nbgate("project", "links", name).splitlines()
    assert f"{gateway.origin}/ipythonExercice/{name}/{FILE}/%%USER_ID%%" in printed
    checked = gateway.run("project", "links", name, "--check", "--static")
    lines = checked.stdout.splitlines()
    assert len(lines) == len(printed)
    assert checked.returncode == 0, checked
    assert f"{FILE}: ok" in lines
