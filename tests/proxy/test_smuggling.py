"""Request smuggling: what is forwarded is read by every upstream as what was meant.

Crafted messages go in, whole and cut at the worst places; a recording upstream keeps the bytes
that come out. Readers that know nothing of the data path take them apart again.
"""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import AsyncIterator, Callable, Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gateway.proxy.interface import Client, Decision, Local, Relay
from gateway.proxy.messages import RequestHead
from tests.proxy.harness import Rig, rig
from tests.proxy.readers import READERS, Request, Unreadable, strictly
from tests.proxy.smuggling_accepted import ACCEPTED, Accepted
from tests.proxy.smuggling_refused import BROKEN_CHUNKS, REFUSED
from tests.proxy.smuggling_words import CHUNKED, POST, SMUGGLED, asked
from tests.proxy.upstreams import UnixUpstream, Upstream
from tests.proxy.wire import Wire, until
from tests.support.waiting import PATIENCE

EVERY_LOOP = True

CANARY = asked(b"GET /canary")
SHORT = 1500
HOP_BY_HOP = {
    b"connection",
    b"proxy-connection",
    b"keep-alive",
    b"te",
    b"upgrade",
    b"proxy-authenticate",
    b"proxy-authorization",
    b"http2-settings",
    b"transfer_encoding",
}
CUTS = ["whole", "at line ends", "single bytes"]
SECRET = "s3cret"
# How a request is forwarded, and the lines in our name that its upstream gets then.
WAYS: dict[str, dict[bytes, list[bytes]]] = {
    "plain": {},
    "notebook": {b"x-nbgate-user": [b"alice"]},
    "pages": {
        b"x-nbgate-client": [b"127.0.0.1"],
        b"x-nbgate-scheme": [b"http"],
        b"x-nbgate-reason": [b"login"],
        b"x-nbgate-slug": [b"demo"],
    },
}


def cut(data: bytes, how: str) -> list[bytes]:
    """Return `data` in pieces; in single bytes only as far as it is short."""
    if how == "whole":
        return [data]
    if how == "single bytes" and len(data) <= SHORT:
        return [bytes([byte]) for byte in data]
    # Each CR and each LF begins a piece: no line end ever comes at once.
    pieces = re.findall(rb"[\r\n]?[^\r\n]*", data)[:-1]
    return [*pieces[:SHORT], b"".join(pieces[SHORT:])]


@dataclass
class Stream:
    """What came on one upstream connection, and how many requests in it were answered."""

    data: bytearray = field(default_factory=bytearray)
    answered: int = 0


class Recording:
    """An upstream that keeps what comes on each connection, and answers with the target."""

    def __init__(self) -> None:
        self.streams: list[Stream] = []
        self.answered = 0

    async def __call__(self, wire: Wire) -> None:
        stream = Stream()
        self.streams.append(stream)
        while data := await wire.reader.read(65536):
            stream.data += data
            complete = [one for one in strictly(bytes(stream.data)) if one.complete]
            due, stream.answered = complete[stream.answered :], len(complete)
            for request in due:
                body = b"" if request.method == b"HEAD" else request.target
                head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"
                self.answered += 1
                await wire.send(head % len(body) + body)

    @property
    def received(self) -> int:
        """How many bytes came since the last call of `taken`."""
        return sum(len(stream.data) for stream in self.streams)

    def taken(self) -> list[bytes]:
        """Return what came since the last call, by connection."""
        taken = [bytes(stream.data) for stream in self.streams if stream.data]
        for stream in self.streams:
            stream.data, stream.answered = bytearray(), 0
        return taken


class Pages(UnixUpstream):
    """What listens where the gateway's own application does."""

    def __init__(self, folder: Path, recording: Recording) -> None:
        Upstream.__init__(self, recording)
        self.path = folder / "pages.sock"


@pytest.fixture
def recording() -> Recording:
    """What the upstream of `watched` has seen."""
    return Recording()


@pytest.fixture
def way() -> str:
    """The way in WAYS that `watched` forwards; tests take others as a parameter."""
    return "plain"


@pytest.fixture
async def watched(tmp_path: Path, recording: Recording, way: str) -> AsyncIterator[Rig]:
    """A data path towards `recording`."""
    server = Pages(tmp_path, recording) if way == "pages" else Upstream(recording)
    async with server, rig(tmp_path, server.target) as made:
        made.gate.rule = decides(made, way)
        yield made


def decides(made: Rig, way: str) -> Callable[[RequestHead, Client], Decision]:
    """Return a gate's rule that lets every request go this way."""
    entry = made.notebook(secret=SECRET) if way == "notebook" else made.entry
    decision: Decision = Relay(entry, user="alice") if way == "notebook" else Relay(entry)
    if way == "pages":
        decision = Local("login", "demo")
    return lambda head, client: decision


async def send_cut(client: Wire, data: bytes, how: str) -> None:
    """Send `data` so that its pieces arrive apart; stop when the peer is gone."""
    try:
        for piece in cut(data, how):
            if client.writer.is_closing():
                return
            await client.send(piece)
            for _ in range(3):  # turns of the loop: the piece is read before the next one comes
                await asyncio.sleep(0)
    except ConnectionError:
        return


