"""Signed links in a frame whose browser keeps no cookie there: the way on in a tab of its own."""

from __future__ import annotations

import re
from datetime import timedelta
from html import unescape

import pytest

from gateway.launch.tickets import Tickets
from gateway.notebooks.model import Links
from gateway.notebooks.names import notebook_slug
from tests.proxy.wire import Message
from tests.web.browser import Browser, location
from tests.web.doors import FILE, LINK, Entrance, course, entrance, mary, plain

__all__ = ["course", "entrance", "mary", "plain"]

FRAMED = {"Sec_Fetch_Dest": "iframe", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Site": "cross-site"}
CLICKED = {
    "Sec_Fetch_Dest": "document",
    "Sec_Fetch_Mode": "navigate",
    "Sec_Fetch_Site": "same-origin",
}
OWN = {"Origin": "http://h"}


def signed_slug(person: str) -> str:
    return notebook_slug("flotbioinfo", f"course/flotbioinfo:{person}")


async def in_frame(browser: Browser, link: str) -> Message:
    """Open a link in a frame of the LMS; return what is shown there, or where Jupyter is."""
    while True:
        answer = await browser.ask(link, **FRAMED)
        where = location(answer)
        if not where or where.startswith("/nb/"):
            return answer
        link = where


async def tab_of(entrance: Entrance, person: str = "mary") -> tuple[str, str]:
    """Return where a frame without cookies leads to, and the address of that frame."""
    framed = entrance.browser()
    framed.keeps_cookies = False
    first = await framed.ask(entrance.open_link(await entrance.key(), person), **FRAMED)
    page = await framed.ask(location(first), **FRAMED)
    assert page.status == 403
    found = re.search(rb'<a href="([^"]+)" target="_blank" rel="noopener">', page.body)
    assert found is not None
    return unescape(found[1].decode()), location(first)


async def test_tab_continues_the_session_of_the_frame(entrance: Entrance) -> None:
    tab, _ = await tab_of(entrance)
    browser = entrance.browser()
    answer = await browser.ask(tab, **CLICKED)
    assert (answer.status, location(answer)) == (303, LINK)
    assert list(browser.cookies) == ["nbgate-session~flotbioinfo"]
    ended = location(await browser.open(LINK))
    assert ended == f"/nb/{signed_slug('mary')}/notebooks/{FILE}"
    assert len({who.session for _, _, _, who in entrance.pages.table.tokens()}) == 1


async def test_frame_that_keeps_cookies_shows_no_page_and_its_ticket_is_void(
    entrance: Entrance,
) -> None:
    browser = entrance.browser()
    link = entrance.open_link(await entrance.key(), a="1 2")
    first = await browser.ask(link, **FRAMED)
    assert "nbgate-ticket=" in location(first)
    answer = await browser.ask(location(first), **FRAMED)
    assert location(answer) == f"/nb/{signed_slug('mary')}/notebooks/{FILE}?a=1%202"
    ticket = location(first).rpartition("nbgate-ticket=")[2]
    stolen = await entrance.browser().ask(f"/gateway/tab?nbgate-ticket={ticket}", **CLICKED)
    assert stolen.status == 410


async def test_link_in_a_tab_has_no_ticket(entrance: Entrance) -> None:
    link = entrance.open_link(await entrance.key())
    for headers in ({}, CLICKED):
        assert location(await entrance.browser().ask(link, **headers)) == LINK


async def test_ticket_is_taken_once(entrance: Entrance) -> None:
    tab, framed = await tab_of(entrance)
    await entrance.browser().ask(tab, **CLICKED)
    other = entrance.browser()
    assert (await other.ask(tab, **CLICKED)).status == 410
    assert not other.cookies
    # The frame that is loaded again leads to the tab that has the session.
    page = await other.ask(framed, **FRAMED)
    assert f'href="{LINK}" target="_blank"'.encode() in page.body


@pytest.mark.parametrize(
    "wrong",
    [
        FRAMED,
        CLICKED | {"Sec_Fetch_Dest": "iframe"},
        CLICKED | {"Sec_Fetch_Site": "cross-site"},
        CLICKED | {"Sec_Fetch_Site": "same-site"},
        CLICKED | {"Sec_Fetch_Site": "none"},
        CLICKED | {"Sec_Fetch_Mode": "no-cors", "Sec_Fetch_Dest": "image"},
        CLICKED | {"Sec_Purpose": "prefetch;prerender"},
    ],
)
async def test_ticket_that_is_sent_to_somebody_signs_nobody_in(
    entrance: Entrance, wrong: dict[str, str]
) -> None:
    tab, _ = await tab_of(entrance, "thief")
    victim = entrance.browser()
    assert (await victim.ask(tab, **wrong)).status == 403
    assert not victim.cookies
    # It was not taken either.
    assert (await entrance.browser().ask(tab, **CLICKED)).status == 303


async def test_another_persons_session_ends_by_a_button_alone(entrance: Entrance) -> None:
    browser = entrance.browser()
    await browser.open(entrance.open_link(await entrance.key(), "bob", name="Bob"))
    tab, _ = await tab_of(entrance)
    page = await browser.ask(tab, **CLICKED)
    assert (page.status, page.one(b"location")) == (200, None)
    assert b"this browser belongs to Bob" in page.body
    assert f'<form method="post" action="{tab}">'.encode() in page.body
    assert (await browser.ask(f"/gateway/status/{signed_slug('bob')}")).status == 200
    for headers in ({"Origin": "https://evil.example"}, {"Sec_Fetch_Site": "cross-site"}):
        assert (await browser.ask(tab, "POST", **headers)).status == 403
    done = await browser.ask(tab, "POST", **OWN)
    assert (done.status, location(done)) == (303, LINK)
    assert location(await browser.open(LINK)).split("/")[2] == signed_slug("mary")
    assert (await browser.ask(f"/gateway/status/{signed_slug('bob')}")).status == 404
    assert (await browser.ask(tab, "POST", **OWN)).status == 410


async def test_button_frees_no_id_of_a_plain_link(plain: Entrance, mary: Browser) -> None:
    tab, _ = await tab_of(plain, "thief")
    assert (await mary.ask(tab, **CLICKED)).status == 200
    assert (await mary.ask(tab, "POST", **OWN)).status == 303
    assert (await plain.browser().open(LINK)).status == 409


async def test_who_is_signed_in_as_that_person_keeps_their_session(entrance: Entrance) -> None:
    browser = entrance.browser()
    await browser.open(entrance.open_link(await entrance.key()))
    before = dict(browser.cookies)
    tab, _ = await tab_of(entrance)
    answer = await browser.ask(tab, **CLICKED)
    assert (location(answer), answer.all(b"set-cookie")) == (LINK, [])
    assert browser.cookies == before


async def test_ticket_dies_with_its_session_and_with_time(entrance: Entrance) -> None:
    tab, _ = await tab_of(entrance)
    (session,) = {who.session for _, _, _, who in entrance.pages.table.tokens()}
    await entrance.pages.sessions.revoke(session)
    for method, headers in (("GET", CLICKED), ("POST", OWN)):
        assert (await entrance.browser().ask(tab, method, **headers)).status == 410


@pytest.mark.parametrize("ticket", ["", "x", "%00", "é", "a" * 5000])
async def test_made_up_ticket_is_none(entrance: Entrance, ticket: str) -> None:
    browser = entrance.browser()
    for method, headers in (("GET", CLICKED), ("POST", OWN)):
        answer = await browser.ask(f"/gateway/tab?nbgate-ticket={ticket}", method, **headers)
        assert answer.status in (400, 410)
    assert not browser.cookies


async def test_ticket_in_a_plain_link_opens_nothing_and_goes_no_further(plain: Entrance) -> None:
    browser = plain.browser()
    page = await browser.ask(f"{LINK}?nbgate-ticket=x&a=1", **FRAMED)
    assert f'href="{LINK}?a=1" target="_blank"'.encode() in page.body
    await browser.open(LINK)
    ended = location(await browser.open(f"{LINK}?nbgate-ticket=x&a=1"))
    assert ended.endswith(f"notebooks/{FILE}?a=1")


async def test_ticket_that_a_link_has_signed_is_not_taken_for_ours(entrance: Entrance) -> None:
    key, browser = await entrance.key(), entrance.browser()
    link = entrance.open_link(key, "mary", **{"nbgate-ticket": "theirs"})
    first = location(await browser.ask(link, **FRAMED))
    assert first.count("nbgate-ticket=") == 1
    assert "theirs" not in first


async def test_signed_person_is_not_the_plain_one_of_that_name(plain: Entrance) -> None:
    """A course that takes both: without its cookie the frame must not begin as a plain id."""
    tab, _ = await tab_of(plain)
    browser = plain.browser()
    await browser.ask(tab, **CLICKED)
    assert location(await browser.open(LINK)).split("/")[2] == signed_slug("mary")


async def test_frame_of_a_course_that_wants_signed_links_offers_a_tab(entrance: Entrance) -> None:
    await entrance.world.catalogue.update_project("flotbioinfo", links=Links.SIGNED)
    page = await entrance.browser().ask(LINK, **FRAMED)
    assert page.status == 401
    assert f'href="{LINK}" target="_blank"'.encode() in page.body
    assert b"target=" not in (await entrance.browser().ask(LINK, **CLICKED)).body


async def test_ticket_is_looked_at_without_being_taken(entrance: Entrance) -> None:
    clock = entrance.clock
    tickets = Tickets(entrance.ways.bindings._database, clock)
    ticket = await tickets.issue("tab", "mary", "h", "/x", 60.0)
    assert await tickets.look(ticket, "login", "h") is None
    assert await tickets.look(ticket, "tab", "other") is None
    assert await tickets.look(ticket, "tab", "H") == await tickets.redeem(ticket, "tab", "h")
    ticket = await tickets.issue("tab", "mary", "h", "/x", 60.0)
    clock.now += timedelta(seconds=61)
    assert await tickets.look(ticket, "tab", "h") is None


@pytest.mark.parametrize("onward", ["/%09/evil.example", "//evil.example", "/%0A%5Cevil.example"])
async def test_tab_to_sign_in_leads_nowhere_else(entrance: Entrance, onward: str) -> None:
    """Browsers drop tabs and line ends in addresses."""
    answer = await entrance.browser().ask(f"/gateway/login?next={onward}", **FRAMED)
    assert answer.status == 401
    assert b'<a href="/" target="_blank"' in answer.body


@pytest.mark.parametrize("wanted", ["http://[", "http://[x]/", "", "//", "http://h\\"])
async def test_what_is_no_notebooks_address_is_no_fault_of_ours(
    plain: Entrance, mary: Browser, wanted: str
) -> None:
    await mary.open(LINK)
    answer = await mary.ask(f"/gateway/authorize?state=x&next={wanted}")
    assert answer.status == 404
