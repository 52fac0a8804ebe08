"""`nbgate serve`: flags become settings, and wrong ones are one line."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.settings import Settings
from tests.cli.conftest import Command
from tests.support.waiting import PATIENCE


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch, state_dir: Path) -> list[Settings]:
    """The settings that the gateway was run with; it ends at once."""
    runs: list[Settings] = []

    def run(settings: Settings) -> int:
        runs.append(settings)
        return 0

    monkeypatch.setattr("gateway.app.run", run)
    return runs


def test_flags_win_over_the_environment(
    nbgate: Command, served: list[Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NBGATE_LISTEN", "127.0.0.1:1111")
    monkeypatch.setenv("NBGATE_MEMORY", "3G")
    nbgate.ok(
        "serve", "--listen", "127.0.0.1:2222", "--httpd-direct", "--cpus", "1.5", "--pids", "99",
        "--trusted-proxies", "10.0.0.0/8,::1", "--route-file", "/tmp/routes.gdbm",
        "--log-level", "debug",
    )  # fmt: skip
    (settings,) = served
    assert (settings.listen, settings.memory) == ("127.0.0.1:2222", "3G")
    assert (settings.httpd_direct, settings.cpus, settings.pids) == (True, 1.5, 99)
    assert settings.trusted_proxies == ("10.0.0.0/8", "::1")
    assert (settings.route_file, settings.log_level) == (Path("/tmp/routes.gdbm"), "debug")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--listen", "8000"], "--listen: '8000' is not host:port"),
        (["--cpus", "many"], "--cpus: "),
        (["--memory", "lots"], "--memory: 'lots' is not a size"),
        (["--start-timeout", "-1"], "--start-timeout: "),
        (["--trusted-proxies", "here"], "--trusted-proxies: "),
        (["--network-subnet", "10.0.0.0/30"], "--network-subnet: "),
        (["--routing", "both"], "--routing"),
        (["--routing", "host"], "base_domain"),
        (["--public-url", "nb.example.org"], "--public-url: "),
    ],
)
def test_a_wrong_flag_is_named(
    nbgate: Command, served: list[Settings], arguments: list[str], named: str
) -> None:
    result = nbgate("serve", *arguments)
    assert (result.code, named in result.error, served) == (2, True, []), result


def test_a_wrong_variable_is_named(
    nbgate: Command, served: list[Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NBGATE_CPUS", "many")
    result = nbgate("serve")
    assert (result.code, result.error.startswith("NBGATE_CPUS: ")) == (2, True)


@pytest.mark.parametrize("flag", ["--listen", "--management-listen"])
def test_a_port_in_use_is_one_line_that_names_it(state_dir: Path, flag: str) -> None:
    other = {"--listen": "--management-listen", "--management-listen": "--listen"}[flag]
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        arguments = [flag, address, other, "127.0.0.1:0", "--log-level", "error"]
        ended = subprocess.run(
            [sys.executable, "-m", "gateway", "serve", *arguments],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
            env=os.environ | {"NBGATE_STATE_DIR": str(state_dir)},
        )
    last = ended.stderr.splitlines()[-1]
    assert ended.returncode == 2, ended.stderr
    assert last.startswith("nbgate: ")
    assert address in last
    assert "Traceback" not in ended.stderr
