"""Keys, used nonces and ids of plain links, where two gateways share a database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from gateway.errors import InvalidInput, NotFound
from gateway.launch.bindings import Bindings
from gateway.launch.linkkeys import LinkKeys
from gateway.launch.session_table import SessionTable
from gateway.launch.sessions import Sessions
from gateway.notebooks.catalogue import Catalogue
from gateway.notebooks.database import Database
from gateway.notebooks.identity import Identity
from tests.launch.clock import Clock

IDENTITY = Identity("0" * 8, b"k" * 32)
LATER = datetime(2030, 1, 1, tzinfo=UTC)
HOST = "nb.example.org"


@pytest.fixture
async def other(database_url: str, database: Database) -> AsyncIterator[Database]:
    """The same database, as another gateway has it."""
    opened = Database(database_url)
    await opened.open()
    yield opened
    await opened.close()


@pytest.fixture
async def demo(database: Database) -> None:
    catalogue = Catalogue(database)
    await catalogue.load()
    await catalogue.add_project("demo")


async def test_nonce_is_used_at_one_of_two_gateways(database: Database, other: Database) -> None:
    both = [LinkKeys(one, IDENTITY) for one in (database, other)]
    for number in range(5):
        uses = (keys.use("k1", f"nonce-{number}", LATER) for keys in both * 3)
        assert sorted(await asyncio.gather(*uses)) == [False] * 5 + [True]


async def test_key_that_one_gateway_removes_is_gone_at_the_other(
    database: Database, other: Database
) -> None:
    here, there = LinkKeys(database, IDENTITY), LinkKeys(other, IDENTITY)
    key = await here.add(issuer="moodle")
    assert await there.find(key.kid) == key
    assert there.secret(key.kid) == here.secret(key.kid)
    await here.remove(key.kid)
    assert await there.find(key.kid) is None
    with pytest.raises(NotFound):
        await there.remove(key.kid)


@pytest.mark.usefixtures("demo")
async def test_keys_have_issuers_that_do_not_meet(database: Database) -> None:
    keys = LinkKeys(database, IDENTITY)
    made = [
        await keys.add(issuer="demo"),
        await keys.add(project="demo"),
        await keys.add(own_people=True),
    ]
    assert [one.subject("x") for one in made] == ["demo:x", "course/demo:x", "x"]
    assert len({keys.secret(one.kid) for one in made}) == 3
    assert {one.kid for one in await keys.all()} == {one.kid for one in made}


@pytest.mark.parametrize("issuer", ["a:b", "course/demo", "", "Moodle", "plain/x", "a" * 64])
async def test_issuer_that_could_be_taken_for_another_is_refused(
    database: Database, issuer: str
) -> None:
    with pytest.raises(InvalidInput):
        await LinkKeys(database, IDENTITY).add(issuer=issuer)


async def test_key_is_of_one_thing(database: Database) -> None:
    keys = LinkKeys(database, IDENTITY)
    with pytest.raises(InvalidInput):
        await keys.add()
    with pytest.raises(InvalidInput):
        await keys.add(issuer="moodle", own_people=True)
    with pytest.raises(NotFound):
        await keys.add(project="nothing")


async def session(database: Database, clock: Clock) -> str:
    sessions = Sessions(database, SessionTable(clock), 3600.0, clock)
    token = await sessions.create("plain/demo:mary", HOST)
    found = sessions.table.lookup(token.encode(), HOST)
    assert found is not None
    return found.session


@pytest.mark.usefixtures("demo")
async def test_id_goes_to_one_of_two_gateways(database: Database, other: Database) -> None:
    clock = Clock()
    both = [Bindings(one, clock) for one in (database, other)]
    for student in ("mary", "bob"):
        browsers = [await session(database, clock) for _ in range(4)]
        claims = [both[n % 2].claim("demo", student, one) for n, one in enumerate(browsers)]
        won = await asyncio.gather(*claims)
        assert sorted(won) == [False, False, False, True]
        assert await both[1].holder("demo", student) == browsers[won.index(True)]


@pytest.mark.usefixtures("demo")
async def test_id_is_free_again_when_its_session_is_over_or_released(database: Database) -> None:
    clock = Clock()
    bindings = Bindings(database, clock)
    first = await session(database, clock)
    assert await bindings.claim("demo", "mary", first)
    clock.now += timedelta(seconds=3600)
    assert await bindings.holder("demo", "mary") is None
    second = await session(database, clock)
    assert await bindings.claim("demo", "mary", second)
    assert await bindings.release("demo", "mary") == second
    assert await bindings.release("demo", "mary") is None
    assert await bindings.claim("demo", "mary", await session(database, clock))
