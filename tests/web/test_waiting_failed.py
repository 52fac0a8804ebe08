"""What a person is told of a start that failed, and the button that tries again."""

from __future__ import annotations

import pytest

from gateway.activation.progress import Phase
from gateway.errors import ImageMissing
from gateway.web.context import Pages
from tests.activation.conftest import World
from tests.proxy.harness import Rig
from tests.support.waiting import until
from tests.web.conftest import PAGE
from tests.web.person import Answer, Person, person


async def failed(world: World, alice: Person) -> Answer:
    """Let the start fail; return the page then."""
    await alice.get(PAGE)
    await until(lambda: world.activator.status("demo-x-alice").phase is Phase.FAILED)
    return await alice.get(PAGE)


async def test_failure_is_told_in_words_with_the_end_of_the_log(
    world: World, proxy: Rig, pages: Pages, slug: str
) -> None:
    world.spawner.dies = True
    async with person(proxy, pages) as alice:
        page = await failed(world, alice)
        assert (page.status, page.headers["Retry-After"]) == (503, "2")
        assert "The notebook did not start" in page.text
        assert "exit code 3" in page.text
        assert "the last line of its log" in page.text
        assert "http-equiv" not in page.text, "it does not start itself again"
        event = (await alice.get(f"/gateway/status/{slug}")).json
        assert event["failed"]
        assert event["log"] == "the last line of its log"


async def test_missing_image_is_named(world: World, proxy: Rig, pages: Pages, slug: str) -> None:
    world.spawner.failure = ImageMissing("course/python:1")
    async with person(proxy, pages) as alice:
        page = await failed(world, alice)
    assert "course/python:1" in page.text
    assert "not installed on the server" in page.text


async def test_button_tries_again_at_once(
    world: World, proxy: Rig, pages: Pages, slug: str
) -> None:
    world.spawner.dies = True
    async with person(proxy, pages) as alice:
        await failed(world, alice)
        world.spawner.dies = False
        foreign = await alice.post(f"/gateway/start/{slug}", Origin="http://elsewhere")
        assert foreign.status == 403
        answer = await alice.post(f"/gateway/start/{slug}", Accept="application/json")
        assert answer.json["phase"] in ("queued", "creating", "starting")
        await until(lambda: world.activator.status(slug).phase is Phase.READY)


@pytest.mark.parametrize(
    ("address", "location"),
    [
        ("/nb/demo-x-alice/lab%3Freset%26file%3Da", "/nb/demo-x-alice/lab?reset&file=a"),
        ("//evil.example/", "/nb/demo-x-alice/"),
        ("/nb/other/lab", "/nb/demo-x-alice/"),
        ("/nb/demo-x-alice/%0d%0aX: y", "/nb/demo-x-alice/"),
        ("/nb/demo-x-alice/%5c..", "/nb/demo-x-alice/"),
        ("", "/nb/demo-x-alice/"),
    ],
)
async def test_button_without_script_leads_back_to_the_address(
    world: World, proxy: Rig, pages: Pages, slug: str, address: str, location: str
) -> None:
    world.spawner.dies = True
    async with person(proxy, pages) as alice:
        page = await failed(world, alice)
        assert f'action="/gateway/start/{slug}"' in page.text
        assert 'value="/nb/demo-x-alice/lab?reset&amp;file=a%20b"' in page.text
        answer = await alice.post(f"/gateway/start/{slug}", f"address={address}")
    assert (answer.status, answer.headers["Location"]) == (303, location)
    assert world.activator.failure(slug) is None


async def test_french_readers_get_french(world: World, proxy: Rig, pages: Pages, slug: str) -> None:
    world.spawner.dies = True
    french = {"Accept_Language": "fr-CH, fr;q=0.9, en;q=0.5"}
    async with person(proxy, pages) as alice:
        page = await alice.get(PAGE, **french)
        assert '<html lang="fr">' in page.text
        await failed(world, alice)
        event = (await alice.get(f"/gateway/status/{slug}", **french)).json
        assert event["step"] == "Le notebook n'a pas démarré"
        assert (await alice.get("/gateway/nowhere", **french)).text.count("Il n&#39;y a rien ici")
