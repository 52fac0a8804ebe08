"""Facts that cannot be written are owed, whatever else is written meanwhile."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gateway.activation.facts import Facts
from gateway.notebooks.database import DatabaseError
from gateway.notebooks.model import Notebook, State
from tests.activation.conftest import World


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
