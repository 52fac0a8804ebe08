"""A connection that carries many requests treats each as a fresh connection would.

What is remembered of heads may save time, and nothing else: not the decision, a secret, a user,
a cookie or a framing of an earlier request may show in a later one.
"""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.proxy.interface import Client, Decision, Local, Refuse, Relay, RouteEntry
from gateway.proxy.messages import RequestHead
from routes.keys import Target
from tests.proxy.harness import rig
from tests.proxy.upstreams import Upstream, pages_app
from tests.proxy.wire import Message, Wire

EVERY_LOOP = True

METHODS = (b"GET", b"GET", b"HEAD", b"POST", b"DELETE", b"OPTIONS")
TARGETS = (
    b"/plain/a",
    b"/plain/a?token=x",
    b"/nb/a",
    b"/nb/a?token=x&b=c",
    b"/nb/%2F?b",
    b"/other/a?token=x",
    b"/based/a",
    b"/refused",
    b"/pages/a?b",
    b"http://h/nb/a?token=x",
)
BLOCKS = (
    b"Host: h\r\n",
    b"Host: h\r\n\t"[:-1],
    b"Host: i:81\r\n",
    b"hOST:h\r\n",
    b"Host: h\r\nCookie: nbgate-session=alice; a=b\r\n",
    b"Host: h\r\nCookie: nbgate-session=bob; a=b\r\n",
    b"Host: h\r\nCookie: a=b\r\nCookie: nbgate-session=bob\r\n",
    b"Host: h\r\nAuthorization: token stolen\r\nX-Nbgate-User: root\r\n",
    b"Host: h\r\nConnection: X-A, keep-alive\r\nX-A: 1\r\n",
    b"Host: h\r\nX-A: 1\r\n",
    b"Host: h\r\nX-A: 1\r\nX-A: 2\r\n",
    b"Host: h\r\nX-Forwarded-For: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\n",
    b"Host: h\r\nX-Request-ID: told\r\n",
    b"Host: h\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n",
    b"Host: h\r\nExpect: 100-continue\r\n",
    b"Host: h\r\nTE: trailers\r\nKeep-Alive: timeout=5\r\n",
    b"Host: h\r\nAccept: text/html\r\n",
    b"Host: h\r\nX: " + b"x" * 9000 + b"\r\n",
)
BODIES = (
    b"\r\n",
    b"\r\n",
    b"\r\n",
    b"Content-Length: 0\r\n\r\n",
    b"Content-Length: 4\r\n\r\nbody",
    b"Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\nX-Trailer: 1\r\n\r\n",
)
ANSWERS = (
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.1 404 Not Found\r\nX-B: 1\r\n",
    b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nX-B: 1\r\n",
    b"HTTP/1.1 200 OK\r\nConnection: X-B\r\nX-B: 1\r\n",
    b"HTTP/1.1 200 OK\r\nSet-Cookie: nbgate-session=evil\r\nSet-Cookie: a=b\r\n",
    b"HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: *\r\nSet-Cookie: username-h=x\r\n",
    b"HTTP/1.1 200 OK\r\nX-Request-ID: theirs\r\nserver: s\r\n",
    b"HTTP/1.1 304 Not Modified\r\nETag: x\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Security-Policy: frame-ancestors 'none'; img-src *\r\nX-B: 1\r\n",
    b"HTTP/1.1 200 OK\r\nX-Frame-Options: DENY\r\n",
)


async def mirror(wire: Wire) -> None:
    """Tell in the head what came, and answer in the way that X-Want-… of the path asks for."""
    while True:
        message = await wire.request()
        lines = [b"%b: %b" % field for field in message.headers if field[0] != b"X-Request-ID"]
        told = b"X-Request-ID: told" if message.one(b"x-request-id") == b"told" else b"-"
        saw = b"|".join(
            [message.start, *lines, told, message.body, repr(message.trailers).encode()]
        )
        head = ANSWERS[int(message.one(b"x-want") or 0)]
        bodyless = message.start.startswith(b"HEAD") or head.startswith(b"HTTP/1.1 304")
        body = b"" if bodyless else saw
        await wire.send(
            b"%bX-Saw: %b\r\nContent-Length: %d\r\n\r\n%b"
            % (head, saw.hex().encode(), len(saw), body)
        )


