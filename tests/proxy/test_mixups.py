"""No request gets another's response: thousands of them, interleaved, pipelined and broken off.

Each request carries its own id in path, header and body. Two upstreams check that the three
agree, that the request is theirs and that what changes something comes once. They answer with the
id in head and body, in every framing, sometimes before the upload has ended, sometimes broken off,
sometimes not at all. Clients leave in every phase, and accept nothing but their own id.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from pathlib import Path

import pytest

from gateway.proxy.interface import Activity, ProxyLimits, Relay, RouteEntry
from tests.proxy.harness import Rig, activity_of, rig
from tests.proxy.upstreams import Upstream
from tests.proxy.wire import Message, Wire, until
from tests.support.waiting import PATIENCE

EVERY_LOOP = True

CLIENTS = 24
ROUNDS = 60
KINDS = (
    *("length", "length", "length", "chunked", "chunked"),
    *("close", "none", "broken", "stale", "silent", "surplus"),
)
STRAY = b"HTTP/1.1 200 OK\r\nX-Id: stray\r\nContent-Length: 5\r\n\r\nstray"
BROKEN = (ConnectionError, asyncio.IncompleteReadError)


class Tally:
    """What was seen at both ends."""

    def __init__(self) -> None:
        self.asked = 0
        self.answered = 0
        self.failed = 0
        self.aborted = 0
        self.upstream_saw = 0
        self.changes: set[bytes] = set()
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
    """An upstream: checks what comes and answers in a random way."""

    def __init__(self, name: bytes, tally: Tally, rng: random.Random) -> None:
        self._name = name
        self._tally = tally
        self._rng = rng

    async def __call__(self, wire: Wire) -> None:
        while True:
            message = await wire.head()
            method, identity = message.start.split(b" ")[0], message.target.removeprefix(b"/")
            self._note(method, identity)
            if method in (b"POST", b"PUT") and self._rng.random() < 0.1:
                self._tally.check("early request", identity, identities(message))
                await self._answer(wire, method, identity)
                return
            await wire.body_of(message)
            self._tally.check("request", identity, identities(message))
            if not await self._answer(wire, method, identity):
                return

    def _note(self, method: bytes, identity: bytes) -> None:
        self._tally.upstream_saw += 1
        self._tally.check("upstream", self._name, {identity.partition(b"-")[0]})
        if method in (b"POST", b"PUT"):
            if identity in self._tally.changes:
                self._tally.mixups.append(f"{identity!r} came twice")
            self._tally.changes.add(identity)

    async def _answer(self, wire: Wire, method: bytes, identity: bytes) -> bool:
        """Answer, or not; return whether the connection lives on."""
        rng = self._rng
        if rng.random() < 0.3:
            await asyncio.sleep(rng.random() * 0.003)
        body = body_of(identity, rng)
        head = b"HTTP/1.1 200 OK\r\nX-Id: %b\r\n" % identity
        if rng.random() < 0.1:
            head = b"HTTP/1.1 103 Early Hints\r\nX-Id: %b\r\n\r\n" % identity + head
        kind = rng.choice(KINDS)
        if kind == "silent":
            if rng.random() < 0.5:
                wire.reset()
            return False
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
            # In one segment with its answer: what comes later cannot be told from the next one.
            surplus = STRAY if kind == "surplus" and len(body) < 4000 else b""
            await wire.send(head + b"Content-Length: %d\r\n\r\n" % len(body) + body + surplus)
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
    """Use one connection: a few requests, perhaps pipelined, perhaps left in some phase."""
    requests = []
    for number in range(rng.randint(1, 6)):
        identity = f"{rng.choice('ab')}-{name}-{number}".encode()
        requests.append((identity, *request_of(identity, rng)))
    pipelined, leaves = rng.random() < 0.4, rng.random() < 0.25
    async with await proxy.connect() as client:
        if pipelined:
            tally.asked += len(requests)
            await client.send(b"".join(data for _, _, data in requests))
        for identity, method, data in requests:
            if leaves and rng.random() < 0.4:
                await leave(client, b"" if pipelined else data, rng)
                tally.aborted += 1
                return
            if not pipelined:
                tally.asked += 1
                await client.send(data)
            await read_answer(client, method, identity, tally)


async def leave(client: Wire, data: bytes, rng: random.Random) -> None:
    """Send some of `data`, perhaps all; wait a little, read a little; then close or reset."""
    await client.send(data[: rng.choice((rng.randint(0, len(data)), len(data)))])
    for _ in range(rng.randrange(8)):
        await asyncio.sleep(0)
    if data and rng.random() < 0.3:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.01):
                await client.reader.read(50)
    if rng.random() < 0.5:
        client.reset()


async def client_of(proxy: Rig, number: int, seed: int, tally: Tally) -> None:
    """Play ROUNDS connections."""
    rng = random.Random(seed + number)
    for turn in range(ROUNDS):
        try:
            await one_round(proxy, f"{number}-{turn}", rng, tally)
        except BROKEN:
            tally.failed += 1


@pytest.mark.parametrize("seed", [20240229, 7, 4711])
async def test_no_request_gets_anothers_response(tmp_path: Path, seed: int) -> None:
    tally = Tally()
    rng = random.Random(seed)
    async with (
        Upstream(Server(b"a", tally, rng)) as first,
        Upstream(Server(b"b", tally, rng)) as second,
        rig(tmp_path, first.target, ProxyLimits(upstream_idle=0.05)) as proxy,
    ):
        other = RouteEntry("/b", second.target, activity=Activity())
        proxy.gate.rule = lambda head, client: Relay(
            other if head.target.startswith(b"/b-") else proxy.entry
        )
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*(client_of(proxy, n, seed, tally) for n in range(CLIENTS)))
        entries = (proxy.entry, other)
        await until(lambda: not any(activity_of(entry).requests for entry in entries))
        await until(lambda: len(proxy.observer.outcomes) == proxy.observer.started)
        accepted = first.accepted + second.accepted
    assert tally.mixups == []
    assert tally.asked > 3000
    assert tally.answered > 1500
    assert tally.aborted > 100
    assert tally.upstream_saw > accepted, "no connection was ever used again"
