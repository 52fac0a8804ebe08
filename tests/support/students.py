"""A class that opens its notebooks at once, on an engine, with servers that are up at once."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import aiohttp

from tests.support.building import has_image, make_base_image
from tests.support.engine import EngineHandle, Say, say
from tests.support.gateway import GatewayProcess, signed_in

PROJECT = "class"

# What a notebook server is for the gateway: it answers at a port to who knows the secret.
_SERVER = """
import http.server, os
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    wbufsize = -1
    disable_nagle_algorithm = True
    def do_GET(self):
        known = self.headers.get('Authorization') == 'token ' + os.environ['NBGATE_HOP_SECRET']
        body = b'{"started": "' + os.environ['NBGATE_SLUG'].encode() + b'"}'
        self.send_response(200 if known else 403)
        self.send_header('Content-Type', 'application/json')
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args):
        pass
http.server.ThreadingHTTPServer(('', 8888), Handler).serve_forever()
"""


def make_quick_image(engine: EngineHandle, progress: Say = say) -> str:
    """Return the tag of an image that passes for ours, whose server is up at once."""
    return image_that_runs(engine, ("python3", "-S", "-E", "-c", _SERVER), progress)


def image_that_runs(engine: EngineHandle, command: Sequence[str], progress: Say = say) -> str:
    """Return the tag of an image that passes for ours and runs `command`."""
    dockerfile = (
        "ARG BASE_IMAGE\n"
        "FROM ${BASE_IMAGE}\n"
        'LABEL org.nbgate.image="1" org.nbgate.read-only-root="true"\n'
        f"ENTRYPOINT {json.dumps(command)}\n"
    )
    base = make_base_image(engine, progress)
    digest = hashlib.sha256((dockerfile + base).encode()).hexdigest()[:12]
    tag = f"nbgate-test/quick:{digest}"
    with contextlib.closing(engine.client()) as client:
        if not has_image(client, tag):
            context = io.BytesIO(dockerfile.encode())
            args = {"BASE_IMAGE": base}
            client.images.build(fileobj=context, tag=tag, buildargs=args, rm=True, forcerm=True)
    return tag


@dataclass(slots=True)
class Lesson:
    """What happened when a class came.

    Attributes:
        asked: slugs in the order in which their owners came.
        places: the place in the queue that each was told first.
        served: slugs in the order in which they were answered.
    """

    asked: list[str] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    served: list[str] = field(default_factory=list)


async def links_for(gateway: GatewayProcess, count: int) -> list[str]:
    """Make a project and a notebook for each of its students; return their login links."""
    token = (gateway.state / "management.token").read_text().strip()
    headers = {"Authorization": f"Bearer {token}"}
    api = f"{gateway.management_url}/gateway/api"
    links = []
    async with aiohttp.ClientSession(headers=headers) as client:
        async with client.post(f"{api}/projects", json={"name": PROJECT}) as answer:
            assert answer.status == 201, await answer.text()
        for number in range(count):
            body = {"project": PROJECT, "person": f"s{number}"}
            async with client.post(f"{api}/links", json=body) as answer:
                assert answer.status == 201, await answer.text()
                links.append((await answer.json())["url"])
    return links


async def teach(gateway: GatewayProcess, links: Sequence[str]) -> Lesson:
    """Let everybody open the waiting page, one right after the other, and wait for the notebook."""
    lesson = Lesson()
    async with contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(signed_in(link)) for link in links]
        slugs = [f"{PROJECT}-x-s{number}" for number in range(len(links))]
        for slug, client in zip(slugs, clients, strict=True):
            await _open(gateway, client, slug, lesson)
        await asyncio.gather(
            *(
                _wait(gateway, client, slug, lesson)
                for slug, client in zip(slugs, clients, strict=True)
            )
        )
    return lesson


async def _open(
    gateway: GatewayProcess, client: aiohttp.ClientSession, slug: str, lesson: Lesson
) -> None:
    page = {"Accept": "text/html"}
    async with client.get(f"{gateway.url}/nb/{slug}/lab", headers=page) as answer:
        assert answer.status == 503, f"{slug}: {answer.status}"
        found = re.search(r"number (\d+) in line", await answer.text())
    lesson.asked.append(slug)
    lesson.places.append(int(found[1]) if found else 0)


async def _wait(
    gateway: GatewayProcess, client: aiohttp.ClientSession, slug: str, lesson: Lesson
) -> None:
    while True:
        async with client.get(f"{gateway.url}/nb/{slug}/api/status") as answer:
            if answer.status == 200:
                assert (await answer.json())["started"] == slug
                break
            # Held up to the bound, then told to come again.
            assert (answer.status, "Retry-After" in answer.headers) == (503, True)
    lesson.served.append(slug)


@contextlib.asynccontextmanager
async def asking(
    ask: Callable[[], Awaitable[None]], pause: float = 0.0
) -> AsyncIterator[Callable[[], int]]:
    """Ask again and again while the context is open; yield what tells how often it was answered.

    Args:
        ask: asks once; what it raises is raised at the end.
        pause: seconds between two.
    """
    count = 0

    async def go_on() -> None:
        nonlocal count
        while True:
            await ask()
            count += 1
            await asyncio.sleep(pause)

    task = asyncio.create_task(go_on(), name="asking")
    try:
        yield lambda: count
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def began(gateway: GatewayProcess) -> list[str]:
    """Return the slugs whose starts began, in order, by the gateway's log."""
    lines = gateway.log.read_text().splitlines()
    found = (re.search(rf"({PROJECT}-x-s\d+)\b.*start begins", line) for line in lines)
    return [one[1] for one in found if one]


def remove_students(engine: EngineHandle) -> None:
    """Remove the servers of a class at once: one after the other takes long."""
    with contextlib.closing(engine.client()) as client:
        for container in client.containers.list(all=True, ignore_removed=True):
            if container.labels.get("org.nbgate.slug", "").startswith(f"{PROJECT}-x-s"):
                container.remove(force=True)
