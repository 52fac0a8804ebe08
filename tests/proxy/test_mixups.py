"""No request gets another's response: thousands of them, interleaved, pipelined and broken off.

Each request carries its own id in path, header and body. The upstream checks that the three
agree and answers with the id in head and body, in every framing, sometimes early, sometimes
broken off; the client accepts nothing but its own id.
"""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from gateway.proxy.interface import ProxyLimits
from tests.proxy.harness import Message, Rig, Upstream, Wire, rig, until

CLIENTS = 24
ROUNDS = 60
BROKEN = (ConnectionError, asyncio.IncompleteReadError)


class Tally:
    """What was seen at both ends."""

    def __init__(self) -> None:
        self.answered = 0
        self.failed = 0
        self.aborted = 0
        self.upstream_saw = 0
        self.mixups: list[str] = []

    def check(self, what: str, expected: bytes, found: set[bytes]) -> None:
        """Note a mix-up unless all that was found is what was expected."""
        if found != {expected}:
            self.mixups.append(f"{what}: expected {expected!r}, found {found!r}")


def chunked(body: bytes, rng: random.Random) -> bytes:
    """Return `body` in chunks of random sizes."""
    pieces = []
    while body:
        size = rng.randint(1, 400)
        piece, body = body[:size], body[size:]
        pieces.append(b"%x\r\n%b\r\n" % (len(piece), piece))
    return b"".join(pieces) + b"0\r\n\r\n"


def body_of(identity: bytes, rng: random.Random) -> bytes:
    """Return a body that is the id, repeated."""
    return (identity + b" ") * rng.choice((1, 3, 50, 3000))


def identities(message: Message) -> set[bytes]:
    """Return every id that a message carries."""
    return {*message.all(b"x-id"), *message.body.split()}


class Server:
    """The upstream: checks what comes and answers in a random way."""

    def __init__(self, tally: Tally, rng: random.Random) -> None:
        self._tally = tally
        self._rng = rng

    async def __call__(self, wire: Wire) -> None:
        while True:
            message = await wire.request()
            identity = message.target.removeprefix(b"/")
            self._tally.upstream_saw += 1
            self._tally.check("request", identity, {identity} | identities(message))
            if not await self._answer(wire, message.start.split(b" ")[0], identity):
                return

    async def _answer(self, wire: Wire, method: bytes, identity: bytes) -> bool:
        rng = self._rng
        if rng.random() < 0.3:
            await asyncio.sleep(rng.random() * 0.003)
        body = body_of(identity, rng)
        head = b"HTTP/1.1 200 OK\r\nX-Id: %b\r\n" % identity
        if rng.random() < 0.1:
            head = b"HTTP/1.1 103 Early Hints\r\nX-Id: %b\r\n\r\n" % identity + head
        kind = rng.choice(("length", "length", "chunked", "close", "none", "broken", "stale"))
        if method == b"HEAD":
            await wire.send(head + b"Content-Length: %d\r\n\r\n" % len(body))
        elif kind == "chunked":
            await wire.send(head + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(body, rng))
        elif kind == "close":
            await wire.send(head + b"\r\n" + body)
            return False
        elif kind == "none":
            await wire.send(head.replace(b"200 OK", b"204 No Content") + b"\r\n")
        elif kind == "broken":
            await wire.send(head + b"Content-Length: %d\r\n\r\n" % (len(body) + 9) + body)
            wire.reset()
            return False
        else:
            await wire.send(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        return kind != "stale"


def request_of(identity: bytes, rng: random.Random) -> tuple[str, bytes]:
    """Return (method, bytes) of a random request with `identity` in all its places."""
    method = rng.choice(("GET", "GET", "HEAD", "POST", "PUT", "POST-CHUNKED"))
    name = method.partition("-")[0]
    head = b"%b /%b HTTP/1.1\r\nHost: h\r\nX-Id: %b\r\n" % (name.encode(), identity, identity)
    body = body_of(identity, rng)
    if method == "POST-CHUNKED":
        return name, head + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(body, rng)
    if name in ("POST", "PUT"):
        return name, head + b"Content-Length: %d\r\n\r\n" % len(body) + body
    return name, head + b"\r\n"


async def read_answer(client: Wire, method: str, identity: bytes, tally: Tally) -> None:
    """Read the answer to one request and check whose it is."""
    answer = await client.response(method)
    while answer.status < 200:
        tally.check("interim answer", identity, identities(answer))
        answer = await client.response(method)
    if answer.status in (200, 204):
        tally.check("answer", identity, identities(answer))
        tally.answered += 1
    else:
        assert answer.status in (502, 504)
        tally.failed += 1


async def one_round(proxy: Rig, name: str, rng: random.Random, tally: Tally) -> None:
    """Use one connection: a few requests, perhaps pipelined, perhaps left."""
    requests = []
    for number in range(rng.randint(1, 5)):
        identity = f"{name}-{number}".encode()
        requests.append((identity, *request_of(identity, rng)))
    pipelined, leaves = rng.random() < 0.4, rng.random() < 0.25
    async with await proxy.connect() as client:
        if pipelined:
            await client.send(b"".join(data for _, _, data in requests))
        for identity, method, data in requests:
            if leaves and rng.random() < 0.5:
                tally.aborted += 1
                if not pipelined:
                    await client.send(data[: rng.randrange(len(data))])
                if rng.random() < 0.5:
                    client.reset()
                return
            if not pipelined:
                await client.send(data)
            await read_answer(client, method, identity, tally)


async def client_of(proxy: Rig, number: int, seed: int, tally: Tally) -> None:
    """Play ROUNDS connections."""
    rng = random.Random(seed + number)
    for turn in range(ROUNDS):
        try:
            await one_round(proxy, f"{number}-{turn}", rng, tally)
        except BROKEN:
            tally.failed += 1


@pytest.mark.parametrize("seed", [20240229, 7])
async def test_no_request_gets_anothers_response(tmp_path: Path, seed: int) -> None:
    tally = Tally()
    server = Server(tally, random.Random(seed))
    async with (
        Upstream(server) as upstream,
        rig(tmp_path, upstream.target, ProxyLimits(upstream_idle=0.05)) as proxy,
    ):
        async with asyncio.timeout(120):
            await asyncio.gather(*(client_of(proxy, n, seed, tally) for n in range(CLIENTS)))
        await until(lambda: proxy.entry.activity.requests == 0)
        await until(lambda: len(proxy.observer.outcomes) == proxy.observer.started)
        accepted = upstream.accepted
    assert tally.mixups == []
    assert tally.answered > 1500
    assert tally.aborted > 100
    assert tally.upstream_saw > accepted, "no connection was ever used again"
