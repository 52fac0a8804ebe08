"""Plain links, as courses on FUN and Moodle hold them, at the real pages."""

from __future__ import annotations

import asyncio
from urllib.parse import quote

import pytest

from gateway.launch.deeplinks import is_passer_by
from gateway.notebooks.model import LinkPage, Links
from gateway.notebooks.names import notebook_slug
from tests.proxy.wire import Message
from tests.web.browser import Browser, location
from tests.web.doors import FILE, LINK, Entrance, course, entrance, mary, plain

__all__ = ["course", "entrance", "mary", "plain"]

OWN = {"Origin": "http://h"}


def slug_of(student: str, project: str = "flotbioinfo") -> str:
    return notebook_slug(project, f"plain/{project}:{student}")


def ended(answer: Message) -> str:
    """Return the path below the notebook where a link ended."""
    where = location(answer)
    assert where.startswith("/nb/"), (answer.status, answer.body)
    return where.split("/", 3)[3]


@pytest.mark.parametrize(
    ("path", "page"),
    [
        (LINK, f"notebooks/{FILE}"),
        (LINK + "/", f"notebooks/{FILE}"),
        (f"/ipythonExercice/flotbioinfo/{FILE}.ipynb/mary", f"notebooks/{FILE}"),
        (f"/ipythonExercice/flotbioinfo/{FILE[:-6]}/mary", f"notebooks/{FILE}"),
        (f"/notebookLazyCopy/flotbioinfo/{FILE}/mary", f"notebooks/{FILE}"),
        (f"/ipythonExercice/flotbioinfo/{FILE.replace('/', '%2F')}/mary", f"notebooks/{FILE}"),
        (f"/ipythonExercice/flotbioinfo/{FILE.replace('/', '%2f')}/mary/", f"notebooks/{FILE}"),
        (f"/ipythonExercice/FlotBioInfo/{FILE}/mary", f"notebooks/{FILE}"),
        (f"/notebookGitRepo/flotbioinfo/{FILE}/mary", f"notebooks/{FILE}"),
        (f"/gateway/open/flotbioinfo/{FILE}/mary", f"notebooks/{FILE}"),
        ("/gateway/open/flotbioinfo/mary", "tree"),
        (
            "/ipythonExercice/flotbioinfo/w1/with%20blank.ipynb/mary",
            "notebooks/w1/with%20blank.ipynb",
        ),
        ("/ipythonExercice/flotbioinfo/w1/script.py.ipynb/mary", "edit/w1/script.py"),
        ("/ipythonExercice/flotbioinfo/w1/script/mary", "edit/w1/script.py"),
        ("/ipythonExercice/flotbioinfo/w1/text.ipynb/mary", "edit/w1/text.md"),
        (LINK + "?reset&a=b%20c", f"notebooks/{FILE}?reset=&a=b%20c"),
        (LINK + "?token=stolen", f"notebooks/{FILE}"),
        (LINK + "?forcecopy=", f"notebooks/{FILE}"),
        ("/ipythonForward/flotbioinfo/mary/tree", "tree"),
        ("/ipythonForward/flotbioinfo/mary/lab/tree/w1?reset=1", "lab/tree/w1?reset=1"),
        (
            "/ipythonForward/flotbioinfo/mary/git-pull?repo=https://x.org/r&a=1",
            "git-pull?repo=https%3A%2F%2Fx.org%2Fr&a=1",
        ),
    ],
)
async def test_every_shape_ends_on_its_page(plain: Entrance, path: str, page: str) -> None:
    answer = await plain.browser().open(path)
    assert ended(answer) == page
    assert location(answer).split("/")[2] == slug_of("mary")
    assert plain.counted == {("plain", "opened"): 1}


async def test_course_decides_for_lab(plain: Entrance) -> None:
    await plain.world.catalogue.update_project("flotbioinfo", links_page=LinkPage.LAB)
    assert ended(await plain.browser().open(LINK)) == f"lab/tree/{FILE}"
    assert ended(await plain.browser().open("/gateway/open/flotbioinfo/bob")) == "lab"


