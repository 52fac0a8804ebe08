"""Somebody else's notebook as pages to read, at the real pages: what is shown, to whom, and how."""

from __future__ import annotations

import json
import os
import re
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

import pytest
from yarl import URL

from gateway.launch.cookies import cookie_name
from gateway.notebooks.model import State
from gateway.proxy.interface import Local
from gateway.spaces import reading
from gateway.web import static_notebook
from gateway.web.static_notebook import cells_of
from tests.web.doors import Entrance, course, entrance
from tests.web.person import HOST, Answer, Person, person

__all__ = ["course", "entrance"]

SLUG = "demo-x-sam"
READ = f"/gateway/read/{SLUG}"


@pytest.fixture
async def space(entrance: Entrance) -> Path:
    """Sam's files, in a course that tina teaches; bob is whom he shares his notebook with."""
    world = entrance.world
    await world.catalogue.update_project("demo", staff=("tina",))
    await world.notebook("sam")
    await world.catalogue.share(SLUG, ["bob"])
    folder = await world.spaces.ensure(SLUG, None)
    (folder / "w1").mkdir()
    (folder / "w1" / "walk.ipynb").write_text(json.dumps({"cells": [{"source": "1 + 1"}]}))
    (folder / "w1" / "notes.md").write_text("# Notes")
    (folder / "data.csv").write_bytes(b"a,b\n")
    return folder


@pytest.fixture
async def tina(entrance: Entrance, space: Path) -> AsyncIterator[Person]:
    async with person(entrance.proxy, entrance.pages, "tina") as made:
        yield made


def links(text: str) -> dict[str, str]:
    """Return the links of a page's list, address by text."""
    listed = text.partition('<ul class="files">')[2].partition("</ul>")[0]
    return {name: url for url, name in re.findall(r'<a href="([^"]*)">([^<]*)</a>', listed)}


async def test_folders_and_files_are_listed_and_lead_on(tina: Person) -> None:
    top = links((await tina.get(READ)).text)
    assert top == {"w1/": f"{READ}/w1/", "data.csv": f"{READ}/data.csv"}
    below = links((await tina.get(top["w1/"])).text)
    assert below == {"notes.md": f"{READ}/w1/notes.md", "walk.ipynb": f"{READ}/w1/walk.ipynb"}
    notebook = await tina.get(below["walk.ipynb"])
    assert notebook.status == 200
    assert "1 + 1" in notebook.text
    assert f'href="{READ}/w1/"' in notebook.text
    assert "<h1>Notes</h1>" in (await tina.get(below["notes.md"])).text


@pytest.mark.parametrize("subject", ["sam", "tina", "bob"])
async def test_whoever_may_use_it_reads_it(entrance: Entrance, space: Path, subject: str) -> None:
    async with person(entrance.proxy, entrance.pages, subject) as reader:
        assert (await reader.get(f"{READ}/w1/walk.ipynb")).status == 200


async def test_administrator_reads_it(entrance: Entrance, space: Path) -> None:
    token = await entrance.pages.sessions.create("root", HOST, administrator=True)
    async with person(entrance.proxy, entrance.pages, "nobody") as someone:
        cookie = f"{cookie_name(https=False)}={token}"
        assert (await someone.get(READ, Cookie=cookie)).status == 200


async def test_others_find_nothing_as_where_there_is_nothing(
    entrance: Entrance, space: Path
) -> None:
    async with person(entrance.proxy, entrance.pages, "mallory") as mallory:
        for slug in (SLUG, "demo-x-nobody"):
            for path in ("", "/w1/walk.ipynb", "/no"):
                answer = await mallory.get(f"/gateway/read/{slug}{path}")
                assert (answer.status, "walk" in answer.text) == (404, False)
                stranger = await mallory.get(f"/gateway/read/{slug}{path}", Cookie="")
                assert stranger.status == 401


async def test_nothing_is_started_and_nothing_counts_as_activity(
    entrance: Entrance, tina: Person
) -> None:
    for path in ("", "/w1/", "/w1/walk.ipynb", "/data.csv"):
        assert (await tina.get(READ + path)).status == 200
    world = entrance.world
    assert world.catalogue.notebook(SLUG).state is State.COLD
    assert await world.lifecycle.operations.list() == []
    entry = world.routes.entry(f"/nb/{SLUG}")
    assert entry is not None
    assert entry.activity is not None
    assert (entry.activity.last, entry.activity.requests) == (0.0, 0)


async def test_running_notebook_is_read_as_well(entrance: Entrance, tina: Person) -> None:
    await entrance.world.activator.ensure(SLUG)
    assert "1 + 1" in (await tina.get(f"{READ}/w1/walk.ipynb")).text


async def test_notebook_that_was_never_opened_has_no_files_yet(
    entrance: Entrance, tina: Person
) -> None:
    await entrance.world.notebook("zoe")
    answer = await tina.get("/gateway/read/demo-x-zoe/")
    assert answer.status == 200
    assert "no file here yet" in answer.text
    assert not entrance.world.spaces.path("demo-x-zoe").exists()


