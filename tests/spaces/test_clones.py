"""Spaces that are clones of their course's repository, with real git."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gateway.spaces import Source, Spaces
from tests.support.repositories import git, names_in, repository, source_of, spaces

__all__ = ["repository", "spaces"]


async def test_space_becomes_a_clone_that_git_understands(
    spaces: Spaces, repository: Path, tmp_path: Path
) -> None:
    space = await spaces.ensure("genome", source_of(repository, "spring"))
    await spaces.make_clone("genome", source_of(repository, "spring"))
    assert names_in(space) == [".git", "intro.ipynb", "spring.ipynb"]
    assert git(space, "status", "--porcelain", "--branch") == "## spring...origin/spring\n"
    git(repository, "checkout", "-q", "spring")
    (repository / "new.ipynb").write_text("{}")
    git(repository, "add", ".")
    git(repository, "commit", "-qm", "three")
    git(space, "pull", "-q")
    assert (space / "new.ipynb").exists()
    await spaces.close()
    assert names_in(tmp_path / "spaces") == ["genome"]


async def test_clone_keeps_what_a_person_has_written(spaces: Spaces, repository: Path) -> None:
    space = await spaces.ensure("genome", None)
    (space / "intro.ipynb").write_text("mine")
    await spaces.make_clone("genome", source_of(repository))
    assert (space / "intro.ipynb").read_text() == "mine"
    assert git(space, "status", "--porcelain") == " M intro.ipynb\n"
    await spaces.close()


@pytest.mark.parametrize("kind", ["file", "folder", "symlink"])
async def test_git_of_a_persons_own_stays(
    spaces: Spaces, repository: Path, tmp_path: Path, kind: str
) -> None:
    own = await spaces.ensure("genome", None) / ".git"
    (tmp_path / "elsewhere").mkdir()
    if kind == "file":
        own.write_text("gitdir: elsewhere")
    elif kind == "folder":
        own.mkdir()
    else:
        own.symlink_to(tmp_path / "elsewhere")
    before = own.lstat()
    await spaces.make_clone("genome", source_of(repository))
    assert own.lstat() == before
    assert not list(own.iterdir() if kind != "file" else ())
    assert names_in(tmp_path / "spaces") == ["genome"]


async def test_many_frames_at_once_make_one_clone(spaces: Spaces, repository: Path) -> None:
    space = await spaces.ensure("genome", source_of(repository))
    source = source_of(repository)
    await asyncio.gather(*(spaces.make_clone("genome", source) for _ in range(8)))
    assert git(space, "status", "--porcelain") == ""
    await spaces.close()
    assert names_in(space.parent) == ["genome"]


async def test_folder_is_no_repository_even_where_git_lies_in_it(
    spaces: Spaces, repository: Path
) -> None:
    space = await spaces.ensure("genome", Source(folder=repository))
    await spaces.make_clone("genome", Source(folder=repository))
    await spaces.make_clone("genome", None)
    assert names_in(space) == ["intro.ipynb"]


@pytest.mark.parametrize("settings", ["", "[clone]\n\tdefaultRemoteName = upstream\n"])
async def test_clone_does_not_know_the_courses_password(
    spaces: Spaces,
    repository: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    settings: str,
) -> None:
    """Whatever git is told by whom the gateway runs as."""
    (tmp_path / "gitconfig").write_text(settings)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    ssh = tmp_path / "ssh"
    ssh.write_text('#!/bin/bash\neval "${@: -1}"\n')
    ssh.chmod(0o755)
    monkeypatch.setenv("GIT_SSH_COMMAND", str(ssh))
    source = Source(url=f"ssh://mary:s3cret@course.example{repository}")
    space = await spaces.ensure("genome", source)
    await spaces.make_clone("genome", source)
    url = git(space, "remote", "get-url", "origin")
    assert url == f"ssh://mary@course.example{repository}\n"
    files = [one for one in (space / ".git").rglob("*") if one.is_file()]
    assert files
    assert not [one for one in files if b"s3cret" in one.read_bytes()]
    await spaces.close()


async def test_clone_has_nothing_of_programs_that_the_gateways_git_runs(
    spaces: Spaces, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As git-lfs, which puts hooks and its copies of files there; where it is not, they fail."""
    leaving = "mkdir -p .git/hooks .git/lfs && touch .git/hooks/post-checkout .git/lfs/x && cat"
    (tmp_path / "gitconfig").write_text(f'[filter "lfs"]\n\tsmudge = "{leaving}"\n')
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    (repository / ".gitattributes").write_text("*.ipynb filter=lfs\n")
    git(repository, "add", ".")
    git(repository, "commit", "-qm", "filtered")
    space = await spaces.ensure("genome", source_of(repository))
    (checkout,) = (tmp_path / "spaces").glob(".source-*")
    assert (checkout / ".git" / "hooks" / "post-checkout").exists()
    await spaces.make_clone("genome", source_of(repository))
    assert not {"hooks", "lfs"} & set(names_in(space / ".git"))
    assert git(space, "status", "--porcelain") == ""
    await spaces.close()
