"""Who may frame pages: the sites of their project, where it is known and no secret."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest

from gateway.notebooks.model import Links, Notebook
from tests.proxy.wire import Message
from tests.web.browser import Browser, location
from tests.web.doors import LINK, Entrance, course, entrance, mary, plain

__all__ = ["course", "entrance", "mary", "plain"]

LMS = "https://lms.example.org"
DEFAULT = "frame-ancestors 'self'"
OURS = f"frame-ancestors 'self' {LMS}"


def framed_by(answer: Message) -> str:
    (policy,) = answer.all(b"content-security-policy")
    return policy.decode().rpartition("; ")[2]


@pytest.fixture(autouse=True)
async def ancestors(entrance: Entrance) -> None:
    await entrance.world.catalogue.update_project("flotbioinfo", frame_ancestors=(LMS,))


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (LINK, 401),
        (LINK + "?kid=k0&exp=1&sig=" + "0" * 64, 403),
        ("/ipythonExercice/flotbioinfo/no/such/mary", 401),
        ("/ipythonStaticNotebook/flotbioinfo/no-such", 401),
        ("/gateway/open/flotbioinfo/mary", 401),
    ],
)
async def test_pages_of_a_courses_links_are_the_courses(
    entrance: Entrance, path: str, status: int
) -> None:
    answer = await entrance.browser().ask(path)
    assert (answer.status, framed_by(answer)) == (status, OURS)
    other = await entrance.browser().ask(path.replace("flotbioinfo", "flotpython"))
    assert framed_by(other) == DEFAULT


async def test_what_is_too_long_for_a_slug_is_not_taken_apart(entrance: Entrance) -> None:
    """Anybody can ask for it: with thousands of hyphens each course it might name took seconds."""
    longest = "flotbioinfo-x-" + "a" * 49
    for slug, told in (
        (longest, OURS),
        (longest + "a", DEFAULT),
        ("flotbioinfo" + "-a" * 3000, DEFAULT),
    ):
        assert framed_by(await entrance.browser().ask(f"/nb/{slug}/lab")) == told


async def test_change_is_in_force_at_once(entrance: Entrance) -> None:
    for own, told in (((), DEFAULT), (("http://x:*",), f"{DEFAULT} http://x:*"), (None, DEFAULT)):
        await entrance.world.catalogue.update_project("flotbioinfo", frame_ancestors=own)
        assert framed_by(await entrance.browser().ask(LINK)) == told


async def test_page_of_no_project_is_the_installations(entrance: Entrance) -> None:
    for path in ("/", "/gateway/login?ticket=x", "/no-such", "/gateway/tab", "/ipythonExercice/x"):
        assert framed_by(await entrance.browser().ask(path)) == DEFAULT


async def test_page_of_a_notebook_is_its_projects_for_who_may_use_it(
    plain: Entrance, mary: Browser
) -> None:
    slug = location(await mary.open(LINK)).split("/")[2]
    for path in (f"/nb/{slug}/lab", f"/gateway/status/{slug}x", f"/gateway/stop/{slug}"):
        assert framed_by(await mary.ask(path)) == OURS


async def test_stranger_learns_of_no_notebook_by_who_may_frame_the_answer(
    plain: Entrance, mary: Browser
) -> None:
    catalogue = plain.world.catalogue
    slug = location(await mary.open(LINK)).split("/")[2]
    created = plain.clock()
    await catalogue.add_notebook(Notebook("research", "Research", "flotbioinfo", "bob", created))
    pairs = [(slug, f"{slug}x"), ("research", "nothing")]
    for links in (Links.PLAIN, Links.OFF):
        await catalogue.update_project("flotbioinfo", links=links)
        for known, unknown in pairs:
            for path in ("/nb/{}/lab", "/gateway/status/{}"):
                there, away = [
                    await plain.browser().ask(path.format(name)) for name in (known, unknown)
                ]
                assert framed_by(there) == framed_by(away)


async def test_course_without_links_looks_like_none(entrance: Entrance) -> None:
    await entrance.world.catalogue.update_project("flotbioinfo", links=Links.OFF)
    for path in (LINK, "/nb/flotbioinfo-x-mary/lab", "/gateway/try/flotbioinfo"):
        assert framed_by(await entrance.browser().ask(path)) == DEFAULT


@pytest.mark.parametrize("pages", ["nb.example.org"], indirect=True)
@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        ("http://flotbioinfo-x-mary.nb.example.org/lab", OURS),
        ("http://FLOTBIOINFO-x-nobody.NB.example.org:81/lab", OURS),
        ("http://flotpython-x-mary.nb.example.org/lab", DEFAULT),
        ("http://flotbioinfo-x-mary.evil.example/lab", DEFAULT),
        ("/nb/flotbioinfo-x-mary/lab", DEFAULT),
        ("http://[", DEFAULT),
        ("", DEFAULT),
    ],
)
async def test_way_back_to_a_notebooks_own_origin_is_its_courses(
    entrance: Entrance, wanted: str, told: str
) -> None:
    """Where a notebook in a frame has no cookie, the page that says so must be seen."""
    path = f"/gateway/authorize?{urlencode({'next': wanted, 'state': 's'})}"
    answer = await entrance.browser().ask(path)
    assert (answer.status, framed_by(answer)) == (401, told)
