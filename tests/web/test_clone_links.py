"""`/notebookGitRepo/…`: the notebook opens in a clone of the course's repository."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.notebooks.names import notebook_slug
from tests.support.repositories import git
from tests.web.browser import location
from tests.web.doors import FILE, LINK, Entrance, course, entrance, plain

__all__ = ["course", "entrance", "plain"]

CLONE = LINK.replace("ipythonExercice", "notebookGitRepo")


def space_of(plain: Entrance) -> Path:
    return plain.world.spaces.path(notebook_slug("flotbioinfo", "plain/flotbioinfo:mary"))


@pytest.fixture
async def cloned(plain: Entrance) -> Entrance:
    """The course comes from a repository."""
    git(plain.course, "init", "-q")
    git(plain.course, "add", ".")
    git(plain.course, "commit", "-qm", "one")
    await plain.world.catalogue.update_project("flotbioinfo", source=f"file://{plain.course}")
    return plain


async def test_notebook_opens_in_a_clone(cloned: Entrance) -> None:
    browser = cloned.browser()
    assert location(await browser.open(CLONE)).endswith(f"/notebooks/{FILE}")
    space = space_of(cloned)
    assert git(space, "remote", "get-url", "origin") == f"file://{cloned.course}\n"
    assert git(space, "status", "--porcelain") == ""
    (space / FILE).write_text("mine")
    answer = await browser.ask(CLONE + "?forcecopy=true")
    assert (answer.status, b"<button" in answer.body) == (200, True)
    assert location(await browser.open(CLONE)).endswith(f"/notebooks/{FILE}")
    assert git(space, "status", "--porcelain") == f" M {FILE}\n"


async def test_space_of_other_links_becomes_a_clone_and_keeps_what_was_written(
    cloned: Entrance,
) -> None:
    browser = cloned.browser()
    await browser.open(LINK)
    space = space_of(cloned)
    assert not (space / ".git").exists()
    (space / FILE).write_text("mine")
    assert location(await browser.open(CLONE)).endswith(f"/notebooks/{FILE}")
    assert git(space, "status", "--porcelain") == f" M {FILE}\n"
    assert (space / FILE).read_text() == "mine"


async def test_clone_opens_while_the_repository_is_away(cloned: Entrance, tmp_path: Path) -> None:
    browser = cloned.browser()
    await browser.open(CLONE)
    (cloned.course / ".git").rename(tmp_path / "away")
    await cloned.world.spaces.close()
    assert location(await browser.open(CLONE)).endswith(f"/notebooks/{FILE}")


async def test_notebook_that_is_there_opens_while_no_clone_can_be_made(
    cloned: Entrance, tmp_path: Path
) -> None:
    browser, repository = cloned.browser(), cloned.course / ".git"
    await browser.open(LINK)
    repository.rename(tmp_path / "away")
    await cloned.world.spaces.close()
    assert location(await browser.open(CLONE)).endswith(f"/notebooks/{FILE}")
    assert not (space_of(cloned) / ".git").exists()
    assert (await browser.ask(CLONE.replace(FILE, "w1/other.ipynb"))).status == 500
    (tmp_path / "away").rename(repository)
    assert location(await browser.open(CLONE)).endswith(f"/notebooks/{FILE}")
    assert git(space_of(cloned), "status", "--porcelain") == ""


async def test_course_in_a_folder_opens_without_a_repository(plain: Entrance) -> None:
    assert location(await plain.browser().open(CLONE)).endswith(f"/notebooks/{FILE}")
    assert not (space_of(plain) / ".git").exists()
