"""A real engine behind a socket that answers some requests with errors of its own."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from aiohttp import web

from tests.support.engine import EngineHandle


@dataclass(slots=True)
class Fault:
    """What goes wrong.

    Attributes:
        method: of the requests that do.
        words: what the engine is made to say.
        times: how often; counted down.
        status: of the answer.
        only: how the paths end.
        seen: paths of the requests that met it.
    """

    method: str
    words: str
    times: int
    status: int = 500
    only: str = ""
    seen: list[str] = field(default_factory=list)


@contextlib.asynccontextmanager
async def faulty(engine: EngineHandle, folder: Path, fault: Fault) -> AsyncIterator[str]:
    """Give the URL of a socket in front of `engine`."""
    real = engine.url.removeprefix("unix://")
    async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(real)) as client:

        async def handle(request: web.Request) -> web.StreamResponse:
            meant = request.method == fault.method and request.path.endswith(fault.only)
            if meant and fault.times > 0:
                fault.times -= 1
                fault.seen.append(request.path)
                return web.json_response({"message": fault.words}, status=fault.status)
            return await forward(client, request)

        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", handle)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.UnixSite(runner, str(folder / "faulty.sock")).start()
        try:
            yield f"unix://{folder}/faulty.sock"
        finally:
            await runner.cleanup()


async def forward(client: aiohttp.ClientSession, request: web.Request) -> web.StreamResponse:
    url = f"http://engine{request.raw_path}"
    kind = request.headers.get("Content-Type", "application/json")
    async with client.request(
        request.method, url, data=await request.read(), headers={"Content-Type": kind}
    ) as answer:
        return web.Response(
            status=answer.status,
            body=await answer.read(),
            headers={"Content-Type": answer.headers.get("Content-Type", "text/plain")},
        )
