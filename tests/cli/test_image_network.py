"""`nbgate image build` and `nbgate network protect`, as far as they go without an engine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.notebooks.identity import Identity
from tests.cli.conftest import Command, Gateway
from tests.support.waiting import PATIENCE


def test_a_folder_without_dockerfile_is_named(
    nbgate: Command, state_dir: Path, tmp_path: Path
) -> None:
    result = nbgate("image", "build", "--context", str(tmp_path))
    assert (result.code, str(tmp_path) in result.error) == (2, True)
    assert "--context" in result.error


def test_an_engine_that_does_not_answer_is_named(state_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    socket = f"unix://{tmp_path}/no.sock"
    # In a process of its own: the engine's client leaves a socket to the garbage collector.
    ended = subprocess.run(
        [
            *(sys.executable, "-m", "gateway", "image", "build"),
            *("--context", str(tmp_path), "--docker-host", socket),
        ],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert ended.returncode == 1
    assert socket in ended.stderr.splitlines()[-1]
    assert "Traceback" not in ended.stderr


@pytest.fixture
def iptables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for iptables that knows no rule yet; the file it logs its arguments to."""
    folder = tmp_path / "bin"
    folder.mkdir()
    log = tmp_path / "iptables.log"
    script = folder / "iptables"
    script.write_text(f'#!/bin/sh\necho "$@" >> {log}\n[ "$2" != -C ]\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return log


def test_rules_are_for_the_installation_of_the_state_folder(
    nbgate: Command, state_dir: Path, iptables: Path
) -> None:
    installation = Identity.load(state_dir).installation
    done = nbgate.ok("network", "protect")
    assert "rules set" in done.out
    assert installation in iptables.read_text()


def test_rules_are_for_the_running_gateway_where_the_folder_has_no_identity(
    nbgate: Command, gateway: Gateway, iptables: Path
) -> None:
    nbgate.ok("network", "protect")
    assert "0123abcd" in iptables.read_text()
    assert not (gateway.state_dir / "identity.json").exists()


def test_rules_can_be_taken_away(nbgate: Command, state_dir: Path, iptables: Path) -> None:
    nbgate.ok("network", "protect", "--installation", "1a2b3c4d", "--remove")
    assert all(" -D " in f" {line} " for line in iptables.read_text().splitlines())


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--installation", "no-hex"], "--installation: 'no-hex'"),
        (["--network-subnet", "fd00::/64"], "--network-subnet: fd00::/64"),
        (["--network-subnet", "here"], "--network-subnet: "),
    ],
)
def test_wrong_arguments_are_named(
    nbgate: Command, state_dir: Path, arguments: list[str], named: str
) -> None:
    result = nbgate("network", "protect", *arguments)
    assert (result.code, result.error.startswith(named)) == (2, True), result
