"""Who may read a notebook under path routing: teachers, people it is shared with; who may not.

Under host routing they use it: test_people_live.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.end_to_end.school import (
    COURSES,
    SAMS,
    STAFF,
    add_courses,
    login_link,
    sams_notebook,
    status,
)
from tests.end_to_end.test_access import UPGRADE
from tests.support.gateway import GatewayProcess, running, signed_in

READ = f"/gateway/read/{SAMS}"


@pytest.fixture(scope="module", params=["0", "2"], ids=["one process", "two workers"])
def school(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    """Two courses with a teacher each."""
    state = tmp_path_factory.mktemp("school") / "state"
    with running(state, spawner="process", workers=request.param) as gateway:
        add_courses(gateway)
        yield gateway


@pytest.fixture
async def people(school: GatewayProcess) -> AsyncIterator[dict[str, aiohttp.ClientSession]]:
    """Browsers in which somebody is signed in, each by a notebook of their own."""
    async with contextlib.AsyncExitStack() as stack:
        found = {}
        for person in COURSES:
            link = await login_link(school, person)
            found[person] = await stack.enter_async_context(signed_in(link))
        yield found


@pytest.fixture(params=["hot", "cold"])
async def sams(
    request: pytest.FixtureRequest,
    school: GatewayProcess,
    people: dict[str, aiohttp.ClientSession],
) -> AsyncIterator[str]:
    """The address of sam's notebook."""
    base, hot = f"{school.url}/nb/{SAMS}/", request.param == "hot"
    async with sams_notebook(school, people["sam"], base, hot=hot) as opened:
        yield opened


async def all_refused(school: GatewayProcess, client: aiohttp.ClientSession) -> None:
    """Try every way to a notebook; each is answered as if it did not exist."""
    own = {"Origin": school.url}
    tries: list[tuple[str, str, dict[str, str]]] = [
        ("GET", f"/nb/{SAMS}/api/contents/first-steps.ipynb", {}),
        ("GET", f"/nb/{SAMS}/lab", {"Accept": "text/html"}),
        ("PUT", f"/nb/{SAMS}/api/contents/x.txt", own),
        ("GET", f"/nb/{SAMS}/api/kernels/0/channels", UPGRADE),
        ("GET", f"/gateway/status/{SAMS}", {}),
        ("GET", f"/gateway/events/{SAMS}", {}),
        ("GET", f"/gateway/page/{SAMS}", {}),
        ("GET", f"/gateway/read/{SAMS}/first-steps.ipynb", {"Accept": "text/html"}),
        ("POST", f"/gateway/keep/{SAMS}", own),
        ("POST", f"/gateway/start/{SAMS}", own),
        ("POST", f"/gateway/stop/{SAMS}", own),
    ]
    for method, path, headers in tries:
        assert await status(client, school.url + path, method, **headers) == 404, (method, path)
    async with client.get(school.url, headers={"Accept": "text/html"}) as answer:
        assert SAMS not in await answer.text()


async def operations(school: GatewayProcess) -> list[dict[str, Any]]:
    words = ("operation", "list", "--notebook", SAMS, "--json")
    found: list[dict[str, Any]] = json.loads(await asyncio.to_thread(school.nbgate, *words))
    return found


async def reads_and_no_more(school: GatewayProcess, client: aiohttp.ClientSession) -> None:
    """A page to read is all that somebody gets of what they may use: nothing of its server."""
    html, own = {"Accept": "text/html"}, {"Origin": school.url}
    live = f"/nb/{SAMS}/lab/tree/first-steps.ipynb"
    async with client.get(school.url + live, headers=html) as answer:
        assert (answer.status, answer.url.path) == (200, f"{READ}/first-steps.ipynb")
        assert "script-src" not in answer.headers["Content-Security-Policy"]
        assert "<script" not in await answer.text()
    tries: list[tuple[str, str, dict[str, str]]] = [
        ("GET", "api/contents/first-steps.ipynb", {}),
        ("GET", "files/first-steps.ipynb", {"Sec-Fetch-Site": "same-origin"}),
        ("POST", "api/kernels", own),
        ("PUT", "api/contents/x.txt", own),
        ("GET", "api/events/subscribe", UPGRADE | own),
        ("GET", "api/events/subscribe", UPGRADE),
    ]
    for method, path, headers in tries:
        url = f"{school.url}/nb/{SAMS}/{path}"
        assert await status(client, url, method, **headers) == 404, (method, path)


async def test_teacher_reads_and_stops_a_students_notebook(
    school: GatewayProcess, people: dict[str, aiohttp.ClientSession], sams: str
) -> None:
    tina, before = people["tina"], await operations(school)
    await reads_and_no_more(school, tina)
    assert await operations(school) == before, "it is neither started nor stopped by reading"
    async with tina.get(school.url, headers={"Accept": "text/html"}) as answer:
        assert f'href="{READ}/"' in await answer.text()
    assert await status(tina, f"{school.url}/gateway/page/{SAMS}") == 200
    stop, own = f"{school.url}/gateway/stop/{SAMS}", {"Origin": school.url}
    assert await status(tina, stop, "POST", **own) == 303
    last = (await operations(school))[0]
    assert (last["kind"], last["requested_by"]) == ("stop", "tina")


@pytest.mark.parametrize("person", ["mallory", "otto"])
async def test_another_student_and_another_courses_teacher_get_nothing(
    school: GatewayProcess,
    people: dict[str, aiohttp.ClientSession],
    sams: str,
    person: str,
) -> None:
    before = await operations(school)
    await all_refused(school, people[person])
    assert await operations(school) == before


async def test_who_is_taken_off_the_staff_reads_no_more(
    school: GatewayProcess, people: dict[str, aiohttp.ClientSession], sams: str
) -> None:
    await asyncio.to_thread(school.nbgate, *STAFF, "--staff", "tina", "--staff", "otto")
    await reads_and_no_more(school, people["otto"])
    await asyncio.to_thread(school.nbgate, *STAFF, "--staff", "tina")
    await all_refused(school, people["otto"])
    await reads_and_no_more(school, people["tina"])


async def test_shared_notebook_is_read_until_it_is_not_shared(
    school: GatewayProcess, people: dict[str, aiohttp.ClientSession], sams: str
) -> None:
    await asyncio.to_thread(school.nbgate, "notebook", "share", SAMS, "mallory")
    await reads_and_no_more(school, people["mallory"])
    await asyncio.to_thread(school.nbgate, "notebook", "unshare", SAMS, "mallory")
    await all_refused(school, people["mallory"])


def test_staff_and_sharing_outlive_a_restart(tmp_path: Path) -> None:
    with running(tmp_path / "state", spawner="process") as gateway:
        gateway.nbgate("project", "add", "demo", "--staff", "tina")
        gateway.nbgate("notebook", "create", "sams", "--project", "demo", "--owner", "sam")
        gateway.nbgate("notebook", "share", "sams", "bob")
        gateway.stop()
        gateway.start()
        record = gateway.show("sams")
        assert record["shared_with"] == ["bob"]
        course = json.loads(gateway.nbgate("project", "show", "demo", "--json"))
        assert course["staff"] == ["tina"]
