"""Checks of a course's links over the API: who opens them, and that nothing of them stays."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from gateway.api import linkchecks
from gateway.launch.checkers import Checkers
from gateway.launch.deeplinks import is_plain_id, plain_subject
from gateway.launch.targets import read_target
from gateway.notebooks.projects import utc_now
from tests.api.conftest import Client
from tests.api.support import ORIGIN, World

PROJECTS = "/gateway/api/projects"
CHECKS = f"{PROJECTS}/demo/link-checks"
KEYS = "/gateway/api/link-keys"


@pytest.fixture(autouse=True)
async def project(client: Client, course: Path) -> None:
    (course / "twice.ipynb.ipynb").write_text("{}")
    body = {"name": "demo", "source": str(course), "links": "plain"}
    assert (await client.post(PROJECTS, json=body)).status == 201


async def begin(client: Client) -> dict[str, Any]:
    answer = await client.post(CHECKS)
    assert answer.status == 201, await answer.text()
    begun: dict[str, Any] = await answer.json()
    return begun


async def arrive(world: World, person: str) -> str:
    """Come as a link does; return the session."""
    await world.catalogue.open_for("demo", person)
    ways = world.services.ways
    token = await ways.sessions.create(person, "h")
    principal = ways.sessions.table.lookup(token.encode(), "h")
    assert principal is not None
    assert await ways.bindings.claim("demo", person.partition(":")[2], principal.session)
    return principal.session


def owners(world: World) -> list[str]:
    return [book.owner for book in world.catalogue.notebooks("demo")]


async def test_each_notebook_has_a_link_of_somebody_new(client: Client) -> None:
    first, second = await begin(client), await begin(client)
    assert first["person"] != second["person"]
    assert is_plain_id(first["person"])
    twice, good = first["links"]
    assert (twice["url"], "rename it" in twice["fault"]) == (None, True)
    assert good["url"].startswith(f"{ORIGIN}/ipythonExercice/demo/w1/")
    assert good["url"].endswith(f"/{first['person']}")
    assert good["place"] == "notebooks/w1/%C3%A9t%C3%A9%20n%C2%B01.ipynb"


async def test_links_are_signed_where_the_course_wants_it(client: Client, world: World) -> None:
    await client.patch(f"{PROJECTS}/demo", json={"links": "signed"})
    refused = await client.post(CHECKS)
    assert refused.status == 409
    assert "nbgate link key add" in (await refused.json())["detail"]
    await client.post(KEYS, json={"project": "demo"})
    begun = await begin(client)
    target = read_target(begun["links"][1]["url"].removeprefix(ORIGIN))
    visitor = await world.services.ways.signed.visitor(target, "demo", begun["person"])
    assert visitor.subject == f"course/demo:{begun['person']}"


async def test_course_without_links_says_how_to_allow_them(client: Client) -> None:
    await client.patch(f"{PROJECTS}/demo", json={"links": "off"})
    refused = await client.post(CHECKS)
    assert refused.status == 409
    assert "nbgate project update demo --links signed" in (await refused.json())["detail"]


async def test_end_removes_all_of_the_person_and_of_nobody_else(
    client: Client, world: World
) -> None:
    person = (await begin(client))["person"]
    other, mary = (await begin(client))["person"], "nbgate-check-0123abcd-0123456789abcdef"
    session = await arrive(world, plain_subject("demo", person))
    for stays in (other, mary):
        await arrive(world, plain_subject("demo", stays))
    for _ in range(2):
        assert (await client.delete(f"{CHECKS}/{person}")).status == 204
    assert sorted(owners(world)) == sorted(plain_subject("demo", one) for one in (other, mary))
    ways = world.services.ways
    assert ways.sessions.table.principal(session) is None
    assert await ways.bindings.holder("demo", person) is None
    assert (await client.delete(f"{CHECKS}/{mary}")).status == 404, "a name that we did not make"


async def test_end_removes_who_came_no_further_than_a_session(client: Client, world: World) -> None:
    person = (await begin(client))["person"]
    await world.services.ways.sessions.create(plain_subject("demo", person), "h")
    assert (await client.delete(f"{CHECKS}/{person}")).status == 204
    assert list(world.services.ways.sessions.table.tokens()) == []


async def test_what_a_killed_check_left_is_removed_by_a_later_one(
    client: Client, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    person, mary = (await begin(client))["person"], "nbgate-check-0123abcd-0123456789abcdef"
    for one in (person, mary):
        await arrive(world, plain_subject("demo", one))
    await begin(client)
    assert len(owners(world)) == 2, "it may go on"
    later = utc_now() + timedelta(hours=3)
    monkeypatch.setattr(linkchecks, "utc_now", lambda: later)
    await begin(client)
    assert owners(world) == [plain_subject("demo", mary)]


async def test_names_of_another_installation_are_nobodys(world: World) -> None:
    checkers = Checkers(world.services.ways.signed.keys)
    made = checkers.new()
    assert checkers.made(made)
    assert checkers.made(f"course/demo:{made}")
    for other in (made[:-1], f"{made}0", made.replace("check", "chick"), "mary", ""):
        assert not checkers.made(other)
