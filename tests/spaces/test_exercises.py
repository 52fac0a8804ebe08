"""One file of a course, in a space whose person does what they like."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from gateway.spaces import Exercises, Source, Spaces

SLUG = "demo-x-alice"
FILE = "w1/first.ipynb"


@pytest.fixture
def course(tmp_path: Path) -> Path:
    folder = tmp_path / "course"
    (folder / "w1").mkdir(parents=True)
    (folder / FILE).write_text("of the course")
    (folder / ".git").mkdir()
    (folder / ".git" / "config").write_text("secret")
    return folder


@pytest.fixture
def spaces(tmp_path: Path) -> Spaces:
    return Spaces(tmp_path / "spaces")


@pytest.fixture
async def space(spaces: Spaces) -> Path:
    return await spaces.ensure(SLUG, None)


@pytest.fixture
def exercises(spaces: Spaces) -> Exercises:
    return Exercises(spaces, lambda: datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC))


def names_in(folder: Path) -> list[str]:
    return sorted(one.name for one in folder.iterdir())


async def test_file_that_is_missing_is_brought(
    exercises: Exercises, space: Path, course: Path
) -> None:
    found = await exercises.bring(SLUG, Source(folder=course), ["w1/no.ipynb", FILE])
    assert found == FILE
    assert (space / FILE).read_text() == "of the course"
    assert names_in(space / "w1") == ["first.ipynb"]


async def test_persons_own_file_stays(exercises: Exercises, space: Path, course: Path) -> None:
    (space / "w1").mkdir()
    (space / FILE).write_text("mine")
    assert await exercises.bring(SLUG, Source(folder=course), [FILE]) == FILE
    assert (space / FILE).read_text() == "mine"


async def test_what_nobody_has_is_not_found(
    exercises: Exercises, space: Path, course: Path
) -> None:
    assert await exercises.bring(SLUG, Source(folder=course), ["w9/x.ipynb"]) is None
    assert await exercises.bring(SLUG, None, [FILE]) is None
    assert names_in(space) == []


@pytest.mark.parametrize("file", ["../outside", "/etc/passwd", ".git/config", "w1/../../outside"])
async def test_nothing_outside_is_brought_or_read(
    exercises: Exercises, space: Path, course: Path, file: str
) -> None:
    (course.parent / "outside").write_text("secret")
    assert await exercises.bring(SLUG, Source(folder=course), [file]) is None
    assert await exercises.read(Source(folder=course), [file]) is None
    assert names_in(space) == []


async def test_symlinks_lead_nowhere(
    exercises: Exercises, space: Path, course: Path, tmp_path: Path
) -> None:
    (tmp_path / "outside").mkdir()
    (space / "w1").symlink_to(tmp_path / "outside")
    (course / "w2").symlink_to("/etc")
    with pytest.raises(Exception, match="w1"):
        await exercises.bring(SLUG, Source(folder=course), [FILE])
    assert await exercises.read(Source(folder=course), ["w2/passwd"]) is None
    assert list((tmp_path / "outside").iterdir()) == []


async def test_what_is_put_back_keeps_the_former_version(
    exercises: Exercises, space: Path, course: Path
) -> None:
    (space / "w1").mkdir()
    (space / FILE).write_text("mine")
    done = await exercises.put_back(SLUG, Source(folder=course), [FILE])
    assert done is not None
    assert done.kept is not None
    assert done.kept.startswith("w1/first.kept-20260304T050607Z-")
    assert done.kept.endswith(".ipynb")
    assert (space / done.kept).read_text() == "mine"
    assert (space / FILE).read_text() == "of the course"


async def test_what_was_never_there_is_put_there(
    exercises: Exercises, space: Path, course: Path
) -> None:
    done = await exercises.put_back(SLUG, Source(folder=course), [FILE])
    assert done is not None
    assert done.kept is None
    assert (space / FILE).exists()


async def test_courses_file_is_read_without_a_space(exercises: Exercises, course: Path) -> None:
    found = await exercises.read(Source(folder=course), ["w1/first.py", FILE])
    assert found == (FILE, b"of the course")
