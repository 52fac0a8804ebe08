"""The home page: one's own notebooks, shared ones, those of courses that one teaches."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import pytest

from gateway.launch.cookies import cookie_name
from gateway.notebooks.model import Notebook, State
from gateway.web.context import Pages
from gateway.web.home import MOST
from tests.activation.conftest import World
from tests.proxy.harness import Rig
from tests.web.person import HOST, Person, person


@pytest.fixture
async def school(world: World) -> World:
    """Tina teaches `demo`; sam and alice learn there, and sam shares with alice."""
    await world.catalogue.update_project("demo", staff=("tina",))
    for name in ("alice", "sam"):
        await world.notebook(name)
    await world.catalogue.share("demo-x-sam", ["alice"])
    await world.catalogue.add_project("other")
    await world.catalogue.open_for("other", "sam")
    return world


@pytest.fixture
async def tina(proxy: Rig, pages: Pages, school: World) -> AsyncIterator[Person]:
    async with person(proxy, pages, "tina") as made:
        yield made


@pytest.fixture
async def alice(proxy: Rig, pages: Pages, school: World) -> AsyncIterator[Person]:
    async with person(proxy, pages, "alice") as made:
        yield made


def listed(text: str) -> dict[str, list[str]]:
    """Return the slugs under each heading."""
    sections = re.findall(r'<section aria-labelledby="([^"]+)">(.*?)</section>', text, re.DOTALL)
    return {key: re.findall(r'<li id="nb-([^"]+)"', part) for key, part in sections}


async def test_groups_are_own_shared_and_taught(tina: Person, alice: Person) -> None:
    assert listed((await tina.get("/")).text) == {"index.taught": ["demo-x-alice", "demo-x-sam"]}
    assert listed((await alice.get("/")).text) == {
        "index.own": ["demo-x-alice"],
        "index.shared": ["demo-x-sam"],
    }


def opens(text: str) -> dict[str, str]:
    """Return where each notebook on the page is opened, by its slug."""
    return dict(re.findall(r'<li id="nb-([^"]+)"[^>]*><a href="([^"]+)"', text))


async def test_others_notebooks_are_opened_to_be_read_under_path_routing(
    tina: Person, alice: Person
) -> None:
    reading = "/gateway/read/demo-x-{}/"
    assert opens((await alice.get("/")).text) == {
        "demo-x-alice": "/nb/demo-x-alice/lab",
        "demo-x-sam": reading.format("sam"),
    }
    assert opens((await tina.get("/")).text) == {
        f"demo-x-{name}": reading.format(name) for name in ("alice", "sam")
    }


@pytest.mark.parametrize("pages", ["nb.example.org"], indirect=True)
async def test_others_notebooks_are_opened_live_under_host_routing(alice: Person) -> None:
    live = "http://demo-x-{}.nb.example.org/lab"
    assert opens((await alice.get("/")).text) == {
        f"demo-x-{name}": live.format(name) for name in ("alice", "sam")
    }


async def test_administrator_sees_all(proxy: Rig, pages: Pages, school: World) -> None:
    token = await pages.sessions.create("root", HOST, administrator=True)
    async with person(proxy, pages, "nobody") as someone:
        cookie = f"{someone.cookie}; {cookie_name(https=False, course='demo')}={token}"
        text = (await someone.get("/", Cookie=cookie)).text
    assert listed(text) == {"index.administered": ["demo-x-alice", "demo-x-sam", "other-x-sam"]}


async def test_stranger_is_told_how_to_come_in(proxy: Rig, pages: Pages, school: World) -> None:
    async with person(proxy, pages) as someone:
        answer = await someone.get("/", Cookie="")
    assert answer.status == 200
    assert "login link" in answer.text
    assert "demo-x" not in answer.text


async def test_notebook_is_started_and_stopped_from_here(alice: Person, school: World) -> None:
    started = await alice.post("/gateway/home/start/demo-x-alice")
    assert (started.status, started.headers["Location"]) == (303, "/")
    await school.activator.ensure("demo-x-alice")
    page = (await alice.get("/")).text
    assert 'action="/gateway/stop/demo-x-alice"' in page
    assert 'action="/gateway/home/start/demo-x-sam"' in page
    assert (await alice.post("/gateway/stop/demo-x-alice")).status == 303
    assert school.catalogue.notebook("demo-x-alice").state is State.COLD


async def test_who_starts_and_stops_is_written_down(
    proxy: Rig, pages: Pages, school: World
) -> None:
    """Of two people in one browser it is the one who may."""
    teacher = await pages.sessions.create("tina", HOST)
    async with person(proxy, pages, "mallory") as browser:
        cookie = f"{browser.cookie}; {cookie_name(https=False, course='demo')}={teacher}"
        for path in ("/gateway/home/start/demo-x-sam", "/gateway/stop/demo-x-sam"):
            assert (await browser.post(path, Cookie=cookie)).status == 303
            if "start" in path:
                await school.activator.ensure("demo-x-sam")
    operations = await school.lifecycle.operations.list("demo-x-sam")
    assert {one.requested_by for one in operations} == {"tina"}


@pytest.mark.parametrize("verb", ["home/start", "stop"])
async def test_others_notebooks_are_neither_started_nor_stopped(
    alice: Person, school: World, verb: str
) -> None:
    assert (await alice.post(f"/gateway/{verb}/other-x-sam")).status == 404
    assert (await alice.post(f"/gateway/{verb}/nothing")).status == 404
    foreign = await alice.post(f"/gateway/{verb}/demo-x-alice", Origin="http://evil.example")
    assert foreign.status == 403
    assert await school.lifecycle.operations.list() == []


async def test_teacher_of_very_many_sees_some_and_finds_the_others(
    tina: Person, school: World
) -> None:
    for number in range(MOST + 20):
        name = f"p{number:03}"
        await school.catalogue.add_notebook(
            Notebook(f"demo-x-{name}", name, "demo", name, school.catalogue.project("demo").created)
        )
    await school.catalogue.update_notebook("demo-x-p069", state=State.RUNNING)
    text = (await tina.get("/")).text
    shown = listed(text)["index.taught"]
    assert len(shown) == MOST
    assert shown[0] == "demo-x-p069", "what runs comes first"
    assert f"{MOST} of {MOST + 22}" in text
    assert listed((await tina.get("/?find=P06")).text)["index.taught"] == [
        "demo-x-p069",
        *(f"demo-x-p06{digit}" for digit in range(9)),
    ]
    none = (await tina.get("/?find=%3Cscript%3E")).text
    assert listed(none) == {}
    assert "<script>" not in none


async def test_list_is_asked_for_again_only_while_something_moves(
    alice: Person, school: World
) -> None:
    assert "data-moving" not in (await alice.get("/")).text
    await school.catalogue.update_notebook("demo-x-alice", state=State.STOPPING)
    assert "data-moving" in (await alice.get("/")).text
