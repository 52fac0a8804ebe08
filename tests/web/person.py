"""A person's browser, as far as the pages see it: a session, a language, and where it came from."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import aiohttp

from gateway.launch.cookies import cookie_name
from gateway.web.context import Pages
from tests.proxy.harness import Rig

HOST = "h"


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer."""

    status: int
    headers: dict[str, str]
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)


class Person:
    """Asks as a browser does."""

    def __init__(self, client: aiohttp.ClientSession, base: str, cookie: str) -> None:
        self.client = client
        self.base = base
        self.cookie = cookie

    def headers(self, **more: str) -> dict[str, str]:
        """Return the headers of a request; names are given with `_` for `-`."""
        made = {"Host": HOST, "Cookie": self.cookie, "Accept": "text/html"}
        return made | {name.replace("_", "-"): value for name, value in more.items()}

    async def get(self, path: str, **headers: str) -> Answer:
        return await self.ask("GET", path, **headers)

    async def post(self, path: str, body: str = "", **headers: str) -> Answer:
        """Send a form of a page of ours."""
        form = {"Origin": f"http://{HOST}", "Content-Type": "application/x-www-form-urlencoded"}
        return await self.ask("POST", path, body, **(form | headers))

    async def ask(self, method: str, path: str, body: str = "", **headers: str) -> Answer:
        async with self.client.request(
            method,
            self.base + path,
            data=body or None,
            headers=self.headers(**headers),
            allow_redirects=False,
        ) as answer:
            return Answer(answer.status, dict(answer.headers), await answer.text())

    @contextlib.asynccontextmanager
    async def events(self, slug: str, **headers: str) -> AsyncIterator[AsyncIterator[Any]]:
        """Follow a start."""
        async with self.client.get(
            f"{self.base}/gateway/events/{slug}",
            headers=self.headers(Accept="text/event-stream", **headers),
        ) as answer:
            assert answer.status == 200, await answer.text()
            assert answer.content_type == "text/event-stream"
            yield _events(answer)


async def _events(answer: aiohttp.ClientResponse) -> AsyncIterator[Any]:
    async for line in answer.content:
        if line.startswith(b"data: "):
            yield json.loads(line.removeprefix(b"data: "))


@contextlib.asynccontextmanager
async def person(proxy: Rig, pages: Pages, subject: str = "alice") -> AsyncIterator[Person]:
    """Sign somebody in."""
    token = await pages.sessions.create(subject, HOST)
    jar = aiohttp.DummyCookieJar()
    async with aiohttp.ClientSession(cookie_jar=jar) as client:
        cookie = f"{cookie_name(https=False)}={token}"
        yield Person(client, f"http://127.0.0.1:{proxy.port}", cookie)
