"""What `make test` does about root's rights: its scripts, with stand-ins for commands."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.engine import ROOT
from tests.support.waiting import PATIENCE

SCRIPTS = ROOT / "tests/support/system"
TOOLS = (
    "bash",
    "cat",
    "chmod",
    "chown",
    "dirname",
    "env",
    "find",
    "grep",
    "kill",
    "mkdir",
    "mktemp",
)
MORE_TOOLS = ("nice", "rm", "sleep", "tail", "tee", "true")


@dataclass(frozen=True)
class Machine:
    """A tree with the scripts, and a PATH with nothing but tools and stand-ins.

    Attributes:
        tree: where the scripts are, as in the repository.
        commands: the only folder on PATH.
    """

    tree: Path
    commands: Path

    def stand_in(self, name: str, script: str) -> None:
        """Put a command on PATH that notes how it was called, and goes on with `script`."""
        path = self.commands / name if "/" not in name else self.tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'#!/bin/bash\necho "{name} $*" >> {self.tree}/calls\n{script}\n')
        path.chmod(0o755)

    def run(
        self, script: str, *before: str, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run one of the scripts; `before` is a command that runs another, with its arguments."""
        return subprocess.run(
            [*before, "bash", str(self.tree / "tests/support/system" / script)],
            env={"PATH": str(self.commands), "HOME": str(self.tree), **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
        )

    def calls(self) -> list[str]:
        """Return how the stand-ins were called."""
        return (self.tree / "calls").read_text().splitlines()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A Debian where a user without sudo lacks much of what the tests need."""
    made = Machine(tmp_path / "tree", tmp_path / "commands")
    shutil.copytree(SCRIPTS, made.tree / "tests/support/system")
    made.commands.mkdir()
    for tool in (*TOOLS, *MORE_TOOLS):
        found = shutil.which(tool)
        assert found, tool
        (made.commands / tool).symlink_to(found)
    made.stand_in("id", "echo 1000")
    made.stand_in("apt-cache", "exit 0")
    made.stand_in("apt-get", "exit 0")
    return made


def allow_sudo(machine: Machine) -> None:
    """Let the user be root without a password; nothing outside of the tree is touched."""
    machine.stand_in(
        "sudo",
        'while [[ $1 == -* ]]; do shift; done\ncase "$*" in\n'
        "    */usr/sbin/policy-rc.d*) exit 0 ;;\nesac\n"
        'exec "$@"',
    )


def test_user_who_may_not_be_root_is_told_what_is_missing(machine: Machine) -> None:
    result = machine.run("install.sh")
    assert result.returncode == 0
    said = result.stderr.splitlines()
    assert said[0] == "missing on this machine; the tests need:"
    assert "  git (projects from git repositories)" in said
    assert "  chromium (pages, as people see them)" in said
    assert said[-2].startswith("as root: apt-get install git ")
    assert said[-1] == "going on without; tests that need them are skipped"
    assert not [call for call in machine.calls() if call.startswith("apt-get")]


def test_in_ci_what_is_missing_fails(machine: Machine) -> None:
    result = machine.run("install.sh", CI="true")
    assert result.returncode == 1
    assert "  git (projects from git repositories)" in result.stderr.splitlines()


def test_user_with_sudo_has_it_installed_by_sudo(machine: Machine) -> None:
    allow_sudo(machine)
    machine.run("install.sh")
    (update,) = [call for call in machine.calls() if call.startswith("sudo apt-get update")]
    (install,) = [call for call in machine.calls() if call.startswith("sudo env DEBIAN_FRONTEND=")]
    assert " apt-get install --yes " in install
    assert {"git", "chromium"} <= set(install.split())
    assert machine.calls().index(update) < machine.calls().index(install)


def test_what_apt_could_not_bring_is_told_after_it(machine: Machine) -> None:
    allow_sudo(machine)
    machine.stand_in("apt-get", f": > {machine.commands}/git; chmod 755 {machine.commands}/git")
    result = machine.run("install.sh", CI="true")
    assert result.returncode == 1
    assert "  git (" not in result.stderr
    assert "  chromium (pages, as people see them)" in result.stderr.splitlines()


@pytest.fixture
def ready(machine: Machine) -> Machine:
    """The machine with all that is needed, make and Python among it."""
    (machine.tree / "tests/support/system/install.sh").write_text("exit 0\n")
    machine.stand_in("make", "exit 0")
    machine.stand_in(".venv/bin/python", "exit 0")
    return machine


def test_engine_and_its_tests_run_by_sudo_and_nothing_else_does(ready: Machine) -> None:
    allow_sudo(ready)
    result = ready.run("test.sh")
    assert result.returncode == 0, result.stderr
    by_sudo = [call for call in ready.calls() if call.startswith("sudo --preserve-env --set-home ")]
    called = [call.partition(".venv/bin/python ")[2] for call in by_sudo]
    assert called[0] == "-m tests.support.images prepare"
    assert "-m engine" in called[1]
    assert " find . " in by_sudo[2]  # gives back what root made
    assert len(by_sudo) == 3
    assert sum(" -m not engine" in call for call in ready.calls()) == 2


def test_without_sudo_the_engines_tests_are_left_out(ready: Machine) -> None:
    ready.stand_in(".venv/bin/python", 'test "$3" != prepare')
    result = ready.run("test.sh")
    assert result.returncode == 0, result.stderr
    assert "no Docker Engine for the tests" in result.stdout
    assert not any(" -m engine" in call for call in ready.calls())


def test_in_ci_an_engine_that_is_missing_fails(ready: Machine) -> None:
    ready.stand_in(".venv/bin/python", 'test "$3" != prepare')
    result = ready.run("test.sh", CI="true")
    assert result.returncode == 1
    assert "FAILED: tests with an engine" in result.stdout


@pytest.mark.parametrize("before", [(), ("env", "--ignore-signal=INT")], ids=["", "background"])
def test_ended_run_stops_the_engine_that_is_being_prepared(
    ready: Machine, before: tuple[str, ...]
) -> None:
    allow_sudo(ready)
    ready.stand_in(
        ".venv/bin/python",
        'case "$*" in\n'
        "*prepare)\n"
        "    trap 'echo ended >> calls; kill $!; exit 1' TERM\n"
        "    sleep 600 &\n    : > preparing\n    wait ;;\n"
        "*--ignore=*)\n"
        "    until [ -e preparing ]; do sleep 0.05; done\n    kill -TERM $PPID ;;\n"
        "esac",
    )
    assert ready.run("test.sh", *before).returncode != 0
    assert "ended" in ready.calls()
    assert not [call for call in ready.calls() if "-m engine" in call]


def test_root_needs_no_sudo(ready: Machine) -> None:
    ready.stand_in("id", "echo 0")
    allow_sudo(ready)
    assert ready.run("test.sh").returncode == 0
    assert not [call for call in ready.calls() if call.startswith("sudo")]
