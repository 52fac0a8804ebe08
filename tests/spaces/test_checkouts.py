"""Spaces from git repositories, with real git."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from gateway.spaces import Source, Spaces, checkouts
from gateway.spaces import git as fetching
from gateway.spaces.git import SourceUnavailable
from tests.support.repositories import git, names_in, repository, source_of, spaces
from tests.support.waiting import PATIENCE, until

__all__ = ["repository", "spaces"]


class Clock:
    """Seconds that the test sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


async def test_space_has_the_files_of_the_default_branch_withoutgit(
    spaces: Spaces, repository: Path
) -> None:
    path = await spaces.ensure("genome", source_of(repository))
    assert names_in(path) == ["intro.ipynb"]
    await spaces.close()
    assert names_in(path.parent) == ["genome"]


async def test_space_has_the_files_of_the_chosen_branch(spaces: Spaces, repository: Path) -> None:
    path = await spaces.ensure("genome", source_of(repository, "spring"))
    assert names_in(path) == ["intro.ipynb", "spring.ipynb"]
    await spaces.close()


async def test_many_spaces_at_once_fetch_once(
    spaces: Spaces, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched = 0
    clone = fetching.clone

    async def counted(source: Source, folder: Path) -> None:
        nonlocal fetched
        fetched += 1
        await clone(source, folder)

    monkeypatch.setattr(fetching, "clone", counted)
    paths = await asyncio.gather(
        *(spaces.ensure(f"demo-{number}", source_of(repository)) for number in range(12))
    )
    assert fetched == 1
    assert all(names_in(path) == ["intro.ipynb"] for path in paths)
    await spaces.close()


async def test_class_waits_for_one_fetch_that_fails_and_later_ones_try_again(
    tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    going, fetched = asyncio.Event(), 0

    async def failing(source: Source, folder: Path) -> None:
        nonlocal fetched
        fetched += 1
        await going.wait()
        raise SourceUnavailable("course.git cannot be fetched: no route to host")

    monkeypatch.setattr(fetching, "clone", failing)
    made, waiting = checkouts.Checkouts(tmp_path), 0

    async def use() -> None:
        nonlocal waiting
        waiting += 1
        async with made.use(source_of(repository)):
            raise AssertionError("there is nothing to use")

    users = [asyncio.create_task(use()) for _ in range(12)]
    await until(lambda: waiting == 12)
    going.set()
    for one in users:
        with pytest.raises(SourceUnavailable, match="no route to host"):
            await one
    assert fetched == 1
    with pytest.raises(SourceUnavailable, match="no route to host"):
        await use()
    assert fetched == 2


async def test_old_checkout_is_fetched_again_and_stays_for_who_uses_it(
    tmp_path: Path, repository: Path
) -> None:
    clock = Clock()
    made = checkouts.Checkouts(tmp_path, keep_seconds=60.0, clock=clock)
    async with made.use(source_of(repository)) as old:
        (repository / "new.ipynb").write_text("{}")
        git(repository, "add", ".")
        git(repository, "commit", "-qm", "three")
        async with made.use(source_of(repository)) as same:
            assert same == old
        clock.now = 61.0
        async with made.use(source_of(repository)) as new:
            assert (new / "new.ipynb").exists()
            assert (old / "intro.ipynb").exists()
            assert not (old / "new.ipynb").exists()
    assert not old.exists()
    assert new.exists()
    await made.close()
    assert not new.exists()


async def test_files_that_came_last_are_used_when_the_repository_is_away(
    tmp_path: Path, repository: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    made = checkouts.Checkouts(tmp_path, keep_seconds=60.0, clock=clock)
    async with made.use(source_of(repository)) as old:
        pass
    await asyncio.to_thread(repository.rename, tmp_path / "away")
    clock.now = 61.0
    async with made.use(source_of(repository)) as same:
        assert same == old
    assert "files that came last are used" in caplog.text
    await made.close()


async def test_missing_repository_is_one_clear_line_and_leaves_nothing(
    spaces: Spaces, tmp_path: Path
) -> None:
    with pytest.raises(SourceUnavailable, match=r"nope cannot be fetched: .*nope") as caught:
        await spaces.ensure("genome", Source(url=f"file://{tmp_path}/nope"))
    assert "\n" not in str(caught.value)
    assert not await spaces.exists("genome")
    assert names_in(tmp_path / "spaces") == []


async def test_missing_branch_names_it(spaces: Spaces, repository: Path) -> None:
    with pytest.raises(SourceUnavailable, match="Remote branch autumn not found"):
        await spaces.ensure("genome", source_of(repository, "autumn"))


async def test_protocol_that_runs_commands_is_not_spoken(spaces: Spaces, tmp_path: Path) -> None:
    with pytest.raises(SourceUnavailable, match="transport 'ext' not allowed"):
        await spaces.ensure("genome", Source(url=f"ext::touch {tmp_path}/ran"))
    assert not (tmp_path / "ran").exists()


async def test_files_that_came_last_outlive_the_sweeping(
    spaces: Spaces, repository: Path, tmp_path: Path
) -> None:
    first = await spaces.ensure("first", source_of(repository))
    (first.parent / f"{checkouts.PREFIX}left").mkdir()
    (checkout,) = (one for one in first.parent.iterdir() if (one / ".git").is_dir())
    os.utime(checkout, (0, 0))
    assert await spaces.sweep(older_than=-3600) == 1, "even were it a day old"
    assert checkout.stat().st_mtime > 0, "it is old for other gateways"
    (repository / ".git").rename(tmp_path / "away")
    assert names_in(await spaces.ensure("second", source_of(repository))) == ["intro.ipynb"]
    await spaces.close()


async def test_missing_git_names_the_package(
    spaces: Spaces, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(SourceUnavailable, match="install the package git"):
        await spaces.ensure("genome", source_of(repository))


async def test_repository_that_never_answers_ends_at_the_deadline(tmp_path: Path) -> None:
    connected = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected.set()
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    source = Source(url=f"git://127.0.0.1:{port}/course.git")
    seconds = 0.5
    async with server, asyncio.timeout(PATIENCE):
        while not connected.is_set():  # a deadline that git did not get so far in was too short
            with pytest.raises(SourceUnavailable, match=rf"did not come in {seconds:g} s"):
                await fetching.clone(source, tmp_path / "checkout", seconds=seconds)
            seconds *= 2


@pytest.mark.parametrize(
    "url",
    [
        "https://mary:s3cret@127.0.0.1:1/course.git",
        "https://s3cret@127.0.0.1:1/course.git",
        "https://127.0.0.1:1/course.git?private_token=s3cret",
    ],
)
async def test_password_of_a_url_is_not_told(tmp_path: Path, url: str) -> None:
    source = Source(url=url)
    with pytest.raises(SourceUnavailable) as caught:
        await fetching.clone(source, tmp_path / "checkout")
    assert "s3cret" not in str(caught.value)


async def test_hooks_environment_of_git_does_not_mislead_it(
    spaces: Spaces, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_DIR", "/nonexistent")
    monkeypatch.setenv("GIT_WORK_TREE", "/nonexistent")
    path = await spaces.ensure("genome", source_of(repository))
    assert names_in(path) == ["intro.ipynb"]
    await spaces.close()
