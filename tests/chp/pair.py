"""The same bytes to configurable-http-proxy and to nbgate-proxy, with one upstream behind both."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from tests.chp.harness import Rig, rig
from tests.chp.peer import TOKEN, Peer
from tests.proxy.upstreams import Upstream
from tests.proxy.wire import Headers, Message, Wire

PLAIN = b"HTTP/1.1 200 Fine\r\nContent-Length: 2\r\nContent-Type: text/x\r\n\r\nok"

# What ends at each hop, and what Node.js adds to answers by itself.
_OF_THE_HOP = {"connection", "keep-alive", "transfer-encoding"}
_ADDED = {"date"}

Start = Callable[..., Peer]
Fields = dict[str, list[str]]


@dataclass
class Exchange:
    """What came of a request, in a form that does not depend on how headers are written.

    Attributes:
        target: that the upstream saw; "" where it saw nothing.
        sent: headers that the upstream saw, by their names in lower case.
        payload: the body that the upstream saw.
        status: that the client got; 0 where the connection was closed.
        got: headers that the client got.
        body: the body that the client got.
        alive: whether the answer says that the connection is kept.
    """

    target: str = ""
    method: str = ""
    sent: Fields = field(default_factory=dict)
    payload: bytes = b""
    status: int = 0
    reason: str = ""
    got: Fields = field(default_factory=dict)
    body: bytes = b""
    alive: bool = False

    def header(self, name: str) -> str | None:
        """Return a header that the upstream saw, as one value."""
        values = self.sent.get(name)
        return None if values is None else ",".join(values)

    def location(self) -> str | None:
        """Return the Location that the client got."""
        values = self.got.get("location")
        return None if values is None else ",".join(values)


class Recorder(Upstream):
    """An upstream that keeps what it sees, and answers each request with `answer`.

    Attributes:
        seen: requests.
        answer: raw; "" closes the connection; after a 101 what comes is sent back.
    """

    def __init__(self) -> None:
        super().__init__(self._record)
        self.seen: list[Message] = []
        self.answer = PLAIN

    async def __aenter__(self) -> Recorder:
        await super().__aenter__()
        return self

    async def _record(self, wire: Wire) -> None:
        while True:
            message = await wire.request()
            self.seen.append(message)
            await wire.send(self.answer)
            if self.answer.startswith(b"HTTP/1.1 101"):
                while data := await wire.reader.read(65536):
                    await wire.send(data)
                return
            if not self.answer or b"Connection: close" in self.answer:
                return


class Pair:
    """The two proxies.

    Args:
        chp: configurable-http-proxy.
        ours: nbgate-proxy.
        upstream: behind both.

    Attributes:
        tls: what clients speak; None for plain HTTP.
    """

    def __init__(self, chp: Peer, ours: Rig, upstream: Recorder) -> None:
        self.chp, self.ours, self.upstream = chp, ours, upstream
        self.tls: ssl.SSLContext | None = None

    @property
    def ports(self) -> tuple[int, int]:
        """The public ports: configurable-http-proxy's, and ours."""
        return self.chp.port, self.ours.port

    async def connected(self) -> tuple[Wire, Wire]:
        """Return a connection to each."""
        theirs, ours = [
            Wire(*await asyncio.open_connection("127.0.0.1", port, limit=2**20, ssl=self.tls))
            for port in self.ports
        ]
        return theirs, ours

    async def api(
        self, method: str, path: str, body: object = None, *, token: str | None = f"token {TOKEN}"
    ) -> tuple[Message, Message]:
        """Call both APIs; return both answers."""
        theirs, ours = [
            await call(port, method, path, body, token)
            for port in (self.chp.api_port, self.ours.api_port)
        ]
        return theirs, ours

    async def add(self, key: str, path: str = "", **extras: object) -> None:
        """Add a route to the upstream, with `path` behind its address, to both."""
        await self.lead(key, f"http://127.0.0.1:{self.upstream.port}{path}", **extras)

    async def lead(self, key: str, target: str, **extras: object) -> None:
        """Add a route to any target to both."""
        answers = await self.api("POST", f"/api/routes{key}", {"target": target, **extras})
        assert [answer.status for answer in answers] == [201, 201]

    async def ask(self, data: bytes) -> tuple[Exchange, Exchange]:
        """Send one request to each; return what came of both: theirs, ours."""
        theirs, ours = [await self._exchange(port, data) for port in self.ports]
        return theirs, ours

    async def agree(self, data: bytes) -> Exchange:
        """Send one request to each; return what came of it, which must be the same."""
        theirs, ours = await self.ask(data)
        assert ours == theirs, (data, theirs, ours)
        return ours

    async def _exchange(self, port: int, data: bytes) -> Exchange:
        """Send one request over a connection of its own; return what came of it."""
        before = len(self.upstream.seen)
        try:
            streams = await asyncio.open_connection("127.0.0.1", port, limit=2**20, ssl=self.tls)
        except (ssl.SSLError, ConnectionError):
            return Exchange()
        told: Message | None = None
        wire = Wire(*streams)
        try:
            await wire.send(data)
            told = await final(wire, data.partition(b" ")[0].decode())
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            pass  # nothing came
        finally:
            wire.writer.transport.abort()
            with contextlib.suppress(OSError):
                await wire.writer.wait_closed()
        seen = self.upstream.seen[before:]
        assert len(seen) <= 1, seen
        return merged(seen[0] if seen else None, told, port)


