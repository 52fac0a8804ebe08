"""A link of the shape `/notebookGitRepo/…`: the notebook's container has a clone, and git."""

from __future__ import annotations

import shutil
from ast import literal_eval
from pathlib import Path

import aiohttp
import pytest

from gateway.notebooks.names import notebook_slug
from tests.end_to_end.conftest import SPAWNERS, gateway_with
from tests.support.gateway import ROOT, execute
from tests.support.repositories import git

FILE = "first-steps.ipynb"
ASK = "__import__('subprocess').getoutput('git status --porcelain --branch; git log --format=%s')"


@pytest.mark.parametrize("spawner", SPAWNERS)
async def test_students_notebook_is_in_a_clone_that_git_understands(
    request: pytest.FixtureRequest, tmp_path: Path, spawner: str
) -> None:
    course, slug = tmp_path / "course", notebook_slug("clones", "plain/clones:nina")
    shutil.copytree(ROOT / "examples" / "demo", course)
    git(course, "init", "-q")
    git(course, "add", ".")
    git(course, "commit", "-qm", "The first week")
    with gateway_with(request, tmp_path / "state", spawner) as gateway:
        words = ("--source", f"file://{course}", "--links", "plain")
        gateway.nbgate("project", "add", "clones", *words)
        async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as client:
            link = f"{gateway.url}/notebookGitRepo/clones/{FILE}/nina"
            async with client.get(link) as answer:
                assert answer.url.path == f"/nb/{slug}/notebooks/{FILE}", await answer.text()
            said = literal_eval(await execute(client, f"{gateway.url}/nb/{slug}/", ASK))
    assert said.splitlines() == ["## main...origin/main", "The first week"]
