"""Read-only copies by links, at the real pages: who makes, sees and takes back which, and how."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from gateway.launch.shares import LARGEST, MOST
from gateway.notebooks.model import Links
from gateway.notebooks.names import notebook_slug
from tests.proxy.wire import Message
from tests.web.browser import Browser
from tests.web.doors import DAY, FILE, LINK, Entrance, course, entrance, mary, plain

__all__ = ["course", "entrance", "mary", "plain"]

SHARE = f"/ipythonShare/flotbioinfo/{FILE}/mary"
OWN = {"Origin": "http://h"}
JSON = {"Accept": "application/json"}
ADDRESS = re.compile(r"http://h(/gateway/shared/[A-Za-z0-9_-]{43})")


def slug_of(student: str, project: str = "flotbioinfo") -> str:
    return notebook_slug(project, f"plain/{project}:{student}")


def space_of(door: Entrance, student: str = "mary") -> Path:
    return door.world.spaces.path(slug_of(student))


def cells(*sources: str) -> str:
    made = [{"cell_type": "code", "source": one, "outputs": []} for one in sources]
    return json.dumps({"cells": made})


def write(door: Entrance, text: str, file: str = FILE) -> None:
    (space_of(door) / file).write_text(text)


async def shared(browser: Browser, link: str = SHARE) -> str:
    """Press the button; return the path of the copy."""
    page = await browser.ask(link, "POST", **OWN)
    assert page.status == 200, page.body
    found = {one[1] for one in ADDRESS.finditer(page.body.decode())}
    assert len(found) == 1
    return found.pop()


def told(answer: Message) -> Any:
    assert (answer.one(b"content-type") or b"").startswith(b"application/json")
    assert answer.one(b"cache-control") == b"no-store"
    return json.loads(answer.body)


async def ask_json(browser: Browser, link: str, method: str, **headers: str) -> Message:
    """Ask as a program does: the browser's `Accept: text/html` is the only other one."""
    lines = [f"{method} {link} HTTP/1.1", "Host: h"]
    lines += [f"{name}: {value}" for name, value in (JSON | headers).items()]
    if method == "POST":
        lines.append("Content-Length: 0")
    if browser.cookies:
        lines.append("Cookie: " + "; ".join(f"{k}={v}" for k, v in browser.cookies.items()))
    return await browser.proxy.ask("\r\n".join([*lines, "", ""]).encode("latin-1"), method)


async def test_link_shows_a_button_and_shares_nothing(plain: Entrance, mary: Browser) -> None:
    for link in (SHARE, f"{SHARE}/", f"{SHARE}?nbgate-end=x"):
        page = await mary.open(link)
        assert page.status == 200
        here = link.partition("?")[0]
        assert f'<form method="post" action="{here}">'.encode() in page.body
        assert b"/gateway/shared/" not in page.body
    assert await plain.ways.shares.of(slug_of("mary")) == []
    assert plain.counted["share", "made"] == 0


async def test_copy_is_the_file_as_it_was_and_needs_no_session(
    plain: Entrance, mary: Browser
) -> None:
    write(plain, cells("first = 1 < 2"))
    address = await shared(mary)
    write(plain, cells("second = 2"))
    page = await plain.browser().ask(address)
    assert page.status == 200
    assert b"first = 1 &lt; 2" in page.body
    assert b"second" not in page.body
    assert b"mary" not in page.body, "whose it is is nobody's business"
    assert plain.world.catalogue.notebook(slug_of("mary")).container_id is None
    assert plain.counted["share", "opened"] == 1


async def test_copy_is_shown_under_a_strict_policy(plain: Entrance, mary: Browser) -> None:
    await plain.world.catalogue.update_project(
        "flotbioinfo", frame_ancestors=("https://lms.example.org",)
    )
    page = await plain.browser().ask(await shared(mary))
    policy = (page.one(b"content-security-policy") or b"").decode()
    assert policy.startswith("default-src 'none'; style-src 'self'; img-src data:; ")
    assert "form-action 'none'; base-uri 'none'; sandbox " in policy
    assert "script" not in policy
    assert "frame-ancestors 'self' https://lms.example.org" in policy
    assert page.one(b"referrer-policy") == b"no-referrer"
    assert page.one(b"x-robots-tag") == b"noindex, nofollow"
    assert page.one(b"cache-control") == b"no-store"
    assert page.one(b"x-content-type-options") == b"nosniff"
    assert not page.all(b"set-cookie")
    head = await plain.browser().ask(await shared(mary), "HEAD")
    assert head.status == 200


