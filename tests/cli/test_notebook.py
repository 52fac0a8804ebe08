"""`nbgate notebook …` against a running management API."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from gateway.errors import StartFailed
from tests.cli.conftest import Command, Gateway


@pytest.fixture(autouse=True)
def project(demo: Path) -> None:
    """Each test has the project demo."""


@pytest.fixture
def first(nbgate: Command) -> str:
    nbgate.ok("notebook", "create", "first", "--project", "demo", "--owner", "alice")
    return "first"


def test_a_created_notebook_is_shown_and_listed(nbgate: Command) -> None:
    made = nbgate.ok(
        "notebook", "create", "first", "--project", "demo", "--name", "First one", "--memory",
        "2G", "--cpus", "1.5", "--image", "a/b:1", "--env", "A=b=c",
        "--label", "team=bio", "--json",
    )  # fmt: skip
    assert made.json["environment"] == {"A": "b=c"}
    assert nbgate.ok("notebook", "show", "first", "--json").json == made.json
    shown = [
        line.split(maxsplit=1) for line in nbgate.ok("notebook", "show", "first").out.splitlines()
    ]
    for field in (["memory", "2G"], ["environment", "A=b=c"], ["labels", "team=bio"]):
        assert field in shown
    assert nbgate.ok("notebook", "list", "--json").json == [made.json]
    header, row = nbgate.ok("notebook", "list").out.splitlines()
    assert header.split() == [
        *("SLUG", "NAME", "PROJECT", "OWNER", "STATE", "HEALTH", "LOCKED", "BY")
    ]
    assert header.index("PROJECT") == row.index("demo")
    assert row.split() == ["first", "First", "one", "demo", "admin", "cold", "-", "-"]


def test_an_empty_list_has_a_hint_and_empty_json(nbgate: Command) -> None:
    empty = nbgate.ok("notebook", "list")
    assert empty.out == ""
    assert "nbgate notebook url" in empty.error
    assert nbgate.ok("notebook", "list", "--json").json == []


def test_an_unknown_notebook_is_told_and_exits_with_4(nbgate: Command) -> None:
    for arguments in (
        ["show", "nothing"],
        ["start", "nothing"],
        ["stop", "nothing"],
        ["delete", "nothing"],
        ["logs", "nothing"],
        ["url", "nothing"],
        ["list", "--project", "nothing"],
    ):
        result = nbgate("notebook", *arguments)
        assert (result.code, arguments) == (4, arguments)
        assert "'nothing'" in result.error


def test_a_taken_slug_exits_with_5(nbgate: Command, first: str) -> None:
    result = nbgate("notebook", "create", first, "--project", "demo")
    assert result.code == 5
    assert "exists already" in result.error


def test_a_wrong_slug_is_one_line(nbgate: Command) -> None:
    result = nbgate("notebook", "create", "My Notebook", "--project", "demo")
    assert result.code == 1
    assert "my-notebook" in result.error


def test_start_waits_and_stop_stops(nbgate: Command, gateway: Gateway, first: str) -> None:
    assert nbgate.ok("notebook", "start", first).out == "first: running\n"
    assert nbgate.ok("notebook", "stop", first).out == "first: stopped\n"
    assert gateway.world.engine.stopped == ["first"]


def test_start_without_waiting_says_how_far_it_is(
    nbgate: Command, gateway: Gateway, first: str
) -> None:
    gateway.world.engine.held.clear()
    told = nbgate.ok("notebook", "start", first, "--no-wait").out
    assert told.startswith("first: queued; `nbgate operation show ")


def test_a_slow_start_shows_its_progress(
    nbgate: Command, gateway: Gateway, first: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.cli.notebook_actions._QUIET_FOR", 0.0)
    gateway.world.engine.held.clear()
    gateway.loop.call_soon_threadsafe(gateway.loop.call_later, 1.0, gateway.world.engine.held.set)
    started = nbgate.ok("notebook", "start", first)
    assert started.error == "first: queued, number 1 in the queue (0 s)"


def test_a_failed_start_tells_the_reason_and_the_log(
    nbgate: Command, gateway: Gateway, first: str
) -> None:
    reason = "image 'a/b' is not on the engine; build it with `nbgate image build`"
    gateway.world.engine.broken = StartFailed(first, reason, "line one\nline two")
    result = nbgate("notebook", "start", first)
    assert result.code == 1
    assert result.err.splitlines() == [
        f"nbgate: notebook 'first' did not start: {reason}",
        "nbgate:   | line one",
        "nbgate:   | line two",
    ]
    assert nbgate.ok("notebook", "logs", first).out == "line one\nline two\n"


def test_stop_all_goes_on_past_a_locked_one(nbgate: Command, first: str) -> None:
    nbgate.ok("notebook", "create", "second", "--project", "demo")
    for slug in (first, "second"):
        nbgate.ok("notebook", "start", slug)
    nbgate.ok("notebook", "lock", first, "--reason", "exam", "--by", "teacher")
    result = nbgate("notebook", "stop", "--all")
    assert (result.code, result.out) == (5, "second: stopped\n")
    assert "locked by teacher: exam" in result.error
    assert "nbgate notebook unlock first" in result.error


def test_stop_all_of_nothing_says_so(nbgate: Command) -> None:
    assert nbgate.ok("notebook", "stop", "--all").error == "there is nothing to do"


@pytest.mark.parametrize("verb", ["stop", "sync"])
@pytest.mark.parametrize("arguments", [[], ["first", "--all"]])
def test_slugs_and_all_exclude_each_other(nbgate: Command, verb: str, arguments: list[str]) -> None:
    result = nbgate("notebook", verb, *arguments)
    assert (result.code, result.error) == (2, "give either slugs or --all")


def test_sync_prints_what_was_found(nbgate: Command, first: str) -> None:
    found = "first: nothing runs (the record said cold)\n"
    assert nbgate.ok("notebook", "sync", first).out == found
    assert nbgate.ok("notebook", "sync", "--all").out == found


def test_a_locked_notebook_is_not_deleted_until_it_is_unlocked(nbgate: Command, first: str) -> None:
    assert (
        nbgate.ok("notebook", "lock", first, "--reason", "exam").out == "first: locked by admin\n"
    )
    assert nbgate("notebook", "delete", first).code == 5
    assert "by admin since" in nbgate.ok("notebook", "show", first).out
    nbgate.ok("notebook", "unlock", first)
    assert nbgate.ok("notebook", "delete", first).out == "first: deleted; its files are kept\n"


def test_files_are_purged_only_when_confirmed(
    nbgate: Command, gateway: Gateway, first: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    nbgate.ok("notebook", "url", first)
    space = gateway.state_dir / "spaces" / first
    result = nbgate("notebook", "delete", first, "--purge-space")
    assert (result.code, space.exists()) == (2, True)
    assert "--yes" in result.error
    terminal = io.StringIO("no\n")
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr("sys.stdin", terminal)
    assert nbgate("notebook", "delete", first, "--purge-space").code == 1
    assert space.exists()
    nbgate.ok("notebook", "delete", first, "--purge-space", "--yes")
    assert not space.exists()


def test_logs_end_with_the_lines_that_were_asked_for(
    nbgate: Command, gateway: Gateway, first: str
) -> None:
    hint = nbgate.ok("notebook", "logs", first)
    assert (hint.out, "does not run" in hint.error) == ("", True)
    gateway.world.engine.output = "one\ntwo\nthree\n"
    assert nbgate.ok("notebook", "logs", first, "-n", "2").out == "two\nthree\n"
    assert nbgate("notebook", "logs", first, "-n", "0").code == 2


def test_url_prints_a_link_and_nothing_else(nbgate: Command, gateway: Gateway) -> None:
    person = ["--project", "demo", "--person", "alice"]
    result = nbgate.ok("notebook", "url", *person, "first steps.ipynb")
    assert (result.err, len(result.out.splitlines())) == ("", 1)
    ticket = result.out.strip().removeprefix("https://nb.example.org/gateway/login?ticket=")
    redeemed = gateway.call(gateway.world.tickets.redeem(ticket, "login", "nb.example.org"))
    assert redeemed is not None
    assert redeemed.next_path == "/nb/demo-x-alice/lab/tree/first%20steps.ipynb"
    again = nbgate.ok("notebook", "url", "demo-x-alice", "first steps.ipynb", "--json").json
    assert again["slug"] == "demo-x-alice"


def test_a_direct_url_is_the_servers_own(nbgate: Command, first: str) -> None:
    result = nbgate.ok("notebook", "url", first, "--direct")
    assert result.out == "http://127.0.0.1:41234/nb/first/lab?token=hop-secret\n"


@pytest.mark.parametrize(
    ("arguments", "code", "named"),
    [
        ([], 2, "SLUG"),
        (["--project", "demo"], 2, "--person"),
        (["a", "b", "c"], 2, "'c'"),
        (["--project", "demo", "--person", "alice", "a", "b"], 2, "'b'"),
        (["--project", "demo", "--person", "alice", "../x"], 1, "'../x'"),
        (["--project", "demo", "--person", "alice", "w9.ipynb"], 4, "'w9.ipynb'"),
        (["--project", "demo", "--person", ""], 1, "''"),
    ],
)
def test_a_wrong_url_request_is_one_line(
    nbgate: Command, arguments: list[str], code: int, named: str
) -> None:
    result = nbgate("notebook", "url", *arguments)
    assert (result.code, named in result.error) == (code, True), result


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--cpus", "many"], "'many'"),
        (["--cpus", "-1"], "'-1'"),
        (["--env", "NOVALUE"], "'NOVALUE'"),
        (["--label", "=x"], "'=x'"),
    ],
)
def test_wrong_limits_are_usage_errors(nbgate: Command, arguments: list[str], named: str) -> None:
    result = nbgate("notebook", "create", "first", "--project", "demo", *arguments)
    assert (result.code, named in result.error) == (2, True), result
    assert "nbgate notebook create --help" in result.error


def test_names_cannot_steer_the_terminal(nbgate: Command, gateway: Gateway, first: str) -> None:
    gateway.call(gateway.world.catalogue.update_notebook(first, name="\x1b[2Jgone"))
    assert "\x1b" not in nbgate.ok("notebook", "list").out
