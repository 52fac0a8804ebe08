"""What is done about links while the gateway runs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from gateway.app.ways import forget_passers_by
from gateway.launch.deeplinks import passer_by, plain_subject
from gateway.launch.session_table import Principal, SessionTable
from tests.activation.conftest import World, world

__all__ = ["world"]


def later() -> datetime:
    return datetime.now(UTC) + timedelta(minutes=11)


async def test_notebooks_of_passers_by_end_with_their_sessions(world: World) -> None:
    table, people = SessionTable(), [passer_by("demo"), passer_by("demo")]
    others = [plain_subject("demo", "mary"), "bob"]
    slugs = [await world.notebook(person) for person in (*people, *others)]
    for slug in slugs:
        await world.spaces.ensure(slug, None)
    until = datetime.now(UTC) + timedelta(hours=1)
    table.put(b"d" * 32, "h", until, Principal(people[0], "s1", administrator=False))
    await forget_passers_by(table, world.catalogue, world.lifecycle)
    assert len(world.catalogue.notebooks()) == 4, "young ones stay"
    await forget_passers_by(table, world.catalogue, world.lifecycle, later)
    left = {book.slug for book in world.catalogue.notebooks()}
    assert left == {slugs[0], *slugs[2:]}
    assert [await world.spaces.exists(slug) for slug in slugs] == [True, False, True, True]


async def test_one_that_is_locked_keeps_no_other(world: World) -> None:
    slugs = [await world.notebook(passer_by("demo")) for _ in range(2)]
    await world.catalogue.lock(slugs[0], "admin", "a look")
    await forget_passers_by(SessionTable(), world.catalogue, world.lifecycle, later)
    assert [book.slug for book in world.catalogue.notebooks()] == [slugs[0]]
