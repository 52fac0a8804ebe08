"""The catalogue: what it keeps over restarts, refuses, and does when called at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from gateway.errors import (
    Conflict,
    InvalidInput,
    NotFound,
)
from gateway.notebooks.catalogue import Catalogue
from gateway.notebooks.database import Database
from gateway.notebooks.model import Limits, Lock, Notebook, State
from tests.notebooks.books import NOON, a_notebook, now


async def _restarted(database: Database) -> Catalogue:
    again = Catalogue(database, now)
    await again.load()
    return again


# Restarts.


async def test_project_survives_a_restart_whole(catalogue: Catalogue, database: Database) -> None:
    project = await catalogue.add_project(
        "bio",
        title="Biologie moléculaire",
        source="https://example.org/bio.git#main",
        image="bio:1",
        limits=Limits(memory=3 * 2**30, cpus=0.5),
        environment={"A": "1"},
        labels={"team": "x"},
        staff=("anne", "bob"),
    )
    assert (await _restarted(database)).project("bio") == project


async def test_notebook_survives_a_restart_whole(catalogue: Catalogue, database: Database) -> None:
    await catalogue.add_notebook(
        a_notebook(
            container_image="i",
            limits=Limits(2**30, 1.5),
            environment={"B": "é"},
            labels={"l": "m"},
        )
    )
    await catalogue.update_notebook(
        "genome",
        state=State.RUNNING,
        container_id="c",
        port=41234,
        internal_url="http://10.0.0.2:8888",
        engine_id="second",
    )
    await catalogue.next_generation("genome")
    locked = await catalogue.lock("genome", "anne", "an exam")
    assert locked.lock == Lock("anne", "an exam", NOON)
    assert locked.generation == 1
    assert (await _restarted(database)).notebook("genome") == locked


async def test_removed_things_stay_removed(catalogue: Catalogue, database: Database) -> None:
    await catalogue.add_notebook(a_notebook())
    await catalogue.remove_notebook("genome")
    await catalogue.remove_project("demo")
    again = await _restarted(database)
    assert (list(again.projects()), list(again.notebooks())) == ([], [])


# Projects.


async def test_projects_are_sorted(catalogue: Catalogue) -> None:
    await catalogue.add_project("zoo")
    await catalogue.add_project("art")
    assert [project.name for project in catalogue.projects()] == ["art", "demo", "zoo"]


async def test_unknown_project_is_not_found(catalogue: Catalogue) -> None:
    with pytest.raises(NotFound, match="no project 'nope'"):
        catalogue.project("nope")
    with pytest.raises(NotFound):
        await catalogue.update_project("nope", title="x")
    with pytest.raises(NotFound):
        await catalogue.remove_project("nope")
    with pytest.raises(NotFound, match="no project 'nope'"):
        await catalogue.add_notebook(a_notebook(project="nope"))
    with pytest.raises(NotFound, match="no project 'nope'"):
        await catalogue.open_for("nope", "mary")


async def test_project_name_is_taken_once(catalogue: Catalogue) -> None:
    with pytest.raises(Conflict, match="project 'demo' exists already"):
        await catalogue.add_project("demo")


@pytest.mark.parametrize(
    "fields", [{"source": "course"}, {"staff": [""]}, {"name": "Demo"}, {"name": "gateway"}]
)
async def test_wrong_project_is_refused(catalogue: Catalogue, fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        await catalogue.add_project(**{"name": "new", **fields})
    assert len(catalogue.projects()) == 1


async def test_project_is_updated_field_by_field(catalogue: Catalogue) -> None:
    await catalogue.update_project("demo", image="i", limits=Limits(2**30))
    changed = await catalogue.update_project("demo", title="Demo", limits=Limits(None, 2.0))
    assert (changed.image, changed.title, changed.limits) == ("i", "Demo", Limits(None, 2.0))
    assert catalogue.project("demo") == changed
    with pytest.raises(InvalidInput, match="this field of a project cannot be changed"):
        await catalogue.update_project("demo", name="x")
    with pytest.raises(InvalidInput, match="git URL"):
        await catalogue.update_project("demo", source="x")


async def test_project_with_notebooks_is_not_removed(
    catalogue: Catalogue, other: Catalogue
) -> None:
    await other.add_notebook(a_notebook())
    with pytest.raises(Conflict, match="'demo' has notebooks; delete them first"):
        await catalogue.remove_project("demo")
    assert catalogue.project("demo")


# Notebooks.


async def test_notebooks_are_found_by_project_and_owner(catalogue: Catalogue) -> None:
    await catalogue.add_project("zoo")
    await catalogue.add_notebook(a_notebook("bb"))
    await catalogue.add_notebook(a_notebook("aa", owner="anne"))
    await catalogue.add_notebook(a_notebook("cc", project="zoo"))
    assert [book.slug for book in catalogue.notebooks()] == ["aa", "bb", "cc"]
    assert [book.slug for book in catalogue.notebooks(project="demo")] == ["aa", "bb"]
    assert [book.slug for book in catalogue.notebooks(owner="mary")] == ["bb", "cc"]
    assert [book.slug for book in catalogue.notebooks("zoo", "mary")] == ["cc"]


async def test_notebooks_stay_sorted_when_some_come_and_go(catalogue: Catalogue) -> None:
    for slug in ("bb", "dd"):
        await catalogue.add_notebook(a_notebook(slug))
    assert [book.slug for book in catalogue.notebooks()] == ["bb", "dd"]
    await catalogue.remove_notebook("bb")
    await catalogue.add_notebook(a_notebook("aa"))
    await catalogue.update_notebook("dd", state=State.RUNNING)
    assert [(book.slug, book.state) for book in catalogue.notebooks()] == [
        ("aa", State.COLD),
        ("dd", State.RUNNING),
    ]


async def test_unknown_notebook_is_not_found(catalogue: Catalogue) -> None:
    assert catalogue.find("nope") is None
    with pytest.raises(NotFound, match="no notebook 'nope'"):
        catalogue.notebook("nope")
    with pytest.raises(NotFound):
        catalogue.check_unlocked("nope")
    for change in (
        catalogue.update_notebook("nope", state=State.COLD),
        catalogue.next_generation("nope"),
        catalogue.lock("nope", "mary", "x"),
        catalogue.unlock("nope", "mary"),
        catalogue.remove_notebook("nope"),
    ):
        with pytest.raises(NotFound):
            await change


async def test_slug_is_taken_once(catalogue: Catalogue, other: Catalogue) -> None:
    await other.add_notebook(a_notebook(owner="anne"))
    with pytest.raises(Conflict, match="notebook 'genome' exists already"):
        await catalogue.add_notebook(a_notebook())
    assert catalogue.notebook("genome").owner == "anne"


async def test_slug_of_somebody_elses_course_notebook_is_refused(catalogue: Catalogue) -> None:
    with pytest.raises(InvalidInput, match="course and person"):
        await catalogue.add_notebook(a_notebook("demo-x-anne"))
    await catalogue.add_notebook(a_notebook("demo-x-mary"))
    with pytest.raises(InvalidInput, match="course and person"):
        await catalogue.update_notebook("demo-x-mary", owner="anne")
    assert (await catalogue.open_for("demo", "mary")).name == "Genome"


@pytest.mark.parametrize("field", ["slug", "project", "generation", "lock", "created", "nope"])
async def test_fields_that_are_not_for_changing_are_refused(
    catalogue: Catalogue, field: str
) -> None:
    await catalogue.add_notebook(a_notebook())
    with pytest.raises(InvalidInput, match=f"{field}: .* cannot be changed"):
        await catalogue.update_notebook("genome", **{field: None})


async def test_update_without_changes_returns_the_notebook(catalogue: Catalogue) -> None:
    await catalogue.add_notebook(a_notebook())
    assert await catalogue.update_notebook("genome") == a_notebook()


# The notebook of (course, person).


async def test_notebook_of_a_person_is_made_once(catalogue: Catalogue) -> None:
    opened = await asyncio.gather(*(catalogue.open_for("demo", "mary") for _ in range(20)))
    assert {book.slug for book in opened} == {"demo-x-mary"}
    assert len(catalogue.notebooks()) == 1
    assert (opened[0].project, opened[0].owner) == ("demo", "mary")


async def test_two_gateways_make_one_notebook_of_a_person(
    catalogue: Catalogue, other: Catalogue
) -> None:
    both = (catalogue, other)
    opened = await asyncio.gather(
        *(both[number % 2].open_for("demo", "mary") for number in range(20))
    )
    assert len(set(map(repr, opened))) == 1
    assert catalogue.notebook("demo-x-mary") == other.notebook("demo-x-mary")


async def test_persons_that_look_alike_get_notebooks_of_their_own(catalogue: Catalogue) -> None:
    for person in ("mary", "Mary", "mary.", "márý"):
        assert (await catalogue.open_for("demo", person)).owner == person
    assert len(catalogue.notebooks()) == 4


# Generations.


async def test_no_two_callers_get_the_same_generation(
    catalogue: Catalogue, other: Catalogue
) -> None:
    await catalogue.add_notebook(a_notebook())
    both = (catalogue, other)
    found = await asyncio.gather(
        *(both[number % 2].next_generation("genome") for number in range(40))
    )
    assert sorted(found) == list(range(1, 41))


# Listeners.


def _recorder() -> tuple[list[tuple[str, State | None]], Callable[[str, Notebook | None], None]]:
    told: list[tuple[str, State | None]] = []
    return told, lambda slug, book: told.append((slug, None if book is None else book.state))


async def test_listeners_are_told_each_change_once(catalogue: Catalogue) -> None:
    told, listener = _recorder()
    catalogue.subscribe(listener)
    await catalogue.add_notebook(a_notebook())
    await catalogue.update_notebook("genome", state=State.RUNNING)
    await catalogue.update_notebook("genome", state=State.RUNNING)
    await catalogue.remove_notebook("genome")
    await catalogue.open_for("demo", "mary")
    assert told == [
        ("genome", State.COLD),
        ("genome", State.RUNNING),
        ("genome", None),
        ("demo-x-mary", State.COLD),
    ]


async def test_listeners_are_told_what_a_load_finds_changed(
    catalogue: Catalogue, other: Catalogue
) -> None:
    for slug in ("aa", "bb", "cc"):
        await catalogue.add_notebook(a_notebook(slug))
    await other.load()
    await other.update_notebook("aa", state=State.RUNNING)
    await other.remove_notebook("bb")
    await other.add_notebook(a_notebook("dd"))
    told, listener = _recorder()
    catalogue.subscribe(listener)
    await catalogue.load()
    assert sorted(told, key=lambda item: item[0]) == [
        ("aa", State.RUNNING),
        ("bb", None),
        ("dd", State.COLD),
    ]
    assert list(catalogue.notebooks()) == list(other.notebooks())


async def test_notebook_that_another_gateway_removed_is_forgotten(
    catalogue: Catalogue, other: Catalogue
) -> None:
    await catalogue.add_notebook(a_notebook())
    await other.load()
    await other.remove_notebook("genome")
    told, listener = _recorder()
    catalogue.subscribe(listener)
    with pytest.raises(NotFound):
        await catalogue.update_notebook("genome", state=State.RUNNING)
    assert catalogue.find("genome") is None
    assert told == [("genome", None)]


# Cancellation.


async def test_memory_follows_the_database_when_the_caller_goes_away(
    catalogue: Catalogue, database: Database
) -> None:
    await catalogue.add_notebook(a_notebook())
    for turns in range(15):
        caller = asyncio.create_task(catalogue.update_notebook("genome", port=turns))
        for _ in range(turns):
            await asyncio.sleep(0)
        caller.cancel()
        await asyncio.gather(caller, return_exceptions=True)
    last = await catalogue.update_notebook("genome", state=State.RUNNING)
    assert (await _restarted(database)).notebook("genome") == last
