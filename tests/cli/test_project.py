"""`nbgate project …` against a running management API."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Command, Gateway


def test_a_project_is_added_changed_shown_and_deleted(
    gateway: Gateway, nbgate: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "course").mkdir()
    monkeypatch.chdir(tmp_path)
    added = nbgate.ok(
        "project", "add", "demo", "--title", "Demo", "--source", "course", "--memory", "2G",
        "--staff", "ann", "--staff", "bob",
    )  # fmt: skip
    assert added.out == "demo: added\n"
    changed = nbgate.ok("project", "update", "demo", "--cpus", "3", "--json").json
    assert (changed["memory"], changed["cpus"]) == (2 * 2**30, 3.0)
    assert changed["source"] == str((tmp_path / "course").resolve())
    shown = [line.split() for line in nbgate.ok("project", "show", "demo").out.splitlines()]
    assert ["memory", "2G"] in shown
    assert ["staff", "ann", "bob"] in shown
    assert nbgate.ok("project", "list", "--json").json == [changed]
    assert nbgate.ok("project", "list").out.splitlines()[1].startswith("demo  Demo")
    assert nbgate.ok("project", "delete", "demo").out == "demo: deleted\n"
    assert "nbgate project add" in nbgate.ok("project", "list").error


def test_lifetimes_are_given_and_shown_as_people_write_them(
    gateway: Gateway, nbgate: Command
) -> None:
    nbgate.ok("project", "add", "demo", "--idle-timeout", "90m", "--pause-after", "600")
    nbgate.ok("project", "update", "demo", "--max-age", "12h", "--still-busy", "pgrep train")
    lines = nbgate.ok("project", "show", "demo").out.splitlines()
    shown = [line.split() for line in lines]
    for pair in (["idle_timeout", "1h30m"], ["pause_after", "10m"], ["max_age", "12h"]):
        assert pair in shown
    changed = nbgate.ok(
        "project", "update", "demo", "--idle-timeout", "default", "--still-busy", "default",
        "--json",
    ).json  # fmt: skip
    assert (changed["idle_timeout"], changed["still_busy"]) == (None, None)
    assert changed["max_age"] == 43200.0


def test_origins_that_may_frame_it_are_given_shown_and_given_back(
    gateway: Gateway, nbgate: Command
) -> None:
    added = nbgate.ok(
        "project", "add", "demo", "--frame-ancestors",
        "https://lms.example.org, https://b.example.org", "--json",
    ).json  # fmt: skip
    assert added["frame_ancestors"] == ["https://lms.example.org", "https://b.example.org"]
    lines = nbgate.ok("project", "show", "demo").out.splitlines()
    shown = ["frame_ancestors", "https://lms.example.org", "https://b.example.org"]
    assert shown in [line.split() for line in lines]
    for text, origins in (("none", []), ("default", None)):
        told = nbgate.ok("project", "update", "demo", "--frame-ancestors", text, "--json").json
        assert told["frame_ancestors"] == origins


@pytest.mark.parametrize("url", ["https://git.example.org/a.git", "git@git.example.org:a/b.git"])
def test_git_urls_are_kept_as_they_are(gateway: Gateway, nbgate: Command, url: str) -> None:
    assert nbgate.ok("project", "add", "demo", "--source", url, "--json").json["source"] == url


@pytest.mark.parametrize(
    ("arguments", "code", "named"),
    [
        (["add", "Demo Course"], 1, "demo-course"),
        (["add", "gateway"], 1, "reserved"),
        (["add", "other", "--memory", "lots"], 1, "memory: 'lots'"),
        (["add", "other", "--idle-timeout", "soon"], 2, "--idle-timeout: 'soon' is no duration"),
        (["add", "other", "--still-busy", "ftp://a/"], 1, "still_busy: 'ftp://a/'"),
        (["add", "other", "--source", "/nowhere/at/all"], 1, "/nowhere/at/all"),
        (["add", "other", "--frame-ancestors", "lms.org"], 1, "'lms.org' is no origin"),
        (["add", "demo"], 5, "exists already"),
        (["show", "nothing"], 4, "'nothing'"),
        (["update", "demo"], 2, "nothing to change"),
        (["delete", "nothing"], 4, "'nothing'"),
    ],
)
def test_what_is_wrong_is_one_line(
    demo: Path, nbgate: Command, arguments: list[str], code: int, named: str
) -> None:
    result = nbgate("project", *arguments)
    assert (result.code, named in result.error) == (code, True), result


def test_an_update_under_a_locked_notebook_is_one_line_with_the_remedy(
    demo: Path, nbgate: Command
) -> None:
    nbgate.ok("notebook", "create", "first", "--project", "demo")
    nbgate.ok("notebook", "lock", "first", "--reason", "exam", "--by", "teacher")
    result = nbgate("project", "update", "demo", "--memory", "4G")
    assert result.code == 5
    assert "('first' by teacher: exam)" in result.error
    assert "`nbgate notebook unlock first`" in result.error
    nbgate.ok("project", "update", "demo", "--title", "New")
    nbgate.ok("notebook", "unlock", "first")
    nbgate.ok("project", "update", "demo", "--memory", "4G")


def test_a_project_with_notebooks_is_not_deleted(demo: Path, nbgate: Command) -> None:
    nbgate.ok("notebook", "create", "first", "--project", "demo")
    result = nbgate("project", "delete", "demo")
    assert (result.code, "has notebooks" in result.error) == (5, True)
