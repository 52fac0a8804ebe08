"""Sessions: who is let in where, for how long, and over restarts."""

from __future__ import annotations

import asyncio

import pytest
import sqlalchemy as sa

from gateway.errors import Conflict, NotFound
from gateway.launch.session_table import Principal, SessionTable
from gateway.launch.sessions import Sessions
from gateway.launch.subjects import Naming
from gateway.launch.vouching import Vouchers
from gateway.notebooks import schema
from gateway.notebooks.database import Database
from tests.launch.clock import Clock

_HOST = "nb.example.org:8000"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sessions(database: Database, clock: Clock) -> Sessions:
    return Sessions(database, SessionTable(clock), 3600.0, clock)


def _lookup(sessions: Sessions, token: str, host: str = _HOST) -> Principal:
    found = sessions.table.lookup(token.encode(), host)
    assert found is not None
    return found


async def _rows(database: Database, table: sa.Table) -> int:
    async with database.reading() as connection:
        found = await connection.execute(sa.select(sa.func.count()).select_from(table))
        return int(found.scalar_one())


async def test_token_leads_to_its_principal(sessions: Sessions) -> None:
    token = await sessions.create("mary", _HOST, administrator=True, display_name="Mary")
    found = _lookup(sessions, token)
    assert (found.subject, found.administrator, found.display_name) == ("mary", True, "Mary")
    assert sessions.table.principal(found.session) == found


async def test_links_opened_over_and_over_keep_so_many_sessions_of_a_person(
    database: Database, clock: Clock
) -> None:
    """A signed link without a nonce is good for a day: it must not fill the memory."""
    sessions = Sessions(database, SessionTable(clock), 3600.0, clock, most=3)
    other = await sessions.create("bob", _HOST)
    tokens = [await sessions.create("mary", _HOST) for _ in range(7)]
    there = [sessions.table.lookup(token.encode(), _HOST) is not None for token in tokens]
    assert there == [False] * 4 + [True] * 3
    assert _lookup(sessions, other).subject == "bob"
    assert await _rows(database, schema.sessions) == 4