@contextlib.asynccontextmanager
async def paired(start: Start, *flags: str) -> AsyncIterator[Pair]:
    """Run both proxies with the same flags, and without routes."""
    chp = start(*flags)
    await clear(chp)
    async with Recorder() as upstream, rig(*flags) as ours:
        yield Pair(chp, ours, upstream)


async def clear(chp: Peer) -> None:
    """Remove its routes."""
    for key in await routes(chp.api_port):
        await call(chp.api_port, "DELETE", f"/api/routes{quote(key)}")


async def routes(api_port: int) -> dict[str, Any]:
    """Return all routes that an API tells."""
    told: dict[str, Any] = json.loads((await call(api_port, "GET", "/api/routes/")).body)
    return told


async def call(
    port: int, method: str, path: str, body: object = None, token: str | None = f"token {TOKEN}"
) -> Message:
    """Call an API; `body` is JSON, or bytes as they are."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    content = b"" if body is None else content
    lines = [f"{method} {path} HTTP/1.1", f"Host: localhost:{port}", "Connection: close"]
    lines += [] if token is None else [f"Authorization: {token}"]
    lines += [f"Content-Length: {len(content)}"]
    wire = Wire(*await asyncio.open_connection("127.0.0.1", port, limit=2**24))
    async with wire:
        await wire.send("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + content)
        return await wire.response(method)


async def final(wire: Wire, method: str) -> Message:
    """Read an answer, past interim ones."""
    while (told := await wire.response(method)).status in (100, 103):
        pass
    return told


def merged(seen: Message | None, told: Message | None, port: int) -> Exchange:
    """Return what can be compared; the proxy's own port becomes `PORT`."""
    made = Exchange()
    if seen is not None:
        method, target, _ = seen.start.split(b" ")
        made.method, made.target = method.decode(), target.decode("latin-1")
        made.sent = fields(seen.headers, port)
        made.payload = seen.body
    if told is not None:
        made.status, made.body = told.status, told.body
        made.reason = told.start.split(b" ", 2)[2].decode() if told.start.count(b" ") > 1 else ""
        made.got = fields(told.headers, port)
        made.alive = b"close" not in (told.one(b"connection") or b"close").lower()
    return made


def fields(headers: Headers, port: int) -> Fields:
    """Return values by names; lists are split, but for cookies that are set."""
    made: Fields = {}
    for raw, value in headers:
        name = raw.decode().lower()
        if name in _OF_THE_HOP | _ADDED:
            continue
        text = value.decode("latin-1").replace(str(port), "PORT")
        parts = (
            [text] if name == "set-cookie" else re.split(r"; ?" if name == "cookie" else ",", text)
        )
        made.setdefault(name, []).extend(part.strip() for part in parts)
    return made
