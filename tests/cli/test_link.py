"""`nbgate link` and `nbgate student`, against a real management API."""

from __future__ import annotations

import json

import pytest

from gateway.cli.failures import Exit
from gateway.launch.bindings import Bindings
from gateway.launch.signatures import claim_of, is_good
from gateway.launch.targets import read_target
from tests.api.support import ORIGIN
from tests.cli.conftest import Command, Gateway

pytestmark = pytest.mark.usefixtures("gateway")


def made_key(nbgate: Command, *words: str) -> tuple[str, str]:
    key = json.loads(nbgate.ok("link", "key", "add", *words, "--json").out)
    return key["kid"], key["secret"]


def test_link_is_signed_by_the_courses_newest_key(nbgate: Command) -> None:
    nbgate.ok("project", "add", "demo", "--links", "signed")
    made_key(nbgate, "--issuer", "moodle")
    kid, secret = made_key(nbgate, "--project", "demo")
    link = nbgate.ok(
        "link",
        "sign",
        "demo",
        "w1/été 1.ipynb",
        "--person",
        "student7",
        "--name",
        "Mary",
        "--lifetime",
        "2m",
        "--once",
    ).out.strip()
    assert link.startswith(f"{ORIGIN}/gateway/open/demo/w1/%C3%A9t%C3%A9%201.ipynb/student7?")
    claim = claim_of(read_target(link.removeprefix(ORIGIN)))
    assert (claim.kid, claim.name, len(claim.nonce or "")) == (kid, "Mary", 43)
    assert is_good(claim, secret)


def test_keys_are_listed_without_their_secrets_and_removed(nbgate: Command) -> None:
    nbgate.ok("project", "add", "demo")
    kid, secret = made_key(nbgate, "--project", "demo")
    shown = nbgate.ok("link", "key", "list").out
    assert kid in shown
    assert "course/demo" in shown
    assert secret not in shown + nbgate.ok("link", "key", "list", "--json").out
    assert "removed" in nbgate.ok("link", "key", "remove", kid).out
    assert kid not in nbgate.ok("link", "key", "list").out
    assert nbgate("link", "key", "remove", kid).code == Exit.NOT_FOUND


def test_secret_is_told_with_a_warning(nbgate: Command) -> None:
    done = nbgate.ok("link", "key", "add", "--own-people")
    assert "secret" in done.out
    assert "not shown again" in done.error


def test_key_of_one_course_signs_for_no_other(nbgate: Command) -> None:
    for name in ("demo", "other"):
        nbgate.ok("project", "add", name, "--links", "signed")
    kid, _ = made_key(nbgate, "--project", "other")
    refused = nbgate("link", "sign", "demo", "--person", "x", "--key", kid)
    assert "signs for the course 'other' alone" in refused.error
    assert (
        "nbgate link key add --project demo"
        in nbgate("link", "sign", "demo", "--person", "x").error
    )


def test_course_without_links_says_how_to_allow_them(nbgate: Command) -> None:
    nbgate.ok("project", "add", "demo")
    refused = nbgate("link", "sign", "demo", "--person", "x")
    assert "nbgate project update demo --links signed" in refused.error
    nbgate.ok("project", "update", "demo", "--links", "plain", "--links-page", "lab")
    shown = json.loads(nbgate.ok("project", "show", "demo", "--json").out)
    assert (shown["links"], shown["links_page"]) == ("plain", "lab")
    assert nbgate("project", "update", "demo", "--links", "open").code == 2


def test_what_cannot_be_signed_is_told(nbgate: Command) -> None:
    nbgate.ok("project", "add", "demo", "--links", "signed")
    made_key(nbgate, "--project", "demo")
    for words in (
        ["../x.ipynb", "--person", "x"],
        ["x.ipynb", "--person", "a/b"],
        ["x.ipynb", "--person", "x", "--lifetime", "2d"],
        ["x.ipynb", "--person", "x", "--name", "a\nb"],
    ):
        refused = nbgate("link", "sign", "demo", *words)
        assert refused.code != Exit.OK
        assert refused.out == ""
        assert len(refused.err.splitlines()) == 1


def test_students_id_is_released_with_its_session(nbgate: Command, gateway: Gateway) -> None:
    nbgate.ok("project", "add", "demo", "--links", "plain")
    assert nbgate("student", "release", "demo", "mary").code == Exit.NOT_FOUND
    assert nbgate("student", "release", "nothing", "mary").code == Exit.NOT_FOUND

    async def claim() -> str:
        ways = gateway.world.services.ways
        token = await ways.sessions.create("plain/demo:mary", "h")
        principal = ways.sessions.table.lookup(token.encode(), "h")
        assert principal is not None
        assert await ways.bindings.claim("demo", "mary", principal.session)
        return principal.session

    async def holder(bindings: Bindings) -> str | None:
        return await bindings.holder("demo", "mary")

    session = gateway.call(claim())
    ways = gateway.world.services.ways
    assert gateway.call(holder(ways.bindings)) == session
    assert "released" in nbgate.ok("student", "release", "demo", "mary").out
    assert gateway.call(holder(ways.bindings)) is None
    assert ways.sessions.table.principal(session) is None