@pytest.mark.parametrize("links", [Links.OFF, Links.SIGNED])
async def test_course_that_allows_no_plain_links_opens_nothing(
    entrance: Entrance, links: Links
) -> None:
    await entrance.world.catalogue.update_project("flotbioinfo", links=links)
    answer = await entrance.browser().ask(LINK)
    assert answer.status == (404 if links is Links.OFF else 401)
    assert not answer.all(b"set-cookie")
    assert not entrance.world.catalogue.notebooks()


async def test_course_without_links_looks_like_none(entrance: Entrance) -> None:
    await entrance.world.catalogue.update_project("flotbioinfo", links=Links.OFF)
    told = {
        (await entrance.browser().ask(path, X_Request_ID="r")).body
        for path in (
            LINK,
            LINK.replace("flotbioinfo", "no-such"),
            "/ipythonExercice/x",
            "/auditor/x",
        )
    }
    assert len(told) == 1


async def test_file_that_came_later_is_copied_when_it_is_opened(
    plain: Entrance, mary: Browser
) -> None:
    (plain.course / "w2").mkdir()
    (plain.course / "w2" / "new.ipynb").write_text("of the course")
    answer = await mary.open("/ipythonExercice/flotbioinfo/w2/new.ipynb/mary")
    assert ended(answer) == "notebooks/w2/new.ipynb"
    copied = plain.world.spaces.path(slug_of("mary")) / "w2" / "new.ipynb"
    assert copied.read_text() == "of the course"


async def test_id_is_the_first_browsers(plain: Entrance, mary: Browser) -> None:
    other = plain.browser()
    answer = await other.open(LINK)
    assert answer.status == 409
    assert b"another browser" in answer.body
    assert not [name for name in other.cookies if name != "nbgate-state"]
    assert ended(await mary.open(LINK)) == f"notebooks/{FILE}"
    assert plain.counted["plain", "taken"] == 1
    assert (await other.ask(f"/gateway/status/{slug_of('mary')}")).status == 404


async def test_id_that_is_released_is_the_next_browsers(plain: Entrance, mary: Browser) -> None:
    assert await plain.ways.release("flotbioinfo", "mary")
    assert (await mary.ask(f"/gateway/status/{slug_of('mary')}")).status == 404
    other = plain.browser()
    assert ended(await other.open(LINK)) == f"notebooks/{FILE}"
    assert (await mary.open(LINK)).status == 409


async def test_id_is_free_when_its_browser_has_signed_out(plain: Entrance, mary: Browser) -> None:
    await mary.ask("/gateway/logout", "POST", **OWN)
    assert ended(await plain.browser().open(LINK)) == f"notebooks/{FILE}"


async def test_several_frames_of_one_page_open_at_once(plain: Entrance) -> None:
    browser = plain.browser()
    answers = await asyncio.gather(*(browser.open(LINK) for _ in range(4)))
    assert {ended(answer) for answer in answers} == {f"notebooks/{FILE}"}
    assert (await browser.ask(f"/gateway/status/{slug_of('mary')}")).status == 200


async def test_two_courses_know_one_browser_by_two_ids(plain: Entrance, mary: Browser) -> None:
    other = LINK.replace("flotbioinfo", "flotpython").replace("/mary", "/x7")
    await mary.open(other)
    for path, slug in ((LINK, slug_of("mary")), (other, slug_of("x7", "flotpython"))):
        assert location(await mary.open(path)).split("/")[2] == slug
        assert (await mary.ask(f"/gateway/status/{slug}")).status == 200


async def test_id_of_one_course_is_nobody_in_another(plain: Entrance, mary: Browser) -> None:
    other = LINK.replace("flotbioinfo", "flotpython")
    owner, thief = plain.browser(), plain.browser()
    await owner.open(other)
    await thief.open(LINK.replace("mary", "thief"))
    assert (await mary.open(other)).status == 409
    assert (await mary.ask(f"/gateway/status/{slug_of('mary', 'flotpython')}")).status == 404


@pytest.mark.parametrize("student", ["bob", "student"])
async def test_link_that_somebody_is_made_to_follow_gives_their_id_to_nobody(
    plain: Entrance, mary: Browser, student: str
) -> None:
    page = await mary.open(LINK.replace("mary", student) + "?forcecopy=1")
    assert (page.status, page.one(b"location")) == (200, None)
    assert b"this browser belongs to mary" in page.body
    assert (await plain.browser().open(LINK)).status == 409
    assert ended(await mary.open(LINK)) == f"notebooks/{FILE}"


