"""`nbgate notebook share` and `unshare` against a running management API."""

from __future__ import annotations

from pathlib import Path

from tests.cli.conftest import Command


def test_notebook_is_shared_and_not_any_more(nbgate: Command, demo: Path) -> None:
    nbgate.ok("notebook", "create", "first", "--project", "demo", "--owner", "alice")
    assert nbgate.ok("notebook", "share", "first", "bob", "carol").out == (
        "first: shared with bob, carol\n"
    )
    left = nbgate.ok("notebook", "unshare", "first", "carol", "--json").json
    assert left["shared_with"] == ["bob"]
    assert nbgate.ok("notebook", "unshare", "first", "bob").out == "first: not shared\n"


def test_course_that_lets_anybody_in_says_so(nbgate: Command, demo: Path) -> None:
    assert nbgate.ok("project", "show", "demo", "--json").json["anonymous"] is False
    assert nbgate.ok("project", "update", "demo", "--anonymous", "--json").json["anonymous"]
    shown = nbgate.ok("project", "show", "demo").out.splitlines()
    assert ["anonymous", "yes"] in [line.split() for line in shown]
    nbgate.ok("project", "update", "demo", "--no-anonymous")
    assert nbgate.ok("project", "show", "demo", "--json").json["anonymous"] is False
