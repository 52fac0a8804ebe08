"""Locks in the catalogue: what they keep from happening, and who may lift them."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.errors import Forbidden, InvalidInput, NotebookLocked, ProjectLocked
from gateway.notebooks.catalogue import Catalogue
from gateway.notebooks.model import Limits, Lock, State
from tests.notebooks.books import NOON, a_notebook


async def test_locked_notebook_says_who_and_why(catalogue: Catalogue) -> None:
    await catalogue.add_notebook(a_notebook())
    catalogue.check_unlocked("genome")
    await catalogue.lock("genome", "anne", " an exam ")
    with pytest.raises(NotebookLocked, match="locked by anne: an exam;"):
        catalogue.check_unlocked("genome")


@pytest.mark.parametrize(
    "changes",
    [
        {"container_image": "x"},
        {"limits": Limits(2**30)},
        {"environment": {"A": "1"}},
        {"labels": {"a": "1"}},
        {"owner": "bob"},
    ],
)
async def test_locked_notebook_is_not_reconfigured(
    catalogue: Catalogue, other: Catalogue, changes: dict[str, Any]
) -> None:
    await catalogue.add_notebook(a_notebook())
    await other.load()
    await other.lock("genome", "anne", "an exam")
    with pytest.raises(NotebookLocked):
        await catalogue.update_notebook("genome", **changes)
    assert catalogue.notebook("genome") == a_notebook()


@pytest.mark.parametrize(
    "changes",
    [
        {"image": "x"},
        {"limits": Limits(2**30, 2.0)},
        {"limits": Limits(2**31, 1.0)},
        {"environment": {"A": "2"}},
        {"environment": {}},
        {"labels": {"a": "1"}},
        {"title": "New", "image": "x"},
    ],
)
async def test_locked_notebook_is_not_reconfigured_by_its_project(
    catalogue: Catalogue, other: Catalogue, changes: dict[str, Any]
) -> None:
    before: dict[str, Any] = {"limits": Limits(2**30, 1.0), "environment": {"A": "1"}}
    project = await catalogue.update_project("demo", **before)
    await catalogue.add_notebook(a_notebook())
    await other.load()
    await other.lock("genome", "anne", "an exam")
    with pytest.raises(ProjectLocked, match="'genome' by anne: an exam"):
        await catalogue.update_project("demo", **changes)
    await other.load()
    assert other.project("demo") == project
    await catalogue.unlock("genome", "anne")
    await catalogue.update_project("demo", **changes)


async def test_project_changes_under_a_lock_that_they_do_not_concern(catalogue: Catalogue) -> None:
    await catalogue.add_project("other")
    own: dict[str, Any] = {
        "container_image": "own",
        "limits": Limits(cpus=2.0),
        "environment": {"A": "own"},
    }
    await catalogue.add_notebook(a_notebook(**own, labels={"a": "own"}))
    await catalogue.add_notebook(a_notebook("free"))
    await catalogue.lock("genome", "anne", "an exam")
    changed = await catalogue.update_project(
        "demo",
        title="New",
        staff=("anne",),
        source="https://example.org/a.git",
        image="x",
        limits=Limits(cpus=4.0),
        environment={"A": "1"},
        labels={"a": "1"},
    )
    assert (changed.image, changed.environment) == ("x", {"A": "1"})
    assert (await catalogue.update_project("demo", image="x")).image == "x"
    await catalogue.update_project("other", image="y")
    with pytest.raises(ProjectLocked):
        await catalogue.update_project("demo", limits=Limits(2**30, 4.0))


async def test_project_names_the_locked_notebooks_in_the_way(catalogue: Catalogue) -> None:
    for number in range(5):
        await catalogue.add_notebook(a_notebook(f"b{number}"))
        await catalogue.lock(f"b{number}", "anne", f"exam {number}")
    await catalogue.add_notebook(a_notebook("free"))
    with pytest.raises(ProjectLocked) as refused:
        await catalogue.update_project("demo", image="x")
    assert [one.slug for one in refused.value.locked] == ["b0", "b1", "b2", "b3", "b4"]
    assert "'b2' by anne: exam 2 and 2 more)" in str(refused.value)
    assert "`nbgate notebook unlock b0`" in str(refused.value)


async def test_locked_notebook_is_not_removed(catalogue: Catalogue) -> None:
    await catalogue.add_notebook(a_notebook())
    await catalogue.lock("genome", "anne", "an exam")
    with pytest.raises(NotebookLocked):
        await catalogue.remove_notebook("genome")
    assert catalogue.notebook("genome")


async def test_facts_of_a_locked_notebook_are_recorded(catalogue: Catalogue) -> None:
    await catalogue.add_notebook(a_notebook())
    await catalogue.lock("genome", "anne", "an exam")
    changed = await catalogue.update_notebook("genome", state=State.RUNNING, container_id="c")
    assert (changed.state, changed.container_id) == (State.RUNNING, "c")
    assert await catalogue.next_generation("genome") == 1


@pytest.mark.parametrize(("by", "administrator"), [("mary", False), ("anne", False), ("x", True)])
async def test_owner_locker_and_administrator_unlock(
    catalogue: Catalogue, by: str, administrator: bool
) -> None:
    await catalogue.add_notebook(a_notebook())
    await catalogue.lock("genome", "anne", "an exam")
    assert (await catalogue.unlock("genome", by, administrator)).lock is None
    catalogue.check_unlocked("genome")


async def test_nobody_else_unlocks(catalogue: Catalogue) -> None:
    await catalogue.add_notebook(a_notebook())
    await catalogue.lock("genome", "anne", "an exam")
    with pytest.raises(Forbidden, match="locked by anne; only they, its owner"):
        await catalogue.unlock("genome", "bob")
    assert catalogue.notebook("genome").lock is not None


async def test_unlocked_notebook_can_be_unlocked_by_anybody(catalogue: Catalogue) -> None:
    await catalogue.add_notebook(a_notebook())
    assert (await catalogue.unlock("genome", "bob")).lock is None


async def test_lock_is_changed_by_who_made_it_alone(catalogue: Catalogue) -> None:
    await catalogue.add_notebook(a_notebook())
    await catalogue.lock("genome", "anne", "an exam")
    relocked = await catalogue.lock("genome", "anne", "a longer exam")
    assert relocked.lock == Lock("anne", "a longer exam", NOON)
    with pytest.raises(NotebookLocked, match="a longer exam"):
        await catalogue.lock("genome", "mary", "mine")


@pytest.mark.parametrize(("by", "reason"), [("anne", ""), ("anne", "  "), ("", "an exam")])
async def test_lock_needs_a_reason_and_a_person(catalogue: Catalogue, by: str, reason: str) -> None:
    await catalogue.add_notebook(a_notebook())
    with pytest.raises(InvalidInput):
        await catalogue.lock("genome", by, reason)