async def test_signed_link_that_somebody_is_made_to_follow_gives_their_id_to_nobody(
    plain: Entrance, mary: Browser
) -> None:
    await mary.open(plain.open_link(await plain.key(), "thief"))
    assert (await plain.browser().open(LINK)).status == 409


async def test_browser_takes_another_id_by_a_button(plain: Entrance, mary: Browser) -> None:
    bob = LINK.replace("mary", "bob")
    page = await mary.open(bob + "?a=1")
    assert f'action="{bob}?a=1&amp;nbgate-instead=1"'.encode() in page.body
    for headers in ({"Origin": "https://evil.example"}, {"Sec_Fetch_Site": "cross-site"}):
        refused = await mary.ask(f"{bob}?nbgate-instead=1", "POST", **headers)
        assert refused.status == 403
    assert (await mary.ask(f"/gateway/status/{slug_of('mary')}")).status == 200
    done = await mary.ask(f"{bob}?a=1&nbgate-instead=1", "POST", **OWN)
    assert (done.status, location(done)) == (303, f"{bob}?a=1")
    assert location(await mary.open(bob)).split("/")[2] == slug_of("bob")
    assert (await mary.ask(f"/gateway/status/{slug_of('mary')}")).status == 404
    assert ended(await plain.browser().open(LINK)) == f"notebooks/{FILE}"


async def test_same_button_of_another_frame_resets_and_stops_nothing(
    plain: Entrance, mary: Browser
) -> None:
    path = plain.world.spaces.path(slug_of("mary")) / FILE
    path.write_text("mine")
    await plain.world.activator.ensure(slug_of("mary"))
    for link in (LINK, "/containerKill/flotbioinfo/mary"):
        answer = await mary.ask(f"{link}?forcecopy=1&nbgate-instead=1", "POST", **OWN)
        assert answer.status == 303
    assert path.read_text() == "mine"
    assert plain.world.catalogue.notebook(slug_of("mary")).container_id is not None


async def test_nobody_takes_an_id_by_the_button_that_they_could_not_by_the_link(
    plain: Entrance, mary: Browser
) -> None:
    other, button = plain.browser(), f"{LINK}?nbgate-instead=1"
    assert (await other.ask(button, "POST", **OWN)).status == 401
    await other.open(LINK.replace("mary", "bob"))
    assert (await other.open(LINK)).status == 409
    assert (await other.ask(button, "POST", **OWN)).status == 409
    await plain.world.catalogue.update_project("flotbioinfo", links=Links.SIGNED)
    assert (await other.ask(button.replace("mary", "x"), "POST", **OWN)).status == 401


async def test_browser_that_keeps_no_cookies_takes_no_id(plain: Entrance) -> None:
    framed = plain.browser()
    framed.keeps_cookies = False
    answer = await framed.open(LINK + "?a=1")
    assert answer.status == 403
    assert f'href="{LINK}?a=1" target="_blank"'.encode() in answer.body
    assert not plain.world.catalogue.notebooks()
    assert ended(await plain.browser().open(LINK)) == f"notebooks/{FILE}"


async def test_browser_that_loses_its_session_cookie_does_not_go_round(plain: Entrance) -> None:
    for student in ("mary", "student"):
        browser = plain.browser()
        browser.cookies["nbgate-state"] = "x"
        browser.keeps_cookies = False
        answer = await browser.open(LINK.replace("mary", student))
        assert answer.status in (403, 409)


async def test_studios_student_gets_a_space_for_the_session(plain: Entrance) -> None:
    link = LINK.replace("mary", "student")
    first, second = plain.browser(), plain.browser()
    slugs = [location(await one.open(link)).split("/")[2] for one in (first, second)]
    assert slugs[0] != slugs[1]
    assert location(await first.open(link)).split("/")[2] == slugs[0]
    owners = [plain.world.catalogue.notebook(slug).owner for slug in slugs]
    assert all(map(is_passer_by, owners))
    assert (await first.ask(f"/gateway/status/{slugs[1]}")).status == 404