async def test_hostile_notebook_in_a_copy_runs_nothing(plain: Entrance, mary: Browser) -> None:
    evil = "<script>alert(1)</script><img src=x onerror=alert(1)>[a](javascript:alert(1))"
    outputs = [
        {"output_type": "display_data", "data": {"text/html": evil, "text/plain": evil}},
        {"output_type": "display_data", "data": {"image/svg+xml": evil, "image/png": '"><script>'}},
        {"output_type": "stream", "text": evil},
        {"output_type": "error", "traceback": [evil]},
    ]
    found = [
        {"cell_type": "markdown", "source": evil, "attachments": {"a": {"text/html": evil}}},
        {"cell_type": "raw", "source": evil},
        {"cell_type": "code", "source": evil, "outputs": outputs},
    ]
    (space_of(plain) / "w1" / "<script>alert(1).ipynb").write_text(json.dumps({"cells": found}))
    name = quote("<script>alert(1).ipynb", safe="")
    address = await shared(mary, f"/ipythonShare/flotbioinfo/w1/{name}/mary")
    page = await plain.browser().ask(address)
    assert page.status == 200
    text = page.body.decode().lower()
    assert "<script" not in text
    assert "<img" not in text
    assert 'href="javascript' not in text
    listed = await mary.open(SHARE)
    assert b"<script>alert" not in listed.body


async def test_each_copy_is_its_own(plain: Entrance, mary: Browser) -> None:
    write(plain, cells("one"))
    first = await shared(mary)
    write(plain, cells("two"))
    second = await shared(mary)
    assert first != second
    assert b"one" in (await plain.browser().ask(first)).body
    assert b"two" in (await plain.browser().ask(second)).body


async def test_as_many_as_there_may_be_are_kept(plain: Entrance, mary: Browser) -> None:
    made = []
    for _ in range(MOST + 1):
        made.append(await shared(mary))
        plain.clock.advance(1)
    found = [(await plain.browser().ask(address)).status for address in made]
    assert found == [404, *[200] * MOST]


async def test_copy_is_over_at_its_time(plain: Entrance, mary: Browser) -> None:
    page = await mary.ask(SHARE, "POST", **OWN)
    assert b"until 2026-03-05 12:00 UTC" in page.body
    address = ADDRESS.search(page.body.decode())
    assert address is not None
    plain.clock.advance(DAY - 1)
    assert (await plain.browser().ask(address[1])).status == 200
    plain.clock.advance(1)
    over = await plain.browser().ask(address[1])
    assert over.status == 404
    assert b"Its time is over" in over.body
    assert over.one(b"referrer-policy") == b"no-referrer"
    assert over.one(b"x-robots-tag") == b"noindex, nofollow"
    assert b"nbgate-end" not in (await mary.open(SHARE)).body


async def test_who_shares_sees_it_and_takes_it_back_by_a_button(
    plain: Entrance, mary: Browser
) -> None:
    kept, address = await shared(mary), await shared(mary)
    digest = (await plain.ways.shares.of(slug_of("mary")))[0].digest
    page = await mary.open(SHARE)
    ends = re.findall(rb'action="(/ipythonShare/[^"]*nbgate-end=[0-9a-f]{64})"', page.body)
    assert len(ends) == 2
    assert address.rpartition("/")[2].encode() not in page.body, "it is told once"
    (button,) = [end.decode() for end in ends if digest in end.decode()]
    for headers in ({"Origin": "https://evil.example"}, {"Sec_Fetch_Site": "cross-site"}, {}):
        assert (await mary.ask(button, "POST", **headers)).status == 403
    await mary.open(button)
    assert len(await plain.ways.shares.of(slug_of("mary"))) == 2, "a GET takes nothing back"
    done = await mary.ask(button, "POST", **OWN)
    assert done.status == 200
    assert b"taken back" in done.body
    statuses = [(await plain.browser().ask(one)).status for one in (kept, address)]
    assert sorted(statuses) == [200, 404]
    again = await mary.ask(button, "POST", **OWN)
    assert again.status == 200
    assert len(await plain.ways.shares.of(slug_of("mary"))) == 1


