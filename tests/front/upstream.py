"""An upstream that tells what it was sent."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from aiohttp import WSMsgType, web
from aiohttp.test_utils import TestServer

from tests.support.front import Answer

COOKIES = (
    "username-127-0-0-1-8888=someone; Path=/",
    "nbgate-session=evil",
    "=nbgate-session=nameless",
    "__Host-nbgate~demo=evil; Secure; Path=/",
    "wide=1; Path=/; Domain=nb.example.org",
    "_xsrf=fresh; Path=/",
)


@dataclass
class Upstream:
    """A server of a test's own.

    Attributes:
        name: what it calls itself.
        seen: `METHOD target` of each request, in order.
    """

    name: str
    server: TestServer
    seen: list[str] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server.port}"

    async def stop(self) -> None:
        await self.server.close()

    @contextlib.asynccontextmanager
    async def again(self, port: int) -> AsyncIterator[None]:
        """Run a server of the same kind at a port that was in use before."""
        async with running_upstream(self.name, port):
            yield


@dataclass(frozen=True)
class Told:
    """What an upstream told of the request that reached it."""

    by: str
    method: str
    target: str
    headers: list[list[str]]
    body: str

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def one(self, name: str) -> str | None:
        values = self.all(name)
        assert len(values) <= 1, values
        return values[0] if values else None


def told(answer: Answer) -> Told:
    assert answer.status == 200, answer
    return Told(**json.loads(answer.body))


def _telling(name: str, request: web.Request, body: bytes) -> dict[str, Any]:
    headers = [[key, value] for key, value in request.headers.items()]
    text = body.decode("latin-1")
    return {
        "by": name,
        "method": request.method,
        "target": request.raw_path,
        "headers": headers,
        "body": text,
    }


async def _echo(name: str, request: web.Request) -> web.WebSocketResponse:
    socket = web.WebSocketResponse(protocols=["kernel"], autoping=False)
    await socket.prepare(request)
    await socket.send_str(json.dumps(_telling(name, request, b"")))
    async for message in socket:
        if message.type is WSMsgType.TEXT and message.data.startswith("close "):
            await socket.close(code=int(message.data.removeprefix("close ")))
        elif message.type is WSMsgType.TEXT:
            await socket.send_str(message.data)
        elif message.type is WSMsgType.BINARY:
            await socket.send_bytes(message.data)
    return socket


@contextlib.asynccontextmanager
async def running_upstream(name: str, port: int | None = None) -> AsyncIterator[Upstream]:
    app = web.Application(client_max_size=2**24)
    upstream = Upstream(name, TestServer(app, port=port))

    async def handle(request: web.Request) -> web.StreamResponse:
        upstream.seen.append(f"{request.method} {request.raw_path}")
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await _echo(name, request)
        if "break" in request.query:
            assert request.transport is not None
            request.transport.abort()
        status = int(request.query.get("status", "200"))
        body = _telling(name, request, await request.read())
        response = web.json_response(body, status=status)
        response.headers["Access-Control-Allow-Origin"] = "*"
        response.headers["Access-Control-Allow-Credentials"] = "true"
        response.headers["Service-Worker-Allowed"] = "/"
        response.headers["Clear-Site-Data"] = '"cookies"'
        for cookie in COOKIES:
            response.headers.add("Set-Cookie", cookie)
        return response

    app.router.add_route("*", "/{tail:.*}", handle)
    await upstream.server.start_server()
    try:
        yield upstream
    finally:
        await upstream.server.close()