async def test_ends_of_sessions_that_are_over_are_not_kept(
    database: Database, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same link, opened over and over, must not fill the memory with moments either."""
    monkeypatch.setattr("gateway.launch.session_bounds._SPARE", 2)
    sessions = Sessions(database, SessionTable(clock), 3600.0, clock, most=2)
    tokens = [await sessions.create("mary", _HOST) for _ in range(20)]
    assert len(sessions._ends) <= 2 * len(sessions.table) + 2
    alive = _lookup(sessions, tokens[-1]).session
    for _ in range(20):
        await sessions.refresh([alive])
    assert len(sessions._ends) <= 2 * len(sessions.table) + 2
    clock.advance(3601)
    await sessions.expire_due()
    assert len(sessions.table) == 0, "those that are left end in time"


async def test_session_that_asks_for_tokens_over_and_over_ends(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In host routing a signed-in browser gets one each time that it enters a notebook's origin."""
    monkeypatch.setattr("gateway.launch.sessions._MOST_TOKENS", 4)
    token = await sessions.create("mary", _HOST)
    session = _lookup(sessions, token).session
    tokens = [await sessions.add_origin(session, "x") for _ in range(3)]
    with pytest.raises(NotFound):
        await sessions.add_origin(session, "x")
    assert sessions.table.lookup(token.encode(), _HOST) is None
    assert not [one for one in tokens if sessions.table.lookup(one.encode(), "x")]


async def test_sessions_that_have_ended_do_not_count(database: Database, clock: Clock) -> None:
    sessions = Sessions(database, SessionTable(clock), 3600.0, clock, most=2)
    first = await sessions.create("mary", _HOST)
    await sessions.revoke(_lookup(sessions, await sessions.create("mary", _HOST)).session)
    await sessions.expire()
    second = await sessions.create("mary", _HOST)
    assert _lookup(sessions, first) != _lookup(sessions, second)


async def test_session_is_no_administrators_unless_said(sessions: Sessions) -> None:
    token = await sessions.create("mary", _HOST)
    assert not _lookup(sessions, token).administrator


@pytest.mark.parametrize("token", [b"", b"x", b"\xff", b"a" * 100_000])
async def test_other_tokens_lead_nowhere(sessions: Sessions, token: bytes) -> None:
    await sessions.create("mary", _HOST)
    assert sessions.table.lookup(token, _HOST) is None


@pytest.mark.parametrize(
    "host", ["nb.example.org", "nb.example.org:8001", "x.nb.example.org:8000", "example.org", ""]
)
async def test_token_is_of_no_use_at_another_host(sessions: Sessions, host: str) -> None:
    token = await sessions.create("mary", _HOST)
    assert sessions.table.lookup(token.encode(), host) is None


async def test_case_of_a_host_does_not_matter(sessions: Sessions) -> None:
    token = await sessions.create("mary", "NB.Example.org:8000")
    assert sessions.table.lookup(token.encode(), "nb.EXAMPLE.org:8000") is not None


async def test_session_has_a_token_for_each_origin(sessions: Sessions) -> None:
    first = await sessions.create("mary", _HOST, administrator=True, display_name="Mary")
    session = _lookup(sessions, first)
    second = await sessions.add_origin(session.session, "demo-x-mary.nb.example.org:8000")
    assert _lookup(sessions, second, "demo-x-mary.nb.example.org:8000") == session
    assert sessions.table.lookup(second.encode(), _HOST) is None
    assert sessions.table.lookup(first.encode(), "demo-x-mary.nb.example.org:8000") is None


async def test_session_survives_a_restart_at_all_its_hosts(
    sessions: Sessions, database: Database, clock: Clock
) -> None:
    first = await sessions.create("mary", _HOST, display_name="Mary")
    session = _lookup(sessions, first)
    second = await sessions.add_origin(session.session, "other")
    restarted = Sessions(database, SessionTable(clock), 3600.0, clock)
    assert len(restarted.table) == 0
    await restarted.load()
    assert _lookup(restarted, first) == session
    assert _lookup(restarted, second, "other") == session


async def test_revoked_session_ends_at_all_hosts_for_good(
    sessions: Sessions, database: Database
) -> None:
    first = await sessions.create("mary", _HOST)
    kept = await sessions.create("mary", _HOST)
    session = _lookup(sessions, first).session
    second = await sessions.add_origin(session, "other")
    await sessions.revoke(session)
    await sessions.revoke(session)
    assert sessions.table.lookup(first.encode(), _HOST) is None
    assert sessions.table.lookup(second.encode(), "other") is None
    assert sessions.table.principal(session) is None
    assert _lookup(sessions, kept)
    assert await _rows(database, schema.session_tokens) == 1
    await sessions.load()
    assert sessions.table.lookup(first.encode(), _HOST) is None


async def test_session_ends_when_its_time_is_over(sessions: Sessions, clock: Clock) -> None:
    token = await sessions.create("mary", _HOST)
    session = _lookup(sessions, token).session
    clock.advance(1800)
    later = await sessions.add_origin(session, "other")
    clock.advance(1799)
    assert sessions.table.lookup(token.encode(), _HOST) is not None
    assert sessions.table.lookup(later.encode(), "other") is not None
    clock.advance(1)
    assert sessions.table.lookup(token.encode(), _HOST) is None
    assert sessions.table.lookup(later.encode(), "other") is None
    assert sessions.table.principal(session) is None


async def test_origin_is_not_added_to_a_session_that_has_ended(
    sessions: Sessions, clock: Clock, database: Database
) -> None:
    token = await sessions.create("mary", _HOST)
    session = _lookup(sessions, token).session
    clock.advance(3600)
    with pytest.raises(NotFound, match="no session"):
        await sessions.add_origin(session, "other")
    with pytest.raises(NotFound):
        await sessions.add_origin("nope", "other")
    assert await _rows(database, schema.session_tokens) == 1


async def test_expired_sessions_are_removed_and_the_others_stay(
    sessions: Sessions, clock: Clock, database: Database
) -> None:
    await sessions.create("mary", _HOST)
    clock.advance(1800)
    kept = await sessions.create("anne", _HOST)
    clock.advance(1800)
    assert await sessions.expire() == 1
    assert await sessions.expire() == 0
    assert len(sessions.table) == 1
    assert _lookup(sessions, kept).subject == "anne"
    assert await _rows(database, schema.sessions) == 1
    assert await _rows(database, schema.session_tokens) == 1


async def test_expired_sessions_are_not_loaded(sessions: Sessions, clock: Clock) -> None:
    await sessions.create("mary", _HOST)
    clock.advance(3600)
    await sessions.load()
    assert len(sessions.table) == 0


async def test_load_shows_what_another_gateway_did(
    sessions: Sessions, database: Database, clock: Clock
) -> None:
    other = Sessions(database, SessionTable(clock), 3600.0, clock)
    token = await sessions.create("mary", _HOST)
    await other.load()
    session = _lookup(other, token).session
    await other.revoke(session)
    made = await other.create("anne", _HOST)
    await sessions.load()
    assert sessions.table.lookup(token.encode(), _HOST) is None
    assert _lookup(sessions, made).subject == "anne"


async def test_many_sessions_at_once_are_all_kept(
    sessions: Sessions, database: Database, clock: Clock
) -> None:
    tokens = await asyncio.gather(
        *(sessions.create(f"person-{number}", _HOST) for number in range(50)),
        *(sessions.load() for _ in range(5)),
    )
    made = [token for token in tokens if token is not None]
    assert len(set(made)) == 50
    assert {_lookup(sessions, token).subject for token in made} == {
        f"person-{number}" for number in range(50)
    }


async def test_revocation_and_new_origin_at_once_leave_nothing(
    sessions: Sessions, database: Database
) -> None:
    token = await sessions.create("mary", _HOST)
    session = _lookup(sessions, token).session
    await asyncio.gather(
        *(sessions.add_origin(session, f"host-{number}") for number in range(5)),
        sessions.revoke(session),
        *(sessions.add_origin(session, f"late-{number}") for number in range(5)),
        return_exceptions=True,
    )
    assert len(sessions.table) == 0
    assert await _rows(database, schema.session_tokens) == 0


async def test_tokens_are_stored_as_digests_alone(sessions: Sessions, database: Database) -> None:
    token = await sessions.create("mary", _HOST)
    async with database.reading() as connection:
        rows = (await connection.execute(sa.select(schema.session_tokens))).all()
    assert len(token) == 43
    assert token not in repr(rows)
    assert len(rows[0].digest) == 64


async def test_ends_are_told_once_each_with_those_that_another_gateway_made(
    sessions: Sessions, database: Database, clock: Clock
) -> None:
    told: list[str] = []
    sessions.subscribe(told.extend)
    tokens = [await sessions.create("mary", _HOST) for _ in range(4)]
    revoked, refreshed, missed, expired = (_lookup(sessions, one).session for one in tokens)
    await sessions.revoke(revoked)
    other = Sessions(database, SessionTable(clock), 3600.0, clock)
    await other.load()
    await other.revoke(refreshed)
    await sessions.refresh([refreshed])
    await other.revoke(missed)
    await sessions.load()
    clock.advance(3600)
    await sessions.expire_due()
    assert told == [revoked, refreshed, missed, expired]


async def test_person_who_is_kept_out_gets_no_session(sessions: Sessions) -> None:
    with sessions.kept_out("mary"), sessions.kept_out("mary"):
        with pytest.raises(Conflict, match="in a moment"):
            await sessions.create("mary", _HOST)
        await sessions.create("bob", _HOST)
    assert _lookup(sessions, await sessions.create("mary", _HOST))
    assert not sessions._kept_out


async def test_all_sessions_of_a_person_end_that_other_gateways_have_begun_too(
    sessions: Sessions, database: Database, clock: Clock
) -> None:
    other = Sessions(database, SessionTable(clock), 3600.0, clock)
    here, there = await sessions.create("mary", _HOST), await other.create("mary", _HOST)
    bob = await sessions.create("bob", _HOST)
    ended = [_lookup(sessions, here).session, _lookup(other, there).session]
    await sessions.revoke_all("mary")
    assert sessions.table.lookup(here.encode(), _HOST) is None
    assert _lookup(sessions, bob)
    assert await _rows(database, schema.sessions) == 1
    async with database.reading() as connection:
        names = await connection.scalars(sa.select(schema.changes.c.name))
    assert set(ended) <= set(names), "and other gateways hear of it"


ISSUER = "https://login.example.org"
OIDC = "oidc/login.example.org:"


def _under(database: Database, clock: Clock, vouchers: Vouchers) -> Sessions:
    return Sessions(database, SessionTable(clock), 3600.0, clock, vouchers=vouchers)


async def test_administrator_who_is_one_no_more_is_none_after_a_restart(
    database: Database, clock: Clock
) -> None:
    both = Vouchers(Naming(ISSUER, administrators=frozenset({"1", "2"})))
    before = _under(database, clock, both)
    tokens = [
        await before.create(f"{OIDC}{number}", _HOST, number != 3, issuer=ISSUER)
        for number in (1, 2, 3)
    ]
    mine = await before.create("root", _HOST, administrator=True)
    after = _under(
        database, clock, Vouchers(Naming(ISSUER, administrators=frozenset({"2", "3", " "})))
    )
    await after.load()
    told = [_lookup(after, token).administrator for token in (*tokens, mine)]
    assert told == [False, True, False, True], "who was none signs in again to be one"
    other = await after.add_origin(_lookup(after, tokens[0]).session, "other")
    assert not _lookup(after, other, "other").administrator


async def test_sessions_end_whose_provider_is_not_configured_any_more(
    database: Database, clock: Clock
) -> None:
    vouchers = Vouchers(Naming(ISSUER), proxy=True)
    before = _under(database, clock, vouchers)
    issuers = (ISSUER, "proxy", "login-link", None)
    tokens = [await before.create("mary", _HOST, issuer=issuer) for issuer in issuers]
    session = _lookup(before, tokens[0]).session

    async def alive(now: Vouchers) -> list[bool]:
        sessions = _under(database, clock, now)
        await sessions.load()
        return [sessions.table.lookup(token.encode(), _HOST) is not None for token in tokens]

    assert await alive(vouchers) == [True, True, True, True]
    elsewhere = Vouchers(Naming(f"{ISSUER}/realms/ours"))
    assert await alive(elsewhere) == [False, False, True, True]
    after = _under(database, clock, elsewhere)
    await after.refresh([session])
    with pytest.raises(NotFound):
        await after.add_origin(session, "other")
    assert (await after.disown(), await after.disown()) == (2, 0)
    assert await alive(vouchers) == [False, False, True, True], "they are over for good"