async def test_nobody_takes_back_anothers(plain: Entrance, mary: Browser) -> None:
    address = await shared(mary)
    (share,) = await plain.ways.shares.of(slug_of("mary"))
    bob, end = plain.browser(), f"?nbgate-end={share.digest}"
    await bob.open(LINK.replace("/mary", "/bob"))
    bobs = SHARE.replace("/mary", "/bob")
    assert share.digest.encode() not in (await bob.open(bobs)).body
    assert (await bob.ask(f"{SHARE}{end}", "POST", **OWN)).status == 401
    assert (await bob.ask(f"{bobs}{end}", "POST", **OWN)).status == 200
    assert (await bob.ask(address)).status == 200


async def test_nobody_shares_anothers_notebook(plain: Entrance, mary: Browser) -> None:
    write(plain, cells("of mary"))
    bob = plain.browser()
    assert (await bob.ask(SHARE, "POST", **OWN)).status == 401
    await bob.open(LINK.replace("/mary", "/bob"))
    assert (await bob.ask(SHARE, "POST", **OWN)).status == 401
    assert (await bob.open(SHARE)).status == 409
    assert told(await ask_json(bob, SHARE, "POST", **OWN))["error"]
    assert await plain.ways.shares.of(slug_of("mary")) == []
    assert b"of mary" not in (await bob.ask(await shared(bob, SHARE.replace("/mary", "/bob")))).body