@pytest.mark.parametrize(
    "path",
    [
        "/..",
        "/../",
        "/%2e%2e/demo-x-bob/a.py",
        "/w1/../../secret.py",
        "/w1/%2e%2e/%2e%2e/secret.py",
        "/..%2fsecret.py",
        "/w1%2fwalk.ipynb",
        "/w1//walk.ipynb",
        "/%00",
        "/w1/walk.ipynb%00.md",
        "/.hidden.py",
        "/out/secret.py",
        "/link.py",
        "/pipe.py",
        "/" + "n" * 300,
        "/a" * 300,
    ],
)
async def test_what_is_no_file_of_the_space_is_not_found(
    tina: Person, space: Path, path: str
) -> None:
    (space.parent / "secret.py").write_text("secret = 1")
    (space / ".hidden.py").write_text("secret = 1")
    (space / "out").symlink_to(space.parent)
    (space / "link.py").symlink_to(space.parent / "secret.py")
    os.mkfifo(space / "pipe.py")
    answer = await raw(tina, READ + path)
    assert answer.status == 404
    assert "secret = 1" not in answer.text


async def raw(someone: Person, path: str) -> Answer:
    """Ask for a path as it is: clients take dot segments out."""
    async with someone.client.get(
        URL(someone.base + path, encoded=True), headers=someone.headers(), allow_redirects=False
    ) as answer:
        return Answer(answer.status, dict(answer.headers), await answer.text())


@pytest.mark.parametrize("path", [f"/gateway/read%2f{SLUG}/w1/walk.ipynb", f"{READ}%2fw1/"])
async def test_slash_that_is_encoded_separates_nothing(tina: Person, path: str) -> None:
    answer = await raw(tina, path)
    assert answer.status in (200, 404)
    assert "1 + 1" not in answer.text
    assert "notes.md" not in answer.text


@pytest.mark.parametrize(
    "name", ['<b onclick="x">.md', "a'b\"&c.md", "ü.md", "a b#?%.md", os.fsdecode(b"\xff.md")]
)
async def test_names_are_escaped_and_lead_to_their_files(
    tina: Person, space: Path, name: str
) -> None:
    (space / name).write_text("# Here")
    (space / "w1" / name).mkdir()
    listed = await tina.get(READ)
    url = f"{READ}/{quote(os.fsencode(name), safe='')}"
    assert url in links(listed.text).values()
    shown = await raw(tina, url)
    assert "<h1>Here</h1>" in shown.text
    for page in (listed.text, shown.text, (await tina.get(f"{READ}/w1/")).text):
        assert "<b onclick" not in page
    deep = await raw(tina, f"{READ}/w1/{quote(os.fsencode(name), safe='')}/")
    assert deep.status == 200
    assert "<b onclick" not in deep.text


async def test_page_may_neither_run_nor_ask_for_anything(tina: Person, space: Path) -> None:
    (space / "bad.ipynb").write_text(
        json.dumps(
            {
                "cells": [
                    {
                        "cell_type": "markdown",
                        "source": "<script>x()</script> [a](javascript:x()) ![i](/nb/other/api)",
                    },
                    {
                        "source": "</code><script>x()</script>",
                        "outputs": [
                            {"data": {"text/html": "<script>x()</script>"}},
                            {"data": {"image/svg+xml": "<svg onload=x()>"}},
                            {"data": {"image/png": '"><script>x()</script>'}},
                            {"text": "<img src=x onerror=x()>"},
                        ],
                    },
                ]
            }
        )
    )
    answer = await tina.get(f"{READ}/bad.ipynb")
    body = answer.text.partition("<main>")[2]
    for bad in ("<script", "<svg", "onerror=x()>", 'href="javascript'):
        assert bad not in body.replace("&lt;img src=x onerror=x()&gt;", "")
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; style-src 'self'; img-src data:; ")
    assert "script-src" not in policy
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cache-Control"] == "no-store"


async def test_page_is_framed_by_the_courses_sites_and_tells_strangers_nothing_by_it(
    entrance: Entrance, tina: Person
) -> None:
    await entrance.world.catalogue.update_project("demo", frame_ancestors=("https://lms.test",))
    ours, default = "frame-ancestors 'self' https://lms.test", "frame-ancestors 'self'"
    for path, told in (("", ours), ("/w1/walk.ipynb", ours), ("/no", ours)):
        answer = await tina.get(READ + path)
        assert answer.headers["Content-Security-Policy"].endswith(told)
        stranger = await tina.get(READ + path, Cookie="")
        assert stranger.headers["Content-Security-Policy"].endswith(default)


