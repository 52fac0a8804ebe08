"""A proxy of this mode in the tests' own process, its API, and raw connections to both."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Any

from gateway.chp.flags import add_options
from gateway.chp.options import Options, Place, options_of
from gateway.chp.serving import Proxy, running
from tests.proxy.wire import Message, Wire

TOKEN = "of-these-tests"
UPGRADE = (
    b"GET %b HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
SWITCH = (
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)


def options(*flags: str, environ: Mapping[str, str] | None = None) -> Options:
    """Return what a command line means."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    add_options(parser)
    given = {"CONFIGPROXY_AUTH_TOKEN": TOKEN} if environ is None else environ
    return options_of(parser.parse_args(flags), given)


def get(path: bytes | str, *headers: bytes, host: bytes = b"h", method: bytes = b"GET") -> bytes:
    """Return a request without a body."""
    raw = path.encode() if isinstance(path, str) else path
    lines = (b"%b %b HTTP/1.1" % (method, raw), b"Host: " + host, *headers)
    return b"\r\n".join(lines) + b"\r\n\r\n"


class Rig:
    """A running proxy and the connections to it."""

    def __init__(self, proxy: Proxy) -> None:
        self.proxy = proxy
        self._wires: list[Wire] = []

    @property
    def port(self) -> int:
        return int(self.proxy.server.addresses[0][1])

    @property
    def api_port(self) -> int:
        return int(self.proxy.api_addresses[0][1])

    async def connect(self, port: int | None = None) -> Wire:
        """Return a connection to the public port, or to another."""
        place = ("127.0.0.1", self.port if port is None else port)
        wire = Wire(*await asyncio.open_connection(*place, limit=2**20))
        self._wires.append(wire)
        return wire

    async def ask(self, data: bytes, method: str = "GET", port: int | None = None) -> Message:
        """Send one request over a connection of its own; return the answer."""
        async with await self.connect(port) as wire:
            await wire.send(data)
            return await wire.response(method)

    async def api(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        authorization: str | None = f"token {TOKEN}",
    ) -> Message:
        """Call the API; `body` is JSON, or bytes as they are; `path` goes out raw."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        content = b"" if body is None else content
        lines = [f"{method} {path} HTTP/1.1", f"Host: localhost:{self.api_port}"]
        lines += [] if authorization is None else [f"Authorization: {authorization}"]
        lines += ["Connection: close", f"Content-Length: {len(content)}"]
        data = "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + content
        return await self.ask(data, method, port=self.api_port)

    async def add(self, path: str, target: object, **extras: object) -> None:
        """Add a route."""
        answer = await self.api("POST", f"/api/routes{path}", {"target": str(target), **extras})
        assert (answer.status, answer.body) == (201, b"")

    async def routes(self, query: str = "") -> dict[str, Any]:
        """Return all routes as the API tells them."""
        answer = await self.api("GET", f"/api/routes{query}")
        assert answer.status == 200
        found: dict[str, Any] = json.loads(answer.body)
        return found

    async def close(self) -> None:
        for wire in self._wires:
            await wire.close()


def url(port: int, path: str = "") -> str:
    """Return the URL of a target on this machine."""
    return f"http://127.0.0.1:{port}{path}"


@contextlib.asynccontextmanager
async def rig(*flags: str, **changes: object) -> AsyncIterator[Rig]:
    """Run a proxy on free ports."""
    made = replace(options(*flags), public=Place("127.0.0.1", 0), api=Place("127.0.0.1", 0))
    if made.metrics is not None:
        made = replace(made, metrics=Place("127.0.0.1", 0))
    made = replace(made, **changes)  # type: ignore[arg-type]
    async with running(made) as proxy:
        running_rig = Rig(proxy)
        try:
            yield running_rig
        finally:
            await running_rig.close()
            await proxy.server.stop(0.0)