async def test_another_sites_page_shares_nothing(plain: Entrance, mary: Browser) -> None:
    for headers in (
        {"Origin": "https://evil.example"},
        {"Origin": "http://demo-x-mary.h"},
        {"Origin": "null"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {},
    ):
        page = await mary.ask(SHARE, "POST", **headers)
        assert page.status == 403, headers
        assert ADDRESS.search(page.body.decode()) is None
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = await ask_json(mary, SHARE, "POST", **named)
        assert answer.status == 403
        assert told(answer).keys() == {"error"}
        assert not answer.all(b"access-control-allow-origin")
    assert await plain.ways.shares.of(slug_of("mary")) == []


async def test_program_of_our_own_page_gets_an_address(plain: Entrance, mary: Browser) -> None:
    write(plain, cells("x = 1"))
    answer = await ask_json(mary, SHARE, "POST", **OWN)
    assert answer.status == 200
    found = told(answer)
    assert found.keys() == {"url_path", "url"}
    assert found["url"] == f"http://h{found['url_path']}"
    assert b"x = 1" in (await plain.browser().ask(found["url_path"])).body


async def test_programs_are_told_what_is_wrong(plain: Entrance, mary: Browser) -> None:
    stranger, missing = plain.browser(), SHARE.replace("w1/", "w7/")
    for browser, link, method, status in (
        (mary, SHARE, "GET", 405),
        (mary, missing, "POST", 404),
        (stranger, SHARE, "POST", 401),
        (stranger, SHARE, "GET", 401),
    ):
        answer = await ask_json(browser, link, method, **OWN)
        assert answer.status == status, (link, method)
        assert told(answer).keys() == {"error"}
        if status == 405:
            assert answer.one(b"allow") == b"POST"
    assert not stranger.cookies
    assert plain.counted["share", "made"] == 0


@pytest.mark.parametrize(
    ("name", "ending"), [("text", "md"), ("text.md", "md"), ("script.py.ipynb", "py")]
)
async def test_other_files_are_shared_as_they_are_opened(
    plain: Entrance, mary: Browser, name: str, ending: str
) -> None:
    address = await shared(mary, f"/ipythonShare/flotbioinfo/w1/{name}/mary")
    (share,) = await plain.ways.shares.of(slug_of("mary"))
    assert share.file.endswith(f".{ending}")
    assert (await plain.browser().ask(address)).status == 200


@pytest.mark.parametrize(
    "path",
    [
        "..%2F..%2Fx.ipynb",
        "../x.ipynb",
        "w1/%2e%2e/x.ipynb",
        "%2e%2e/%2e%2e/outside.ipynb",
        "w1/..%5C..%5Cx.ipynb",
        "link.ipynb",
        "folder/outside.ipynb",
        "pipe.ipynb",
        "w1%00.ipynb",
    ],
)
async def test_no_name_leads_out_of_the_space(plain: Entrance, mary: Browser, path: str) -> None:
    outside = space_of(plain).parent / "outside.ipynb"
    outside.write_text(cells("secret"))
    (space_of(plain) / "link.ipynb").symlink_to(outside)
    (space_of(plain) / "folder").symlink_to(outside.parent)
    os.mkfifo(space_of(plain) / "pipe.ipynb")
    answer = await mary.ask(f"/ipythonShare/flotbioinfo/{path}/mary", "POST", **OWN)
    assert answer.status in (400, 404)
    assert await plain.ways.shares.of(slug_of("mary")) == []


async def test_what_is_too_large_is_not_shared(plain: Entrance, mary: Browser) -> None:
    write(plain, "x" * (LARGEST + 1))
    page = await mary.ask(SHARE, "POST", **OWN)
    assert (page.status, b"too large" in page.body) == (413, True)
    write(plain, "x" * LARGEST)
    await shared(mary)


async def test_who_has_no_notebook_shares_none_and_gets_none(entrance: Entrance) -> None:
    """Staff of a course come in without one."""
    key = await entrance.key()
    teacher = entrance.browser()
    await teacher.open(entrance.open_link(key, "t"))
    slug = notebook_slug("flotbioinfo", "course/flotbioinfo:t")
    await entrance.world.catalogue.update_project("flotbioinfo", staff=("course/flotbioinfo:t",))
    await entrance.world.lifecycle.delete(slug, purge_space=True)
    answer = await teacher.ask(SHARE.replace("/mary", "/t"), "POST", **OWN)
    assert answer.status == 404
    assert entrance.world.catalogue.find(slug) is None


async def test_signed_link_leads_to_the_button(entrance: Entrance) -> None:
    key, browser = await entrance.key(), entrance.browser()
    await browser.open(entrance.open_link(key))
    signed = entrance.link(key, "ipythonShare", "flotbioinfo", *FILE.split("/"), "mary")
    page = await browser.open(signed)
    assert (page.status, b"<form" in page.body) == (200, True)
    assert (await browser.ask(signed, "POST", **OWN)).status == 404
    address = await shared(browser)
    assert (await entrance.browser().ask(address)).status == 200
    assert (await entrance.browser().ask(SHARE, "POST", **OWN)).status == 401


async def test_copies_go_with_the_notebook_and_its_files(plain: Entrance, mary: Browser) -> None:
    address = await shared(mary)
    await plain.world.lifecycle.delete(slug_of("mary"), purge_space=True)
    assert (await plain.browser().ask(address)).status == 404


@pytest.mark.parametrize(
    "secret", ["x", "A" * 43, "A" * 44, "..%2f..%2fpasswd", "%00" * 43, "a/b", "é" * 43]
)
async def test_guessed_address_shows_nothing(plain: Entrance, mary: Browser, secret: str) -> None:
    await shared(mary)
    answer = await plain.browser().ask(f"/gateway/shared/{quote(secret, safe='%/')}")
    assert answer.status == 404


async def test_disk_that_fails_is_told_and_the_log_has_no_address(
    plain: Entrance, mary: Browser, caplog: pytest.LogCaptureFixture
) -> None:
    address, folder = await shared(mary), space_of(plain).parent / ".shares"
    (folder / "addresses").rename(folder / "elsewhere")
    (folder / "addresses").write_text("in its place")
    page = await plain.browser().ask(address)
    assert page.status == 500
    assert b".shares" not in page.body
    assert (await mary.ask(SHARE, "POST", **OWN)).status == 500
    assert "path=/gateway/shared/[redacted]" in caplog.text
    assert address not in caplog.text


async def test_digest_of_a_copy_is_no_address(plain: Entrance, mary: Browser) -> None:
    await shared(mary)
    (share,) = await plain.ways.shares.of(slug_of("mary"))
    assert (await plain.browser().ask(f"/gateway/shared/{share.digest}")).status == 404


async def test_course_that_takes_no_links_shows_no_copies_since_nobody_can_take_them_back(
    plain: Entrance, mary: Browser
) -> None:
    address = await shared(mary)
    await plain.world.catalogue.update_project("flotbioinfo", links=Links.OFF)
    assert (await mary.ask(SHARE, "POST", **OWN)).status == 404
    assert (await plain.browser().ask(address)).status == 404
    await plain.world.catalogue.update_project("flotbioinfo", links=Links.SIGNED)
    assert (await plain.browser().ask(address)).status == 200


async def test_words_are_of_the_readers_language(plain: Entrance, mary: Browser) -> None:
    page = await mary.ask(SHARE, Accept_Language="fr")
    assert b"Partager une copie" in page.body
    gone = await plain.browser().ask(f"/gateway/shared/{'A' * 43}", Accept_Language="fr")
    assert b"Cette copie n&#39;existe pas" in gone.body
