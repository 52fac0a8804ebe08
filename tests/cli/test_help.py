"""Help: every command has an example, and every setting a flag."""

from __future__ import annotations

import pytest

from gateway.cli.failures import Exit
from gateway.settings import Settings
from tests.cli.conftest import Command

NOUNS = {
    "serve": [],
    "proxy": [],
    "notebook": [
        "create",
        "list",
        "show",
        "start",
        "stop",
        "sync",
        "delete",
        "lock",
        "unlock",
        "share",
        "unshare",
        "logs",
        "url",
    ],
    "operation": ["list", "show"],
    "project": ["add", "list", "show", "update", "delete", "links"],
    "link": ["sign", "key"],
    "student": ["list", "show", "delete", "release"],
    "route": ["list", "get", "set", "delete", "check", "rebuild", "reload", "flush"],
    "image": ["build"],
    "network": ["protect"],
}
EACH = [
    [],
    *([noun] for noun in NOUNS),
    *([n, verb] for n, verbs in NOUNS.items() for verb in verbs),
]


@pytest.mark.parametrize("words", EACH, ids=" ".join)
def test_every_help_has_an_example(nbgate: Command, words: list[str]) -> None:
    shown = nbgate.ok(*words, "--help").out
    assert "example:" in shown
    assert f"nbgate {' '.join(words)}".rstrip() in shown.partition("example:")[2]


def choices_in(error: str) -> set[str]:
    listed = error.partition("choose from ")[2].partition(")")[0]
    return {word.strip("' ") for word in listed.split(",")}


def test_there_are_no_other_nouns(nbgate: Command) -> None:
    assert choices_in(nbgate("no-such-command").error) == set(NOUNS)


@pytest.mark.parametrize("noun", [noun for noun, verbs in NOUNS.items() if verbs])
def test_there_are_no_other_commands(nbgate: Command, noun: str) -> None:
    error = nbgate(noun, "no-such-command")
    assert error.code == 2
    assert choices_in(error.error) == set(NOUNS[noun])


def test_exit_codes_are_documented(nbgate: Command) -> None:
    documented = nbgate.ok("--help").out.partition("exit codes:")[2]
    codes = {int(line.split()[0]) for line in documented.splitlines() if line.strip()}
    assert codes == {int(code) for code in Exit} - {Exit.INTERRUPTED, Exit.BROKEN_PIPE}


def test_every_setting_has_a_flag_with_its_description(nbgate: Command) -> None:
    shown = " ".join(nbgate.ok("serve", "--help").out.split())
    for name, setting in Settings.model_fields.items():
        assert f"--{name.replace('_', '-')}" in shown
        assert setting.description
        # argparse breaks long words at hyphens; compare without blanks.
        assert setting.description.replace(" ", "") in shown.replace(" ", "")


def test_version_is_printed(nbgate: Command) -> None:
    assert nbgate.ok("--version").out.startswith("nbgate ")


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ([], "COMMAND"),
        (["nothing"], "'nothing'"),
        (["notebook"], "COMMAND"),
        (["notebook", "lock", "x"], "--reason"),
        (["notebook", "list", "--nothing"], "--nothing"),
        (["notebook", "show"], "SLUG"),
    ],
)
def test_wrong_usage_is_one_line_and_exits_with_2(
    nbgate: Command, words: list[str], named: str
) -> None:
    result = nbgate(*words)
    assert (result.code, named in result.error) == (2, True), result
    assert "--help" in result.error
