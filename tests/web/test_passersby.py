"""Courses that anybody may try: a space per session, and a bound on how many there are."""

from __future__ import annotations

import asyncio

import pytest

from gateway.launch.deeplinks import is_passer_by
from gateway.web.door import MOST_PASSERS_BY
from tests.web.browser import location
from tests.web.doors import FILE, Entrance, course, entrance, plain

__all__ = ["course", "entrance", "plain"]

TRY = "/gateway/try/flotbioinfo"


@pytest.fixture
async def free(entrance: Entrance) -> Entrance:
    """Anybody may try flotbioinfo."""
    await entrance.world.catalogue.update_project("flotbioinfo", anonymous=True)
    return entrance


def passers_by(entrance: Entrance) -> list[str]:
    return [book.slug for book in entrance.world.catalogue.notebooks() if is_passer_by(book.owner)]


async def test_each_browser_gets_a_space_of_its_own_and_keeps_it(free: Entrance) -> None:
    one, other = free.browser(), free.browser()
    places = [location(await browser.open(TRY)) for browser in (one, other, one)]
    assert places[0] == places[2] != places[1]
    assert places[0].startswith("/nb/")
    assert len(passers_by(free)) == 2


async def test_a_notebook_of_the_course_is_opened(free: Entrance) -> None:
    place = location(await free.browser().open(f"{TRY}/{FILE}"))
    assert place.endswith(f"/notebooks/{FILE}")


async def test_course_that_does_not_allow_it_looks_like_none(entrance: Entrance) -> None:
    for path in (TRY, "/gateway/try/nothing", "/gateway/try/flotpython"):
        assert (await entrance.browser().ask(path)).status == 404
    assert passers_by(entrance) == []


async def test_who_keeps_no_cookie_takes_no_place(free: Entrance) -> None:
    browser = free.browser()
    browser.keeps_cookies = False
    assert (await browser.open(TRY)).status == 403
    assert passers_by(free) == []


async def test_one_too_many_is_told_to_come_later_by_links_too(free: Entrance) -> None:
    first = free.browser()
    for browser in (first, *(free.browser() for _ in range(MOST_PASSERS_BY - 1))):
        assert location(await browser.open(TRY)).startswith("/nb/")
    full = await free.browser().open(TRY)
    assert (full.status, bool(full.one(b"retry-after"))) == (429, True)
    assert location(await first.open(TRY)).startswith("/nb/"), "who is there stays"
    assert len(passers_by(free)) == MOST_PASSERS_BY
    assert free.counted["anonymous", "full"] == 1


async def test_place_is_free_when_session_and_notebook_have_ended(free: Entrance) -> None:
    browsers = [free.browser() for _ in range(MOST_PASSERS_BY)]
    slugs = [location(await browser.open(TRY)).split("/")[2] for browser in browsers]
    newcomer, world, sessions = free.browser(), free.world, free.pages.sessions
    assert (await newcomer.open(TRY)).status == 429
    await sessions.revoke_all(world.catalogue.notebook(slugs[0]).owner)
    assert (await newcomer.open(TRY)).status == 429, "the files are still there"
    await world.lifecycle.delete(slugs[0], purge_space=True)
    assert location(await newcomer.open(TRY)).startswith("/nb/")
    assert (await free.browser().open(TRY)).status == 429


async def test_who_comes_in_vain_costs_no_look_at_everybody(
    free: Entrance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a course of a hundred thousand that would hold everybody up, at each request."""
    for _ in range(MOST_PASSERS_BY):
        await free.browser().open(TRY)

    def walked(*_: object, **__: object) -> None:
        raise AssertionError("everybody was looked at")

    monkeypatch.setattr(free.world.catalogue, "notebooks", walked)
    monkeypatch.setattr(free.pages.table, "tokens", walked)
    assert (await free.browser().open(TRY)).status == 429


@pytest.mark.parametrize("path", [TRY, "/gateway/open/flotbioinfo/student"])
async def test_of_many_at_once_no_more_come_in_than_there_are_places(
    plain: Entrance, path: str
) -> None:
    await plain.world.catalogue.update_project("flotbioinfo", anonymous=True)
    for _ in range(MOST_PASSERS_BY - 1):
        await plain.browser().open(TRY)
    answers = await asyncio.gather(*(plain.browser().open(path) for _ in range(8)))
    assert sum(answer.status == 429 for answer in answers) == 7
    assert len(passers_by(plain)) == MOST_PASSERS_BY