@pytest.mark.parametrize(
    ("file", "name"), [("data.csv", "data.csv"), ("w1/walk.ipynb?download", "walk.ipynb")]
)
async def test_what_is_not_shown_is_a_download(tina: Person, file: str, name: str) -> None:
    answer = await tina.get(f"{READ}/{file}")
    assert answer.headers["Content-Disposition"] == f"attachment; filename*=UTF-8''{name}"
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


async def test_page_of_a_students_making_is_never_shown_as_one(tina: Person, space: Path) -> None:
    for name in ("a.html", "a.svg", "a.js", "a.pdf", "a\r\nSet-Cookie: x=1.xml"):
        (space / name).write_text("<script>x()</script>")
        answer = await raw(tina, f"{READ}/{quote(name)}")
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "application/octet-stream"
        assert answer.headers["Content-Disposition"].startswith("attachment; ")
        assert "Set-Cookie" not in answer.headers


async def test_large_files_and_huge_folders_are_bounded(tina: Person, space: Path) -> None:
    with (space / "large.ipynb").open("wb") as file:
        file.truncate(reading.LARGEST + 1)
    assert (await tina.get(f"{READ}/large.ipynb")).status == 404
    (space / "many").mkdir()
    for number in range(reading.MOST_ITEMS + 5):
        (space / "many" / f"{number}.md").touch()
    answer = await tina.get(f"{READ}/many/")
    assert len(links(answer.text)) == reading.MOST_ITEMS
    assert f"No more than {reading.MOST_ITEMS} names" in answer.text


async def test_damaged_notebook_says_so(tina: Person, space: Path) -> None:
    (space / "bad.ipynb").write_text("{")
    assert "nothing in this file" in (await tina.get(f"{READ}/bad.ipynb")).text


def test_notebook_of_very_many_parts_is_not_taken_apart() -> None:
    many = json.dumps({"cells": [{"source": "1", "metadata": {"x": [[]] * 300_000}}]})
    assert cells_of("a.ipynb", many.encode()) == []
    long = json.dumps({"cells": [{"source": "a" * 10_000_000}]})
    assert len(cells_of("a.ipynb", long.encode())) == 1


def test_numbers_are_not_taken_apart() -> None:
    """Python refuses those of more than 4300 digits, and is slow at those of fewer."""
    notebook = '{"cells": [{"source": "1", "metadata": ' + "9" * 5000 + "}]}"
    assert len(cells_of("a.ipynb", notebook.encode())) == 1


async def test_large_file_is_a_download(tina: Person, space: Path) -> None:
    (space / "large.py").write_bytes(b"#" * (4 * 1024 * 1024 + 1))
    assert "attachment" in (await tina.get(f"{READ}/large.py")).headers["Content-Disposition"]


def test_prose_is_rendered_as_far_as_that_is_quick() -> None:
    short, long = "*word* ", "*word* " * 8000
    (cell,) = cells_of("a.md", long.encode())
    assert (cell.prose, cell.code) == (None, long)
    cells = [{"cell_type": "markdown", "source": short * 5000} for _ in range(8)]
    found = cells_of("a.ipynb", json.dumps({"cells": cells}).encode())
    rendered = [cell.prose is not None for cell in found]
    most = static_notebook._MOST_PROSE // len(short * 5000)
    assert rendered == [True] * most + [False] * (8 - most)


def test_tables_whose_rows_are_filled_up_are_rendered_as_far_as_that_is_quick() -> None:
    wide = "\n".join(["|a" * 100, "|-" * 100, *["|x"] * 98])
    cells = [{"cell_type": "markdown", "source": wide} for _ in range(5)]
    found = cells_of("a.ipynb", json.dumps({"cells": cells}).encode())
    assert [cell.prose is not None for cell in found] == [True, True, False, False, False]


@pytest.mark.parametrize(
    ("path", "leads_to"),
    [
        ("", "/"),
        ("/lab", "/"),
        ("/lab?reset", "/"),
        ("/lab/tree/w1/walk.ipynb?reset", "/w1/walk.ipynb"),
        ("/lab/workspaces/auto-1/tree/w1", "/w1"),
        ("/notebooks/w1/a%20b%2f.ipynb", "/w1/a%20b%2F.ipynb"),
        ("/tree", "/"),
        ("/tree/w1/", "/w1"),
        ("/edit/a.py", "/a.py"),
        ("/files/data.csv", "/data.csv"),
        ("/nbconvert/html/w1/walk.ipynb", "/w1/walk.ipynb"),
        ("/doc/tree/a%22%20b.md", "/a%22%20b.md"),
        ("/tree/../../../gateway/logout", "/"),
        ("/terminals/1", "/"),
        ("/x//evil.example/", "/"),
    ],
)
async def test_who_would_open_it_live_is_led_here(
    entrance: Entrance, tina: Person, path: str, leads_to: str
) -> None:
    entrance.proxy.gate.rule = lambda head, client: Local("reading", SLUG)
    answer = await raw(tina, f"/nb/{SLUG}{path}")
    assert (answer.status, answer.headers["Location"]) == (303, READ + leads_to)
