"""Two courses with a teacher each, and people who are signed in: for who may read and use what."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import aiohttp

from tests.support.gateway import ROOT, GatewayProcess

SAMS = "demo-x-sam"
STAFF = ("project", "update", "demo")
COURSES = {"sam": "demo", "mallory": "demo", "tina": "demo", "otto": "other"}


def add_courses(gateway: GatewayProcess) -> None:
    """Add the courses; tina teaches `demo`, otto `other`."""
    source = str(ROOT / "examples" / "demo")
    for course, teacher in (("demo", "tina"), ("other", "otto")):
        gateway.nbgate("project", "add", course, "--source", source, "--staff", teacher)


async def login_link(school: GatewayProcess, person: str) -> str:
    """Return a link by which somebody signs in, to a notebook of their own."""
    words = ("notebook", "url", "--project", COURSES[person], "--person", person)
    return await asyncio.to_thread(school.nbgate, *words)


@contextlib.asynccontextmanager
async def sams_notebook(
    school: GatewayProcess, sam: aiohttp.ClientSession, base: str, *, hot: bool
) -> AsyncIterator[str]:
    """Yield the address of sam's notebook, `base`, which is stopped at the end."""
    if hot:
        assert await status(sam, f"{base}api/status") == 200
    yield base
    await asyncio.to_thread(school.nbgate, "notebook", "stop", SAMS)


async def status(
    client: aiohttp.ClientSession, url: str, method: str = "GET", **headers: str
) -> int:
    """Return what a request is answered with."""
    async with client.request(method, url, headers=headers, allow_redirects=False) as answer:
        return answer.status
