"""What a gateway takes over, and from whom: not from one that has just come."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from gateway.activation.operations import Kind, Operations, Progress
from gateway.activation.presence import Presence
from gateway.app.control import Control
from gateway.app.engine import take_over
from gateway.notebooks.database import Database

HERE, NEW, GONE = (letter * 32 for letter in "abc")


@pytest.fixture
def presence(database: Database) -> Presence:
    return Presence(database, HERE, "here", dict)


def control_of(
    database: Database, presence: Presence, settled: list[str], busy: str = ""
) -> Control:
    """Return as much of a gateway as takes over; it starts the notebook `busy` itself."""

    async def settle(slug: str, *, anew: bool) -> None:
        settled.append(slug)

    def lock(slug: str) -> asyncio.Lock:
        return cast("asyncio.Lock", SimpleNamespace(locked=lambda: slug == busy))

    lifecycle = SimpleNamespace(operations=Operations(database, HERE), settle=settle, lock=lock)
    parts: Any = SimpleNamespace(lifecycle=lifecycle, sharing=SimpleNamespace(presence=presence))
    return cast("Control", parts)


async def test_what_a_gateway_does_that_has_just_come_is_left_to_it(
    database: Database, second: Database, presence: Presence
) -> None:
    await presence.begin()
    await Presence(second, NEW, "new", dict).begin()
    theirs, left = Operations(second, NEW), Operations(second, GONE)
    operation = theirs.plan(Kind.START, "demo-x-alice", "alice")
    left.plan(Kind.START, "demo-x-bob", "bob")
    await theirs.flush()
    await left.flush()
    settled: list[str] = []
    await take_over(control_of(database, presence, settled))
    assert settled == ["demo-x-bob"]
    assert (await Operations(database, HERE).get(operation.id)).state is Progress.QUEUED


async def test_start_here_of_what_another_had_begun_to_start_holds_nothing_up(
    database: Database, presence: Presence
) -> None:
    left = Operations(database, GONE)
    for person in ("alice", "bob"):
        left.plan(Kind.START, f"demo-x-{person}", person)
    await left.flush()
    settled: list[str] = []
    await take_over(control_of(database, presence, settled, busy="demo-x-alice"))
    assert settled == ["demo-x-bob"]
