"""When the files of a space were last changed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway.spaces import Spaces, changes

NOW = 2_000_000_000.0


@pytest.fixture
def newest(tmp_path: Path) -> Iterator[Callable[..., float | None]]:
    """Look at the folder of the test."""
    handle = os.open(tmp_path, os.O_RDONLY)
    yield lambda **bounds: changes.newest_change(handle, **bounds)
    os.close(handle)


def changed(path: Path) -> float:
    return path.lstat().st_ctime


def test_the_newest_file_counts_however_deep(
    tmp_path: Path, newest: Callable[..., float | None]
) -> None:
    assert newest() is None
    (tmp_path / "old.txt").write_text("old")
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "new.csv").write_text("new")
    assert newest() == changed(tmp_path / "a" / "b" / "new.csv")


def test_a_time_that_somebody_has_set_does_not_count(
    tmp_path: Path, newest: Callable[..., float | None]
) -> None:
    (tmp_path / "unpacked").write_text("")
    os.utime(tmp_path / "unpacked", (NOW, NOW))
    assert newest() == changed(tmp_path / "unpacked") < NOW


@pytest.mark.parametrize(
    "place",
    [
        ".ipynb_checkpoints/a.ipynb",
        "deep/.ipynb_checkpoints/a.ipynb",
        "deep/__pycache__/a.pyc",
        ".git/index",
        ".cache/pip/x",
        ".jupyter/lab/workspaces/default",
        ".local/share/jupyter/runtime/nbserver-1.json",
        ".ipython/profile_default/history.sqlite",
        ".config/matplotlib/x",
        "deep/.~a.ipynb",
    ],
)
def test_what_the_server_itself_writes_does_not_count(
    tmp_path: Path, newest: Callable[..., float | None], place: str
) -> None:
    (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / place).write_text("by itself")
    assert newest() is None


def test_persons_own_hidden_files_count(
    tmp_path: Path, newest: Callable[..., float | None]
) -> None:
    (tmp_path / "deep" / ".cache").mkdir(parents=True)
    (tmp_path / "deep" / ".cache" / "result").write_text("")
    assert newest() == changed(tmp_path / "deep" / ".cache" / "result")


def test_no_symlink_is_followed(tmp_path: Path, newest: Callable[..., float | None]) -> None:
    elsewhere = tmp_path.parent / f"{tmp_path.name}-elsewhere"
    elsewhere.mkdir()
    (elsewhere / "file").write_text("")
    (tmp_path / "folder").symlink_to(elsewhere)
    (tmp_path / "file").symlink_to(elsewhere / "file")
    (tmp_path / "circle").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    assert newest() is None


def test_a_look_is_bounded_in_entries(tmp_path: Path, newest: Callable[..., float | None]) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").write_text("")
    assert newest(entries=1) is None
    assert newest(entries=2) == changed(tmp_path / "folder" / "file")


def test_a_look_is_bounded_in_time(tmp_path: Path, newest: Callable[..., float | None]) -> None:
    (tmp_path / "file").write_text("")
    times = iter([0.0, 5.0])
    assert newest(seconds=1.0, clock=lambda: next(times)) is None


def test_a_look_is_bounded_in_depth(tmp_path: Path, newest: Callable[..., float | None]) -> None:
    deep = tmp_path.joinpath(*["d"] * (changes.DEEPEST + 1))
    deep.mkdir(parents=True)
    (deep / "file").write_text("")
    assert newest() is None
    (deep.parent / "file").write_text("")
    assert newest() == changed(deep.parent / "file")


async def test_a_space_tells_it_in_utc_and_a_missing_one_nothing(tmp_path: Path) -> None:
    spaces = Spaces(tmp_path / "spaces")
    assert await spaces.last_change("demo-x-ann") is None
    space = await spaces.ensure("demo-x-ann", None)
    (space / "note.txt").write_text("mine")
    last = await spaces.last_change("demo-x-ann")
    assert last is not None
    assert last.timestamp() == pytest.approx(changed(space / "note.txt"), abs=1e-3)
