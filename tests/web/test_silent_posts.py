"""What asks for a change and sends neither Origin nor Sec-Fetch-Site is no page of ours."""

from __future__ import annotations

import pytest

from gateway.notebooks.names import notebook_slug
from gateway.web import build_pages
from tests.web.browser import Browser
from tests.web.doors import FILE, LINK, Entrance, course, entrance, mary, plain

__all__ = ["course", "entrance", "mary", "plain"]

OWN = {"Origin": "http://h"}
SLUG = notebook_slug("flotbioinfo", "plain/flotbioinfo:mary")
BUTTONS = [
    "/gateway/logout",
    "/gateway/tab?nbgate-ticket=x",
    f"/gateway/home/start/{SLUG}",
    f"/gateway/start/{SLUG}",
    f"/gateway/stop/{SLUG}",
    f"/gateway/keep/{SLUG}",
    "/containerKill/flotbioinfo/mary",
    f"{LINK}?forcecopy=true",
    f"{LINK.replace('mary', 'bob')}?nbgate-instead=1",
]


@pytest.mark.parametrize("path", BUTTONS)
async def test_post_without_origin_and_fetch_metadata_changes_nothing(
    plain: Entrance, mary: Browser, path: str
) -> None:
    file = plain.world.spaces.path(SLUG) / FILE
    file.write_text("mine")
    await plain.world.activator.ensure(SLUG)
    assert (await mary.ask(path, "POST")).status == 403
    assert (await mary.ask(path, "POST", Origin="")).status == 403
    assert file.read_text() == "mine"
    assert plain.world.catalogue.notebook(SLUG).container_id is not None
    assert (await mary.ask(f"/gateway/status/{SLUG}")).status == 200, "signed in still"
    assert (await mary.ask(path, "POST", **OWN)).status != 403
    assert (await mary.ask(path, "POST", Sec_Fetch_Site="same-origin")).status != 403


async def test_each_page_that_takes_a_post_is_among_them(plain: Entrance) -> None:
    app = build_pages(plain.pages)
    posts = [route.resource for route in app.router.routes() if route.method == "POST"]
    paths = {one.canonical.replace("{slug}", SLUG) for one in posts if one is not None}
    assert paths
    assert paths <= {button.partition("?")[0] for button in BUTTONS}
