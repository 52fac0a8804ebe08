"""Attacks by requests that no browser would send, at a real gateway with a course for links."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from tests.support.gateway import ROOT, GatewayProcess, running, signed_in
from tests.support.waiting import PATIENCE

SECRET = "what nobody may read"
FILE = "first-steps.ipynb"
# Ways to write one folder up, and a line's end.
UP = ("..", "%2e%2e", "%2E.", "..%2f", "..%5c", "..\\", "%c0%ae%c0%ae", "....//", "%252e%252e")
LINE_ENDS = ("%0d%0a", "%0a", "%0d", "%E5%98%8A%E5%98%8D", "\t", "%00")


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """A gateway with the plain course `open`, beside whose files lie others."""
    folder = tmp_path_factory.mktemp("requests")
    course = folder / "courses" / "open"
    course.mkdir(parents=True)
    content = (ROOT / "examples" / "demo" / FILE).read_text()
    (course / FILE).write_text(content)
    for place in (folder, folder / "courses"):
        cell = {"cell_type": "markdown", "metadata": {}, "source": SECRET}
        book = {"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
        (place / "secret.ipynb").write_text(json.dumps(book))
        (place / "secret.md").write_text(SECRET)
    (course / "planted.ipynb").symlink_to(folder / "secret.ipynb")
    (course / "planted").symlink_to(folder)
    with running(folder / "state") as process:
        process.nbgate("project", "add", "open", "--source", str(course), "--links", "plain")
        process.nbgate("project", "add", "demo", "--source", str(course))
        yield process


async def raw(gateway: GatewayProcess, target: str, *lines: str) -> bytes:
    """Send one request with `target` byte for byte; return the whole answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    host = gateway.url.removeprefix("http://")
    head = [f"GET {target} HTTP/1.1", f"Host: {host}", "Accept: text/html", "Connection: close"]
    try:
        writer.write("\r\n".join([*head, *lines, "", ""]).encode())
        async with asyncio.timeout(PATIENCE):
            return await reader.read()
    finally:
        writer.close()


def header_lines(answer: bytes) -> list[bytes]:
    return answer.partition(b"\r\n\r\n")[0].lower().split(b"\r\n")[1:]


def everything_below(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if "state" not in path.relative_to(folder).parts}


@pytest.mark.parametrize("shape", ["ipythonStaticNotebook/open/{}", "auditor/notebook/open/{}"])
@pytest.mark.parametrize("up", UP)
async def test_course_is_read_by_its_own_files_alone(
    gateway: GatewayProcess, shape: str, up: str
) -> None:
    answer = await raw(gateway, "/" + shape.format(FILE))
    assert answer.startswith(b"HTTP/1.1 200"), answer
    for file in ("secret.ipynb", "secret.md", "secret"):
        for path in (f"{up}/{file}", f"x/{up}/{up}/{file}", f"{up}/{up}/{file}", f"{up}{file}"):
            answer = await raw(gateway, "/" + shape.format(path))
            assert SECRET.encode() not in answer, path
            assert not answer.startswith(b"HTTP/1.1 200"), path


@pytest.mark.parametrize("name", ["planted.ipynb", "planted/secret.ipynb", "planted/secret.md"])
async def test_links_in_a_courses_files_lead_out_of_it_for_nobody(
    gateway: GatewayProcess, name: str
) -> None:
    answer = await raw(gateway, f"/ipythonStaticNotebook/open/{name}")
    assert SECRET.encode() not in answer
    answer = await raw(gateway, f"/ipythonExercice/open/{name}/mary")
    assert SECRET.encode() not in answer
    spaces = gateway.state / "spaces"
    copied = [path for path in spaces.rglob("*") if path.is_file() and not path.is_symlink()]
    assert not [path for path in copied if SECRET in path.read_text(errors="replace")]


@pytest.mark.parametrize("up", UP)
async def test_no_name_in_a_link_leaves_its_folder(gateway: GatewayProcess, up: str) -> None:
    outside = gateway.state.parent
    before = everything_below(outside)
    for target in (
        f"/ipythonExercice/open/{up}/{up}/secret.ipynb/mary",
        f"/ipythonExercice/open/{FILE}/{up}",
        f"/ipythonExercice/{up}/{FILE}/mary",
        f"/gateway/open/{up}/open/{FILE}/mary",
        f"/ipythonForward/open/mary/{up}/{up}/gateway/logout",
        f"/containerKill/open/{up}",
    ):
        answer = await raw(gateway, target)
        assert SECRET.encode() not in answer
        where = [line for line in header_lines(answer) if line.startswith(b"location:")]
        assert not [line for line in where if b".." in line or b"%2e" in line], (target, where)
    assert everything_below(outside) == before