class Table:
    """A gate over a few routes; the notebooks' servers change, and with them their secrets."""

    def __init__(self, target: Target) -> None:
        self.plain = RouteEntry("/plain", target)
        self.based = RouteEntry("/based", replace(target, path="/base%2F"))
        self.notebook = RouteEntry("/nb", target, "nb", secret="one", owner="alice", project="p")
        self.other = RouteEntry(
            "/other", target, "other", "two", owner="bob", project="p", ancestors="'self' https://l"
        )
        self._relays: dict[tuple[int, str | None], Relay] = {}

    def change(self, number: int) -> None:
        """Give the notebook another server with another secret."""
        self.notebook = replace(self.notebook, secret=f"secret-{number}", generation=number)

    def decide(self, head: RequestHead, client: Client) -> Decision:
        """Decide by path and cookie, as the gate does; equal decisions are the same object."""
        path = head.target
        cookie = b";".join(value for name, value in head.headers if name.lower() == b"cookie")
        user = next((who for who in ("alice", "bob") if b"=%b" % who.encode() in cookie), None)
        if path.startswith(b"/refused"):
            return Refuse(403, "no", "no")
        if path.startswith(b"/pages"):
            return Local("login", "nb")
        if path.startswith(b"/plain"):
            return self._relay(self.plain, None)
        if path.startswith(b"/based"):
            return self._relay(self.based, None)
        return self._relay(self.other if path.startswith(b"/other") else self.notebook, user)

    def _relay(self, entry: RouteEntry, user: str | None) -> Relay:
        known = self._relays.get((id(entry), user))
        if known is None or known.entry is not entry:
            name = "Bob B." if user == "bob" else ""
            known = self._relays[id(entry), user] = Relay(entry, user, user_name=name)
        return known


def random_request(rng: random.Random, blocks: list[bytes]) -> tuple[str, bytes]:
    """Return (method, bytes) of a request."""
    method, target = rng.choice(METHODS), rng.choice(TARGETS)
    block = rng.choice(blocks)
    if target.startswith(b"http:") and b"i:81" in block:
        target = b"/nb/a"
    version = b"HTTP/1.1" if rng.random() < 0.9 else b"HTTP/1.0"
    # The pages' server tells trailers as headers, or not, by how the segments fall.
    bodies = BODIES[:-1] if target.startswith(b"/pages") else BODIES
    body = rng.choice(bodies) if version == b"HTTP/1.1" else b"Connection: keep-alive\r\n\r\n"
    want = b"X-Want: %d\r\n" % rng.choice((0, 0, rng.randrange(len(ANSWERS))))
    head = b"%b %b %b\r\n" % (method, target, version)
    return method.decode(), head + block + want + body


def comparable(message: Message) -> tuple[object, ...]:
    """Return all of an answer but the ids and dates that differ by right."""
    varying = (b"x-request-id", b"date")
    fields = [field for field in message.headers if field[0].lower() not in varying]
    ids = [value for value in message.all(b"x-request-id") if value == b"told"]
    body = b"" if b"/pages" in message.body else message.body
    return message.start, fields, ids, body


async def asked(client: Wire, method: str, data: bytes) -> Message:
    """Send one request, and return the final answer."""
    await client.send(data)
    answer = await client.response(method)
    while answer.status < 200:
        answer = await client.response(method)
    return answer


@pytest.mark.parametrize("seed", range(6))
async def test_request_is_treated_as_on_a_fresh_connection(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    blocks = rng.sample(BLOCKS, 5)
    async with (
        Upstream(mirror) as server,
        pages_app(tmp_path / "pages.sock"),
        rig(tmp_path, server.target) as proxy,
    ):
        table = Table(server.target)
        proxy.gate.rule = table.decide
        used: Wire | None = None
        for number in range(120):
            if rng.random() < 0.1:
                table.change(number)
            method, data = random_request(rng, blocks)
            fresh = await proxy.connect()
            expected = await asked(fresh, method, data)
            await fresh.close()
            used = used or await proxy.connect()
            found = await asked(used, method, data)
            assert comparable(found) == comparable(expected), (
                f"seed {seed}, request {number}: {data!r}"
            )
            if found.one(b"connection") == b"close":
                used = None
