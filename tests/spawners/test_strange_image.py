"""The command for an image that is not ours, run by a real shell with a stand-in for Jupyter."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.spawners import strange_image

STAND_IN = """\
#!/bin/sh
echo "path=$JUPYTER_CONFIG_PATH"
for argument; do echo "argument=$argument"; done
"""


@pytest.fixture
def stand_in(tmp_path: Path) -> Path:
    """A folder with a program `jupyter`, which tells what it was given."""
    program = tmp_path / "bin" / "jupyter"
    program.parent.mkdir()
    program.write_text(STAND_IN)
    program.chmod(0o755)
    return program.parent


def told(stand_in: Path, folder: Path, provider: str, **environment: str) -> list[str]:
    """Run the command with its own folder in the place of the container's."""
    words = strange_image.command(["--a=b c", "--d=$HOME"], provider)
    words[2] = words[2].replace("/tmp/nbgate", str(folder))
    variables = {"PATH": f"{stand_in}:{os.environ['PATH']}", **environment}
    run = subprocess.run(words, env=variables, capture_output=True, text=True, check=True)
    return run.stdout.splitlines()


ARGUMENTS = ["argument=lab", "argument=--a=b c", "argument=--d=$HOME"]


def test_provider_is_where_jupyter_looks_and_arguments_are_as_they_were(
    stand_in: Path, tmp_path: Path
) -> None:
    folder, provider = tmp_path / "x", "text = 'a\\n%s'\n\"$b\" `c`\n"
    lines = told(stand_in, folder, provider, JUPYTER_CONFIG_PATH="/image/its:own")
    assert lines == [f"path={folder}:/image/its:own", *ARGUMENTS]
    assert (folder / "nbgate_identity.py").read_text() == provider


@pytest.mark.parametrize("case", ["no provider", "a folder that cannot be made"])
def test_jupyter_starts_without_a_provider(stand_in: Path, tmp_path: Path, case: str) -> None:
    (tmp_path / "file").touch()
    provider = "" if case == "no provider" else "x"
    lines = told(stand_in, tmp_path / "file" / "x", provider)
    assert lines == ["path=", *ARGUMENTS]


def configured(folder: Path, provider: str) -> str:
    """Return the configuration as Jupyter reads it, with `provider`."""
    (folder / "nbgate_identity.py").write_text(provider)
    (folder / "jupyter_server_config.py").write_text(strange_image.command([], provider)[5])
    code = (
        "import sys; from traitlets.config.loader import PyFileConfigLoader as Loader\n"
        "before = list(sys.path)\n"
        "c = Loader('jupyter_server_config.py', path=sys.argv[1]).load_config()\n"
        "assert sys.path == before\n"
        "name = c.ServerApp.identity_provider_class.__name__ if 'ServerApp' in c else ''\n"
        "mine = c.HopIdentityProvider\n"
        "print(name, mine.get('hop_secret'), repr(mine.get('token')), mine.get('user_name'))\n"
    )
    environment = {**os.environ, "JUPYTER_TOKEN": "s3cret", "NBGATE_USER_NAME": "alice"}
    run = subprocess.run(
        [sys.executable, "-c", code, str(folder)],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return run.stdout.strip()


def test_configuration_names_our_provider_and_no_token(tmp_path: Path) -> None:
    provider = strange_image.provider_source()
    assert provider
    assert configured(tmp_path, provider) == "HopIdentityProvider s3cret '' alice"


def test_jupyter_server_of_before_runs_in_token_mode(tmp_path: Path) -> None:
    provider = "from jupyter_server.auth import ThereIsNoProvider\n"
    assert configured(tmp_path, provider) == "None None None"
