"""Facts that cannot be written are owed, whatever else is written meanwhile."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from gateway.activation import facts as facts_module
from gateway.activation.facts import Facts
from gateway.notebooks.database import DatabaseError
from gateway.notebooks.model import Notebook, State
from tests.activation.conftest import World
from tests.support.waiting import until


async def test_what_is_noted_and_not_written_in_the_midst_of_a_settlement_is_owed_still(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    slug = await world.notebook()
    facts, write = Facts(world.catalogue), world.catalogue.update_notebook
    fails, goes_on, settling = True, asyncio.Event(), asyncio.Event()

    async def update(slug: str, /, **changes: Any) -> Notebook:
        if fails:
            raise DatabaseError("the database is away")
        settling.set()
        await goes_on.wait()
        return await write(slug, **changes)

    monkeypatch.setattr(world.catalogue, "update_notebook", update)
    await facts.note(slug, state=State.STARTING)
    fails = False
    settlement = asyncio.create_task(facts.settle())
    await settling.wait()
    fails = True
    await facts.note(slug, state=State.RUNNING)
    goes_on.set()
    await settlement
    assert world.catalogue.notebook(slug).state is State.RUNNING
    fails = False
    await facts.settle()
    await world.catalogue.load()
    assert world.catalogue.notebook(slug).state is State.RUNNING


async def test_write_that_hangs_and_goes_on_later_does_not_bring_old_facts_back(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    slug = await world.notebook()
    book, write = world.catalogue, world.catalogue.update_notebook
    goes_on, written = asyncio.Event(), list[State]()

    async def update(slug: str, /, **changes: Any) -> Notebook:
        if not written:
            await goes_on.wait()
        written.append(changes["state"])
        return await write(slug, **changes)

    monkeypatch.setattr(book, "update_notebook", update)
    monkeypatch.setattr(facts_module, "_WRITE_SECONDS", 0.01)
    monkeypatch.setattr(facts_module, "_AGAIN_SECONDS", 0.01)
    facts = Facts(book)
    await facts.note(slug, state=State.STARTING)
    await facts.note(slug, state=State.RUNNING)
    assert book.notebook(slug).state is State.RUNNING
    goes_on.set()
    await until(lambda: bool(written))
    monkeypatch.undo()
    await facts.settle()
    assert book.notebook(slug).state is State.RUNNING
    await book.load()
    assert book.notebook(slug).state is State.RUNNING


async def test_what_is_written_at_last_takes_the_place_of_what_was_owed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    slug = await world.notebook()
    book, facts = world.catalogue, Facts(world.catalogue)

    async def full(slug: str, /, **changes: Any) -> Notebook:
        raise DatabaseError("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(book, "update_notebook", full)
        await facts.note(slug, state=State.STARTING, container_id="c")
    await facts.note(slug, state=State.RUNNING)
    assert not book.presumed
    await book.load()
    record = book.notebook(slug)
    assert (record.state, record.container_id) == (State.RUNNING, "c")


@pytest.mark.parametrize("other", ["read", "changed", "counted", "removed"])
async def test_what_is_owed_stands_whatever_else_is_read_or_stored(
    world: World, monkeypatch: pytest.MonkeyPatch, other: str
) -> None:
    slug = await world.notebook()
    book, facts = world.catalogue, Facts(world.catalogue)

    async def away(slug: str, /, **changes: Any) -> Notebook:
        raise DatabaseError("the database is away")

    with monkeypatch.context() as patched:
        patched.setattr(book, "update_notebook", away)
        await facts.note(slug, state=State.RUNNING, container_id="c")
    match other:
        case "read":
            await book.refresh([slug], [])
        case "changed":
            changed = await book.update_notebook(slug, last_active=datetime(2026, 1, 2, tzinfo=UTC))
            assert changed == book.notebook(slug)
        case "counted":
            await book.next_generation(slug)
        case "removed":
            await book.remove_notebook(slug)
            assert await world.notebook() == slug
    expected = State.COLD if other == "removed" else State.RUNNING
    assert book.notebook(slug).state is expected
    await facts.settle()
    await book.load()
    assert book.notebook(slug).state is expected
    assert not book.presumed
