"""`nbgate operation …`, and commands that do not wait."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Command


@pytest.fixture(autouse=True)
def first(nbgate: Command, demo: Path) -> str:
    nbgate.ok("notebook", "create", "first", "--project", "demo", "--owner", "alice")
    return "first"


def test_a_stop_that_is_not_waited_for_tells_where_to_look(nbgate: Command, first: str) -> None:
    told = nbgate.ok("notebook", "stop", first, "--no-wait", "--reason", "the lecture is over").out
    assert told.startswith("first: stopping; `nbgate operation show ")
    identity = told.split("operation show ")[1].split("`")[0]
    shown = nbgate.ok("operation", "show", identity, "--json").json
    assert (shown["id"], shown["kind"], shown["notebook"]) == (identity, "stop", first)
    assert ["kind", "stop"] in [
        line.split(maxsplit=1) for line in nbgate.ok("operation", "show", identity).out.splitlines()
    ]


def test_operations_are_a_table_of_the_latest_first(nbgate: Command, first: str) -> None:
    nbgate.ok("notebook", "stop", first)
    header, *rows = nbgate.ok("operation", "list", "--notebook", first).out.splitlines()
    assert header.split()[:6] == ["ID", "NOTEBOOK", "KIND", "STATE", "BY", "CREATED"]
    assert [row.split()[2] for row in rows] == ["stop", "create"]
    assert len(nbgate.ok("operation", "list", "-n", "1", "--json").json) == 1


def test_no_operation_is_a_hint(nbgate: Command) -> None:
    result = nbgate.ok("operation", "list", "--state", "failed")
    assert (result.out, "there are none" in result.error) == ("", True)


def test_an_unknown_operation_exits_with_4(nbgate: Command) -> None:
    result = nbgate("operation", "show", "nothing")
    assert (result.code, "no operation 'nothing'" in result.error) == (4, True)
