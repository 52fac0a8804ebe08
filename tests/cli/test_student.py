"""`nbgate student …` against a running management API."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.cli.failures import Exit
from gateway.errors import Conflict
from gateway.launch.session_table import SessionTable
from gateway.launch.sessions import Sessions
from gateway.notebooks.operations import Operation
from tests.cli.conftest import Command, Gateway

MARY = "plain/demo:mary"


def refused(nbgate: Command, code: Exit, *words: str) -> str:
    result = nbgate("student", *words)
    assert result.code == code, result
    return result.error


@pytest.fixture(autouse=True)
def class_of_two(gateway: Gateway, demo: Path) -> None:
    """Mary came by a plain link, alice by a login link; mary is signed in, in two browsers."""
    catalogue, ways = gateway.world.services.catalogue, gateway.world.services.ways

    async def come() -> None:
        for person in (MARY, "alice"):
            book = await catalogue.open_for("demo", person)
            await ways.spaces.ensure(book.slug, None)
        for host in ("a", "b"):
            token = await ways.sessions.create(MARY, host)
            principal = ways.sessions.table.lookup(token.encode(), host)
            assert principal is not None
            await ways.bindings.claim("demo", "mary", principal.session)

    gateway.world.engine.stoppable.set()
    gateway.call(come())


def test_students_are_listed_and_shown(nbgate: Command) -> None:
    listed = nbgate.ok("student", "list", "demo", "--json").json
    assert [(one["person"], one["sessions"]) for one in listed] == [("alice", 0), (MARY, 2)]
    assert nbgate.ok("student", "list", "--all", "--json").json == listed
    header, *rows = nbgate.ok("student", "list", "demo").out.splitlines()
    assert header.split()[:5] == ["PERSON", "PROJECT", "SLUG", "STATE", "SESSIONS"]
    assert rows[0].split()[:4] == ["alice", "demo", "demo-x-alice", "cold"]
    shown = nbgate.ok("student", "show", "demo", "mary", "--json").json
    assert (shown["person"], shown["sessions"]) == (MARY, 2)
    assert nbgate.ok("student", "show", "demo", MARY, "--json").json == shown
    assert "demo-x-alice" in nbgate.ok("student", "show", "demo", "alice").out


@pytest.mark.parametrize("name", ["mary", MARY])
def test_deleted_student_is_signed_out_and_nothing_is_left(
    nbgate: Command, gateway: Gateway, name: str
) -> None:
    services = gateway.world.services
    (slug,) = (one.slug for one in services.catalogue.notebooks(owner=MARY))
    refused(nbgate, Exit.USAGE, "delete", "demo", name)
    assert services.catalogue.find(slug) is not None
    nbgate.ok("student", "delete", "demo", name, "--yes")
    assert services.catalogue.find(slug) is None
    assert not services.ways.spaces.path(slug).exists()
    assert len(services.ways.sessions.table) == 0
    assert gateway.call(services.ways.bindings.holder("demo", "mary")) is None
    assert services.catalogue.find("demo-x-alice") is not None
    refused(nbgate, Exit.NOT_FOUND, "show", "demo", name)


def test_nobody_comes_back_while_what_is_theirs_is_deleted(
    nbgate: Command, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = gateway.world.services
    sessions, wait = services.ways.sessions, services.operations.wait
    refusals: list[str] = []
    elsewhere = Sessions(sessions._database, SessionTable(), 3600.0)

    async def meanwhile(operation: Operation) -> object:
        try:
            await sessions.create(MARY, "a")
        except Conflict as refused:
            refusals.append(str(refused))
        await elsewhere.create(MARY, "a")  # at another gateway, which does not know
        return await wait(operation)

    monkeypatch.setattr(services.operations, "wait", meanwhile)
    nbgate.ok("student", "delete", "demo", "mary", "--yes")
    assert ["being deleted" in told for told in refusals] == [True]

    async def stored() -> int:
        await sessions.load()
        return len(sessions.table)

    assert gateway.call(stored()) == 0
    gateway.call(sessions.create(MARY, "a"))


def test_id_of_a_plain_link_stays_whose_it_is_when_a_namesake_is_deleted(
    nbgate: Command, gateway: Gateway
) -> None:
    ways = gateway.world.services.ways

    async def come() -> str:
        token = await ways.sessions.create("plain/demo:alice", "a")
        principal = ways.sessions.table.lookup(token.encode(), "a")
        assert principal is not None
        await ways.bindings.claim("demo", "alice", principal.session)
        return principal.session

    session = gateway.call(come())
    nbgate.ok("student", "delete", "demo", "alice", "--yes")
    assert gateway.call(ways.bindings.holder("demo", "alice")) == session
    assert ways.sessions.table.principal(session) is not None


def test_locked_notebook_keeps_its_student(nbgate: Command, gateway: Gateway) -> None:
    services = gateway.world.services
    (slug,) = (one.slug for one in services.catalogue.notebooks(owner=MARY))
    nbgate.ok("notebook", "lock", slug, "--reason", "exam")
    told = refused(nbgate, Exit.CONFLICT, "delete", "demo", "mary", "--yes")
    assert "exam" in told
    assert len(services.ways.sessions.table) == 2


def test_two_people_of_one_name_are_told_apart(nbgate: Command, gateway: Gateway) -> None:
    gateway.call(gateway.world.services.catalogue.open_for("demo", "course/demo:mary"))
    told = refused(nbgate, Exit.CONFLICT, "show", "demo", "mary")
    assert MARY in told
    assert "course/demo:mary" in told


def test_what_is_not_there_is_told(nbgate: Command) -> None:
    refused(nbgate, Exit.NOT_FOUND, "show", "demo", "nobody")
    refused(nbgate, Exit.NOT_FOUND, "list", "nothing")
    refused(nbgate, Exit.USAGE, "list")
    refused(nbgate, Exit.USAGE, "list", "demo", "--all")


def test_what_a_deleted_student_shared_goes_too(nbgate: Command, gateway: Gateway) -> None:
    services = gateway.world.services
    shares, catalogue = services.ways.shares, services.catalogue
    slugs = [catalogue.notebooks(owner=person)[0].slug for person in (MARY, "alice")]
    copies = [gateway.call(shares.make(slug, "demo", "a.ipynb", b"{}"))[0] for slug in slugs]
    nbgate.ok("student", "delete", "demo", "mary", "--yes")
    gateway.call(services.ways.spaces.ensure(slugs[0], None))
    assert gateway.call(shares.find(copies[0])) is None, "nor when somebody has the id anew"
    assert gateway.call(shares.find(copies[1])) is not None
