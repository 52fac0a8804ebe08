"""What the tests of spaces from git repositories share; with real git."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from gateway.spaces import Source, Spaces
from tests.support.waiting import PATIENCE


def git(folder: Path, *arguments: str) -> str:
    """Run git in a folder, as somebody; return what it prints."""
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main"]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    return subprocess.run(
        ["git", *who, *arguments],
        cwd=folder,
        env=inherited,
        check=True,
        capture_output=True,
        timeout=PATIENCE,
        text=True,
    ).stdout


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with one commit on main, and another file on the branch `spring`."""
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "-q")
    (folder / "intro.ipynb").write_text("{}")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "one")
    git(folder, "checkout", "-qb", "spring")
    (folder / "spring.ipynb").write_text("{}")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "two")
    git(folder, "checkout", "-q", "main")
    return folder


def source_of(repository: Path, ref: str | None = None) -> Source:
    return Source(url=f"file://{repository}", ref=ref)


@pytest.fixture
def spaces(tmp_path: Path) -> Spaces:
    return Spaces(tmp_path / "spaces")


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())