@pytest.mark.parametrize("student", ["student~1", "a:b", "-x", "a b", "x" * 129, "é ", "a@b"])
async def test_plain_link_names_nobody_else(plain: Entrance, student: str) -> None:
    answer = await plain.browser().open(LINK.replace("mary", quote(student)))
    assert answer.status == 404
    assert not plain.world.catalogue.notebooks()


async def test_plain_id_is_never_a_person_of_another_way_in(plain: Entrance) -> None:
    await plain.world.catalogue.open_for("flotbioinfo", "mary")
    signed = plain.browser()
    await signed.open(plain.open_link(await plain.key()))
    await plain.browser().open(LINK)
    owners = {book.owner for book in plain.world.catalogue.notebooks("flotbioinfo")}
    assert owners == {"mary", "course/flotbioinfo:mary", "plain/flotbioinfo:mary"}


async def test_signed_link_counts_where_plain_ones_are_allowed(
    plain: Entrance, mary: Browser
) -> None:
    """The plain id is somebody else's: who can sign need not care."""
    signed = plain.browser()
    answer = await signed.open(plain.open_link(await plain.key()))
    assert location(answer).split("/")[2] == notebook_slug("flotbioinfo", "course/flotbioinfo:mary")


@pytest.mark.parametrize("value", ["true", "1", "false", "0", "no"])
async def test_reset_by_a_link_is_a_button(plain: Entrance, mary: Browser, value: str) -> None:
    path = plain.world.spaces.path(slug_of("mary")) / FILE
    path.write_text("mine")
    page = await mary.open(f"{LINK}?forcecopy={value}")
    assert page.status == 200
    assert f'<form method="post" action="{LINK}?forcecopy={value}">'.encode() in page.body
    assert path.read_text() == "mine"
    done = await mary.ask(f"{LINK}?forcecopy={value}", "POST", **OWN)
    assert done.status == 200
    assert f'href="{LINK}"'.encode() in done.body
    assert path.read_text() != "mine"
    (kept,) = [one for one in path.parent.iterdir() if ".kept-" in one.name]
    assert kept.read_text() == "mine"
    assert kept.name.encode() in done.body


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec_Fetch_Site": "cross-site"}],
)
async def test_another_sites_page_resets_and_stops_nothing(
    plain: Entrance, mary: Browser, headers: dict[str, str]
) -> None:
    path = plain.world.spaces.path(slug_of("mary")) / FILE
    path.write_text("mine")
    for link in (f"{LINK}?forcecopy=true", "/containerKill/flotbioinfo/mary"):
        assert (await mary.ask(link, "POST", **headers)).status == 403
    assert path.read_text() == "mine"


async def test_nobody_resets_or_stops_without_a_session(plain: Entrance, mary: Browser) -> None:
    for link in (f"{LINK}?forcecopy=true", "/containerKill/flotbioinfo/mary"):
        assert (await plain.browser().ask(link, "POST", **OWN)).status == 401


async def test_stop_by_a_link_is_a_button(plain: Entrance, mary: Browser) -> None:
    slug = slug_of("mary")
    await plain.world.activator.ensure(slug)
    page = await mary.open("/containerKill/flotbioinfo/mary")
    assert b'<form method="post" action="/containerKill/flotbioinfo/mary">' in page.body
    assert plain.world.catalogue.notebook(slug).container_id is not None
    done = await mary.ask("/containerKill/flotbioinfo/mary", "POST", **OWN)
    assert done.status == 200
    assert plain.world.catalogue.notebook(slug).container_id is None


@pytest.mark.parametrize(
    "path",
    [
        "/ipythonExercice",
        "/ipythonExercice/",
        "/ipythonExercice/flotbioinfo",
        "/ipythonExercice/flotbioinfo/mary",
        "/ipythonForward/flotbioinfo",
        "/containerKill/flotbioinfo/mary/x",
        "/ipythonStaticNotebook/flotbioinfo",
        "/gateway/open/flotbioinfo",
        "/auditor/notebook",
        "/ipythonexercice/flotbioinfo/x/mary",
    ],
)
async def test_what_is_no_link_is_no_page(plain: Entrance, path: str) -> None:
    assert (await plain.browser().ask(path)).status == 404


async def test_other_methods_are_refused(plain: Entrance) -> None:
    for method in ("PUT", "DELETE", "HEAD", "OPTIONS"):
        assert (await plain.browser().ask(LINK, method)).status == 405