def read_alike(stream: bytes, refusals: Collection[str] = ()) -> list[Request]:
    """Return the requests in what one upstream connection got.

    Args:
        stream: its bytes.
        refusals: readers that may refuse; they may never read anything else.
    """
    meant = strictly(stream)
    complete = [request.gist for request in meant if request.complete]
    for name, reader in READERS.items():
        try:
            found = [request.gist for request in reader(stream) if request.complete]
        except Unreadable:
            assert name in refusals, f"refused by {name}: {stream!r}"
        else:
            assert found == complete, f"read otherwise by {name}: {stream!r}"
    return meant


def check_forwarded(requests: Iterable[Request], way: str) -> None:
    """Assert what holds for every head that is forwarded this way without an upgrade."""
    for request in requests:
        names = [name for name, _ in request.headers]
        assert not HOP_BY_HOP & set(names), names
        assert names.count(b"host") == 1
        assert names.count(b"content-length") + names.count(b"transfer-encoding") <= 1
        assert names.count(b"x-forwarded-for") == names.count(b"x-request-id") == 1
        ours = {name for name in names if name.replace(b"_", b"-").startswith(b"x-nbgate")}
        told = {name: request.all(name) for name in ours}
        if way == "pages":
            host = told.pop(b"x-nbgate-host")
            assert host == request.all(b"host") or host == [b""]  # HTTP/1.0 may tell none
        assert told == WAYS[way]
        token = [b"token " + SECRET.encode()] if way == "notebook" else []
        assert request.all(b"authorization") == token


@pytest.mark.parametrize("how", CUTS)
@pytest.mark.parametrize("name", REFUSED)
async def test_ambiguous_or_malformed_head_is_refused(
    watched: Rig, recording: Recording, name: str, how: str
) -> None:
    status, data = REFUSED[name]
    async with await watched.connect() as client:
        # What follows would be a smuggled request if the head were believed.
        await send_cut(client, data + SMUGGLED, how)
        answer = await client.response()
        assert answer.status == status
        assert answer.one(b"connection") == b"close"
        assert answer.one(b"content-type") == b"application/problem+json"
        assert await client.gone()
    assert recording.streams == []
    assert watched.gate.seen == []


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("how", CUTS)
@pytest.mark.parametrize("name", BROKEN_CHUNKS)
async def test_broken_chunks_are_400_and_never_a_complete_request(
    watched: Rig, recording: Recording, name: str, how: str
) -> None:
    async with await watched.connect() as client:
        await send_cut(client, CHUNKED + BROKEN_CHUNKS[name], how)
        answer = await client.response()
        assert (answer.status, answer.one(b"connection")) == (400, b"close")
        await send_cut(client, SMUGGLED, how)
        assert await client.gone()
    assert len(watched.gate.seen) == 1
    assert recording.answered == 0
    for stream in recording.taken():
        for reader in (strictly, *READERS.values()):
            assert not [request for request in reader(stream) if request.complete]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("how", CUTS)
@pytest.mark.parametrize("name", ACCEPTED)
async def test_upstream_reads_what_was_meant(
    watched: Rig, recording: Recording, way: str, name: str, how: str
) -> None:
    case = ACCEPTED[name]
    async with await watched.connect() as client:
        # It reads while it sends: what is sent behind a `close` may meet a reset.
        await asyncio.gather(read_answers(client, case), send_cut(client, case.data, how))
        await check_end(client, case.then)
    requests = [
        request for stream in recording.taken() for request in read_alike(stream, case.refusals)
    ]
    canary = [] if case.then is not None else [(b"GET", b"/canary", b"")]
    assert [request.gist for request in requests] == [*case.requests, *canary]
    assert all(request.complete for request in requests)
    assert len(watched.gate.seen) == len(requests)
    check_forwarded(requests, way)


async def read_answers(client: Wire, case: Accepted) -> None:
    """Assert that each request is answered, with what belongs to it."""
    for method, target, _ in case.requests:
        answer = await client.response(method.decode())
        assert answer.status == 200
        assert answer.body == (b"" if method == b"HEAD" else target)


async def check_end(client: Wire, then: int | None) -> None:
    """Assert how the connection goes on behind the answers."""
    if then is None:
        await client.send(CANARY)
        assert (await client.response()).body == b"/canary"
        return
    if then:
        refusal = await client.response()
        assert (refusal.status, refusal.one(b"connection")) == (then, b"close")
    assert await client.gone()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("how", CUTS)
