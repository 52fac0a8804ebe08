"""Notebooks and files of a course that are read without a server, at the real pages."""

from __future__ import annotations

import os
import re
import threading

import pytest

from gateway.notebooks.model import Links
from gateway.web import static_notebook
from gateway.web.static_notebook import Cell
from tests.web.browser import Browser
from tests.web.doors import FILE, LINK, Entrance, course, entrance, mary, plain

__all__ = ["course", "entrance", "mary", "plain"]


@pytest.mark.parametrize("shape", ["ipythonStaticNotebook", "auditor/notebook"])
async def test_courses_notebook_is_read_without_a_server(plain: Entrance, shape: str) -> None:
    (plain.course / "w1" / "out.ipynb").write_text(
        '{"cells": [{"cell_type": "markdown", "source": ["# He", "llo\\n<b onclick=x>b</b>"]},'
        ' {"cell_type": "code", "source": "1 < 2", "outputs": ['
        '{"output_type": "stream", "text": "<script>alert(1)</script>"},'
        '{"output_type": "display_data", "data": {"text/html": "<i>no</i>", "text/plain": "yes"}},'
        '{"output_type": "display_data", "data": {"image/png": "aGk=\\n"}}]}]}'
    )
    answer = await plain.browser().open(f"/{shape}/flotbioinfo/w1/out.ipynb")
    assert answer.status == 200
    assert b"<h1>Hello</h1>" in answer.body
    assert b"1 &lt; 2" in answer.body
    assert b"&lt;script&gt;alert(1)" in answer.body
    assert b'src="data:image/png;base64,aGk="' in answer.body
    for bad in (b"<script", b"<b onclick", b"<i>no"):
        assert bad not in answer.body.split(b"<main>")[1]
    assert b"script-src 'self'" in (answer.one(b"content-security-policy") or b"")
    assert not plain.world.catalogue.notebooks()
    assert plain.counted == {("static", "opened"): 1}


@pytest.mark.parametrize(
    ("path", "seen"),
    [
        ("w1/script.py", b"print(1)"),
        ("w1/text", b"<h1>Title</h1>"),
        ("w1/with%20blank", b"<h1>w1/with blank.ipynb</h1>"),
    ],
)
async def test_other_files_of_a_course_are_read(plain: Entrance, path: str, seen: bytes) -> None:
    answer = await plain.browser().open(f"/ipythonStaticNotebook/flotbioinfo/{path}")
    assert answer.status == 200
    assert seen in answer.body
    assert b"<script>alert" not in answer.body


@pytest.mark.parametrize("end", ["", "/"])
async def test_course_is_read_from_the_list_of_its_notebooks(plain: Entrance, end: str) -> None:
    for name in ("a<b>.ipynb", "twice.ipynb.ipynb", "back\\slash.ipynb", ".hidden.ipynb"):
        (plain.course / "w1" / name).write_text("{}")
    (plain.course / "w1" / os.fsdecode(b"\xff.ipynb")).write_text("{}")
    visitor = plain.browser()
    answer = await visitor.open(f"/auditor/notebook/flotbioinfo{end}")
    assert answer.status == 200
    places = re.findall(rb'<li><a href="([^"]+)">', answer.body)
    assert f"/auditor/notebook/flotbioinfo/{FILE}".encode() in places
    assert b"/auditor/notebook/flotbioinfo/w1/a%3Cb%3E.ipynb" in places
    assert not [one for one in places if re.search(rb"twice|slash|hidden|%FF", one)]
    for place in places:
        assert (await visitor.open(place.decode())).status == 200
    assert not plain.world.catalogue.notebooks()


async def test_course_without_files_is_an_empty_list(plain: Entrance) -> None:
    await plain.world.catalogue.update_project("flotbioinfo", source=None)
    answer = await plain.browser().open("/auditor/notebook/flotbioinfo")
    assert (answer.status, b"<li>" in answer.body) == (200, False)


async def test_where_links_are_signed_the_list_is_for_the_courses_people(
    entrance: Entrance,
) -> None:
    path, key = "/auditor/notebook/flotbioinfo", await entrance.key()
    assert (await entrance.browser().ask(path)).status == 401
    mary = entrance.browser()
    await mary.open(entrance.open_link(key))
    assert (await mary.ask(path)).status == 200
    await entrance.world.catalogue.update_project("flotbioinfo", links=Links.OFF)
    assert (await mary.ask(path)).status == 404


async def test_where_links_are_signed_a_course_is_read_by_its_people(entrance: Entrance) -> None:
    path = f"/ipythonStaticNotebook/flotbioinfo/{FILE}"
    stranger, key = entrance.browser(), await entrance.key()
    assert (await stranger.ask(path)).status == 401
    assert (await stranger.ask(entrance.link(key, *path[1:].split("/")))).status == 200
    mary = entrance.browser()
    await mary.open(entrance.open_link(key))
    assert (await mary.ask(path)).status == 200


async def test_fault_tells_nobody_where_files_are(plain: Entrance, mary: Browser) -> None:
    await plain.world.catalogue.update_project("flotbioinfo", source="/srv/secret/course")
    reading, stranger = f"/ipythonStaticNotebook/flotbioinfo/{FILE}", plain.browser()
    opening = LINK.replace(FILE, "w1/new.ipynb")
    answers = [await stranger.ask(reading), await stranger.ask(reading, Accept="*/*")]
    for answer in (*answers, await mary.open(opening)):
        assert answer.status == 500
        assert b"/srv" not in answer.body
        assert b"folder" not in answer.body


async def test_reading_a_course_does_not_hold_the_gateway_up(
    plain: Entrance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Anybody may have the largest notebook of a plain course rendered, again and again."""
    threads: list[int] = []

    def cells_of(file: str, content: bytes) -> list[Cell]:
        threads.append(threading.get_ident())
        return []

    monkeypatch.setattr(static_notebook, "cells_of", cells_of)
    answer = await plain.browser().ask(f"/ipythonStaticNotebook/flotbioinfo/{FILE}")
    assert answer.status == 200
    assert threads
    assert threading.get_ident() not in threads


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{",
        '{"cells": [{"source": "\\ud800"}, {"outputs": [{"traceback": 3}]}]}',
        '{"cells": 3}',
        '{"cells": [3, {"outputs": [{"data": 3}]}]}',
        "[" * 9999,
    ],
)
async def test_damaged_notebook_is_an_empty_page(plain: Entrance, content: str) -> None:
    (plain.course / "w1" / "bad.ipynb").write_text(content)
    answer = await plain.browser().open("/ipythonStaticNotebook/flotbioinfo/w1/bad.ipynb")
    assert answer.status == 200