@pytest.mark.parametrize("name", ["../x", "a/b", "..", ".", "a\0b", "-x", "A B", "é", "a" * 200])
def test_no_project_or_notebook_is_called_like_a_path(gateway: GatewayProcess, name: str) -> None:
    if "\0" not in name:
        for words in (
            ("project", "add", "--source", "/tmp", "--", name),
            ("notebook", "create", "--project", "demo", "--", name),
        ):
            assert gateway.run(*words).returncode != 0, words
    assert not (gateway.state / "x").exists()


@pytest.mark.parametrize("end", LINE_ENDS)
@pytest.mark.parametrize(
    "target",
    [
        "/ipythonExercice/open/{}/mary",
        f"/ipythonExercice/open/{FILE}/mary{{}}",
        f"/ipythonExercice/open/{FILE}/mary?a={{}}",
        "/ipythonForward/open/mary/lab/{}",
        "/gateway/login?ticket={}",
        "/gateway/login?next=/{}",
        "/gateway/authorize?next={}&state={}",
        "/gateway/enter?ticket=x&state={}",
        "/nb/{}/lab",
        "/{}",
    ],
)
async def test_no_line_end_of_a_request_becomes_one_of_an_answer(
    gateway: GatewayProcess, target: str, end: str
) -> None:
    planted = f"x{end}Set-Cookie:%20planted=1{end}Location:%20https://evil.example/{end}{end}"
    lines = header_lines(await raw(gateway, target.replace("{}", planted)))
    assert lines
    assert not [line for line in lines if line.startswith(b"set-cookie: planted")]
    assert not [line for line in lines if line.startswith((b"location: https://evil", b"x-evil"))]


@pytest.mark.parametrize(
    "target",
    [
        "//evil.example/lab",
        "/\\evil.example/lab",
        "/%2f%2fevil.example/",
        "/%5cevil.example",
        "/gateway/login?next=https://evil.example/",
        "/gateway/login?next=//evil.example/",
        "/gateway/login?next=/%5cevil.example/",
        "/gateway/authorize?next=https://evil.example/&state=x",
        "/gateway/authorize?next=http://127.0.0.1@evil.example/&state=x",
        "/ipythonForward/open/nina//evil.example",
        "/ipythonForward/open/nina/%2f%2fevil.example",
        "/ipythonForward/open/nina/https://evil.example",
        "/gateway/open/open//evil.example/nina",
        "http://evil.example/ipythonExercice/open/first-steps.ipynb/nina",
    ],
)
async def test_gateway_sends_nobody_to_another_site(gateway: GatewayProcess, target: str) -> None:
    link = gateway.nbgate("notebook", "url", "--project", "demo", "--person", "nora")
    async with signed_in(link) as client:
        token = next(cookie.value for cookie in client.cookie_jar)
    for lines in ((), (f"Cookie: nbgate-session={token}",)):
        answer = await raw(gateway, target, *lines)
        for line in header_lines(answer):
            if line.startswith((b"location:", b"refresh:")):
                where = line.partition(b":")[2].strip()
                own = where.startswith((b"/", gateway.url.encode()))
                assert own, line
                assert not where.startswith((b"//", b"/\\")), line


async def test_session_that_was_planted_before_signing_in_stays_what_it_was(
    gateway: GatewayProcess,
) -> None:
    """Session fixation: by the attacker's own token, and by one that is made up."""
    theirs = gateway.nbgate("notebook", "url", "--project", "demo", "--person", "mallory")
    async with signed_in(theirs) as mallory:
        own = next(cookie.value for cookie in mallory.cookie_jar)
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as client:
        for planted in (own, "A" * 43):
            link = gateway.nbgate("notebook", "url", "--project", "demo", "--person", "vera")
            cookie = {"Cookie": f"nbgate-session={planted}"}
            async with client.get(link, headers=cookie, allow_redirects=False) as answer:
                given = answer.headers["Set-Cookie"].partition(";")[0].partition("=")[2]
                assert given not in (planted, "")
            for path in ("/nb/demo-x-vera/api/status", "/nb/demo-x-mallory/api/status"):
                async with client.get(gateway.url + path, headers=cookie) as answer:
                    assert answer.status in (401, 404), path


async def test_token_in_an_address_signs_nobody_in(gateway: GatewayProcess) -> None:
    theirs = gateway.nbgate("notebook", "url", "--project", "demo", "--person", "mallory")
    async with signed_in(theirs) as mallory:
        own = next(cookie.value for cookie in mallory.cookie_jar)
    for name in ("nbgate-session", "session", "token", "__Host-nbgate"):
        answer = await raw(gateway, f"/?{name}={own}")
        assert not [line for line in header_lines(answer) if line.startswith(b"set-cookie")]
        assert b"mallory" not in answer
