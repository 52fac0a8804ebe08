"""Plain links whose ids are made up: a course takes so many new ones in an hour."""

from __future__ import annotations

import pytest

from gateway.launch.deeplinks import is_passer_by
from gateway.web.door import MOST_PASSERS_BY
from tests.web.browser import Browser, location
from tests.web.doors import LINK, MOST_NEW, Entrance, course, entrance, mary, plain

__all__ = ["course", "entrance", "mary", "plain"]

OWN = {"Origin": "http://h"}


def link_of(student: str) -> str:
    return LINK.replace("mary", student)


@pytest.fixture
async def crowd(plain: Entrance, mary: Browser) -> list[Browser]:
    """Whoever else came before there was no room left."""
    browsers = [plain.browser() for _ in range(MOST_NEW - 1)]
    for number, browser in enumerate(browsers):
        assert location(await browser.open(link_of(f"made-up-{number}"))).startswith("/nb/")
    return browsers


async def test_one_too_many_is_told_to_come_later(
    plain: Entrance, mary: Browser, crowd: list[Browser]
) -> None:
    books = len(plain.world.catalogue.notebooks())
    for language, words in (("en", "first time"), ("fr", "première fois")):
        late = plain.browser()
        await late.ask(link_of("bob"))
        page = await late.ask(link_of("bob"), Accept_Language=language)
        assert (page.status, page.one(b"retry-after")) == (429, b"3600")
        assert words in page.body.decode()
    assert len(plain.world.catalogue.notebooks()) == books
    assert len(plain.pages.table.ids()) == MOST_NEW
    assert plain.counted["plain", "full"] == 2
    elsewhere = link_of("bob").replace("flotbioinfo", "flotpython")
    assert location(await plain.browser().open(elsewhere)).startswith("/nb/"), "another course"


async def test_id_that_has_its_session_is_never_refused(
    plain: Entrance, mary: Browser, crowd: list[Browser]
) -> None:
    for browser, student in (
        (mary, "mary"),
        *((one, f"made-up-{n}") for n, one in enumerate(crowd)),
    ):
        assert location(await browser.open(link_of(student))).startswith("/nb/")
    assert (await plain.browser().open(LINK)).status == 409, "somebody's, and told so"


async def test_id_whose_session_has_ended_comes_back_to_its_notebook(
    plain: Entrance, mary: Browser, crowd: list[Browser]
) -> None:
    plain.clock.advance(3599)
    for student in ("mary", "made-up-0"):
        session = await plain.ways.bindings.holder("flotbioinfo", student)
        assert session is not None
        await plain.pages.sessions.revoke(session)
    assert (await plain.browser().open(link_of("bob"))).status == 429
    assert location(await plain.browser().open(LINK)).startswith("/nb/")


async def test_there_is_room_again_when_the_hour_is_over(
    plain: Entrance, mary: Browser, crowd: list[Browser]
) -> None:
    late = plain.browser()
    assert (await late.open(link_of("bob"))).status == 429
    plain.clock.advance(3600)
    assert location(await late.open(link_of("bob"))).startswith("/nb/")


async def test_button_is_under_the_same_limit(
    plain: Entrance, mary: Browser, crowd: list[Browser]
) -> None:
    button = f"{link_of('bob')}?nbgate-instead=1"
    assert (await mary.ask(button, "POST", **OWN)).status == 429
    assert location(await mary.open(LINK)).startswith("/nb/"), "mary is mary still"
    plain.clock.advance(3600)
    assert (await mary.ask(button, "POST", **OWN)).status == 303


async def test_studios_student_is_under_the_limit_of_passers_by(plain: Entrance) -> None:
    link, first = link_of("student"), plain.browser()
    for browser in (first, *(plain.browser() for _ in range(MOST_PASSERS_BY - 1))):
        assert location(await browser.open(link)).startswith("/nb/")
    full = await plain.browser().open(link)
    assert (full.status, full.one(b"retry-after")) == (429, b"300")
    assert location(await first.open(link)).startswith("/nb/"), "who is there stays"
    here = [book for book in plain.world.catalogue.notebooks() if is_passer_by(book.owner)]
    assert len(here) == MOST_PASSERS_BY
    assert plain.counted["anonymous", "full"] == 1
    assert location(await plain.browser().open(LINK)).startswith("/nb/"), "who has an id comes in"
    await plain.world.catalogue.update_project("flotbioinfo", anonymous=True)
    assert (await plain.browser().open("/gateway/try/flotbioinfo")).status == 429, (
        "counted together"
    )