@pytest.mark.parametrize(
    "data",
    [
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 200\r\n\r\n" + SMUGGLED,
        CHUNKED + b"c8\r\n" + SMUGGLED,
        CHUNKED + b"5\r\nhello\r\n0\r\nX: " + SMUGGLED[:-4],
    ],
)
async def test_request_that_its_client_leaves_is_never_complete(
    watched: Rig, recording: Recording, data: bytes, how: str
) -> None:
    async with await watched.connect() as client:
        await send_cut(client, data, how)
        await until(lambda: recording.received > 0)
    await until(lambda: watched.observer.outcomes == ["aborted"])
    async with await watched.connect() as other:
        await other.send(CANARY)
        assert (await other.response()).body == b"/canary"
    left, following = recording.taken()
    for reader in (strictly, *READERS.values()):
        assert [request.complete for request in reader(left)] == [False]
    assert [request.target for request in strictly(following)] == [b"/canary"]


@pytest.mark.parametrize(
    "stream",
    [
        POST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        CHUNKED + b"1\nx\n0\n\n",
        b"GET / HTTP/1.1\nHost: h\n\n" + SMUGGLED,
        b"GET / HTTP/1.1\r\nHost: h\r\nX : y\r\n\r\n",
        CHUNKED + b"5\r\nhelloX\r\n0\r\n\r\n",
    ],
)
def test_readers_would_notice(stream: bytes) -> None:
    with pytest.raises((AssertionError, Unreadable)):
        read_alike(stream)


NOTEBOOK_LIES = (
    b"Connection: X-Nbgate-User, Authorization, Cookie, Host\r\nX-Nbgate-User: root\r\n"
    b"x-nbgate-user: root\r\nX_Nbgate_User: root\r\nAuthorization: token stolen\r\n"
    b"Cookie: a=b; nbgate-session=1\r\n"
)


@pytest.mark.parametrize("how", CUTS)
async def test_connection_cannot_name_our_word_away(
    watched: Rig, recording: Recording, how: str
) -> None:
    entry = watched.notebook(secret="s3cret")
    watched.gate.rule = lambda head, client: Relay(entry, user="alice")
    async with await watched.connect() as client:
        await send_cut(client, b"GET / HTTP/1.1\r\nHost: h\r\n" + NOTEBOOK_LIES + b"\r\n", how)
        assert (await client.response()).status == 200
    (request,) = read_alike(recording.taken()[0])
    assert request.all(b"x-nbgate-user") == [b"alice"]
    assert request.all(b"x_nbgate_user") == []
    assert request.all(b"authorization") == [b"token s3cret"]
    assert request.all(b"cookie") == [b"a=b"]
    assert request.all(b"host") == [b"h"]


def corpus() -> list[bytes]:
    """Return the crafted messages that are short; the legal ones more often."""
    known = [
        *(data for _, data in REFUSED.values()),
        *(CHUNKED + data for data in BROKEN_CHUNKS.values()),
        *(case.data for case in ACCEPTED.values() for _ in range(8)),
    ]
    return [data for data in known if len(data) <= SHORT]


def mutated(rng: random.Random, known: list[bytes]) -> bytes:
    """Return one or two crafted messages with a few bytes or lines changed."""
    data = bytearray(b"".join(rng.choices(known, k=rng.choice((1, 1, 2)))))
    for _ in range(rng.randint(0, 4)):
        place = rng.randrange(len(data))
        kind = rng.randrange(5)
        if kind == 0:
            data[place : place + 1] = b""
        elif kind == 1:
            data[place:place] = rng.choice(
                (b"\r", b"\n", b"\r\n", b"\0", b" ", b"\t", b":", b",", b"5")
            )
        elif kind == 2:
            data[place] = rng.randrange(256)
        elif kind == 3:
            lines = bytes(data).split(b"\r\n")
            lines.insert(rng.randrange(len(lines)), rng.choice(lines))
            data[:] = b"\r\n".join(lines)
        else:
            other = rng.choice(known)
            data[place:] = other[rng.randrange(len(other)) :]
        data = data or bytearray(b"G")
    return bytes(data)


async def settled(watched: Rig, recording: Recording) -> None:
    """Wait until nothing moves between client, data path and upstream."""
    quiet, before = 0, (-1, -1, -1)
    async with asyncio.timeout(PATIENCE):
        while quiet < 25:
            await asyncio.sleep(0)
            now = (
                len(watched.gate.seen),
                recording.answered,
                recording.received,
            )
            quiet, before = (quiet + 1, before) if now == before else (0, now)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("seed", range(4))
async def test_mutated_messages_are_read_in_one_way(
    watched: Rig, recording: Recording, seed: int
) -> None:
    rng, known = random.Random(seed), corpus()
    forwarded = refused = 0
    for number in range(500):
        data = mutated(rng, known)
        async with await watched.connect() as client:
            await send_cut(client, data, rng.choice(("whole", "at line ends")))
            await settled(watched, recording)
        asked = [head.target for head, _ in watched.gate.seen]
        watched.gate.seen.clear()
        try:
            requests = [
                request for stream in recording.taken() for request in read_alike(stream, READERS)
            ]
            assert [request.target for request in requests] == asked[: len(requests)]
        except (AssertionError, Unreadable) as error:
            raise AssertionError(f"seed {seed}, message {number}: {data!r}") from error
        forwarded += len(requests)
        refused += not asked
        await until(lambda: watched.observer.started == len(watched.observer.outcomes))
    assert forwarded > 200
    assert refused > 100
