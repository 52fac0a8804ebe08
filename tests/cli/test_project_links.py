"""`nbgate project links` against a running management API: the words, and what is refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gateway.cli.failures import Exit
from tests.cli.conftest import Command


def test_course_without_links_says_how_to_allow_them(nbgate: Command, demo: Path) -> None:
    for words in ((), ("--check",), ("--check", "--static")):
        refused = nbgate("project", "links", "demo", *words)
        assert refused.code == Exit.CONFLICT
        assert "nbgate project update demo --links signed" in refused.error


@pytest.mark.parametrize(
    "words", [["--static"], ["--check", "--timeout", "0"], ["--check", "--timeout", "2h"]]
)
def test_wrong_words_are_refused(nbgate: Command, demo: Path, words: list[str]) -> None:
    refused = nbgate("project", "links", "demo", *words)
    assert (refused.code, refused.out) == (Exit.USAGE, "")
    assert refused.error


def test_notebook_that_no_link_can_name_is_told_beside_the_others(
    nbgate: Command, demo: Path
) -> None:
    (demo / os.fsdecode(b"latin-\xe9.ipynb")).write_text("{}")
    for links in ("plain", "signed"):
        nbgate.ok("project", "update", "demo", "--links", links)
        if links == "signed":
            nbgate.ok("link", "key", "add", "--project", "demo")
        shown = nbgate.ok("project", "links", "demo")
        assert shown.out.endswith("/ipythonExercice/demo/first%20steps.ipynb/%%USER_ID%%\n")
        assert "not UTF-8" in shown.error
        assert [one["file"] for one in nbgate.ok("project", "links", "demo", "--json").json] == [
            "first steps.ipynb"
        ]


def test_course_without_notebooks_is_well(nbgate: Command, demo: Path) -> None:
    (demo / "first steps.ipynb").unlink()
    nbgate.ok("project", "update", "demo", "--links", "plain")
    checked = nbgate.ok("project", "links", "demo", "--check", "--json")
    assert (checked.json, "no notebooks" in checked.error) == ([], True)
