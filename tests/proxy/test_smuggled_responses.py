"""Response smuggling: an upstream's answer is one answer, or none; it never answers another.

A student's own server is the upstream. It may lie in its head, send more or less than it said,
and answer what nobody asked. What reaches the client is read by h11.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

import h11
import pytest

from tests.proxy.harness import Rig, rig
from tests.proxy.test_smuggling import CUTS, send_cut
from tests.proxy.upstreams import Upstream
from tests.proxy.wire import Wire, until
from tests.support.waiting import PATIENCE

EVERY_LOOP = True

OK = b"HTTP/1.1 200 OK\r\n"
EVIL = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
HONEST = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhonest"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
SECOND = b"GET /second HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"

# Nothing of these may reach the client.
NO_ANSWERS = {
    "length and chunked": OK + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked and length": OK + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
    "two lengths": OK + b"Content-Length: 4\r\nContent-Length: 0\r\n\r\nevil",
    "the same length twice": OK + b"Content-Length: 4\r\nContent-Length: 4\r\n\r\nevil",
    "length list": OK + b"Content-Length: 4, 4\r\n\r\nevil",
    "length with sign": OK + b"Content-Length: +4\r\n\r\nevil",
    "negative length": OK + b"Content-Length: -1\r\n\r\n",
    "hexadecimal length": OK + b"Content-Length: 0x4\r\n\r\nevil",
    "empty length": OK + b"Content-Length:\r\n\r\n",
    "huge length": OK + b"Content-Length: 18446744073709551620\r\n\r\nevil",
    "bad length of a 304": b"HTTP/1.1 304 Not Modified\r\nContent-Length: x\r\n\r\n",
    "chunked in HTTP/1.0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "unknown coding": OK + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "identity": OK + b"Transfer-Encoding: identity\r\n\r\nevil",
    "gzip, chunked": OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunked twice": OK + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "coding with trailing comma": OK + b"Transfer-Encoding: chunked,\r\n\r\n0\r\n\r\n",
    "coding with leading comma": OK + b"Transfer-Encoding: , chunked\r\n\r\n0\r\n\r\n",
    "vertical tab before coding": OK + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "folded coding": OK + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "obs-fold": OK + b"X: a\r\n b\r\nContent-Length: 0\r\n\r\n",
    "space before colon": OK + b"Content-Length : 4\r\n\r\nevil",
    "space before name": OK + b" Content-Length: 4\r\n\r\nevil",
    "no colon": OK + b"Content-Length 4\r\n\r\nevil",
    "empty name": OK + b": 4\r\nContent-Length: 0\r\n\r\n",
    "bare LF line ends": b"HTTP/1.1 200 OK\nContent-Length: 4\n\nevil",
    "bare LF in value": OK + b"X: a\nSet-Cookie: evil=1\r\nContent-Length: 0\r\n\r\n",
    "bare CR in value": OK + b"X: a\rSet-Cookie: evil=1\r\nContent-Length: 0\r\n\r\n",
    "bare CR in the reason": b"HTTP/1.1 200 O\rK\r\nContent-Length: 0\r\n\r\n",
    "NUL in value": OK + b"X: a\0b\r\nContent-Length: 0\r\n\r\n",
    "NUL in the reason": b"HTTP/1.1 200 O\0K\r\nContent-Length: 0\r\n\r\n",
    "switch that nobody asked for": b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\n\r\n",
    "body of an interim answer": b"HTTP/1.1 103 Hi\r\nContent-Length: 4\r\n\r\nevil" + EVIL,
    "head too large": OK + b"X: %b\r\n\r\n" % (b"a" * 300_000),
    "too many headers": OK + b"X: a\r\n" * 10_000 + b"\r\n",
    "empty line before": b"\r\n" + EVIL,
    "status of four digits": b"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n",
    "status of two digits": b"HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n",
    "status with sign": b"HTTP/1.1 +20 OK\r\nContent-Length: 0\r\n\r\n",
    "status out of range": b"HTTP/1.1 600 OK\r\nContent-Length: 0\r\n\r\n",
    "two spaces": b"HTTP/1.1  200 OK\r\nContent-Length: 0\r\n\r\n",
    "lower-case version": b"http/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "HTTP/2": b"HTTP/2 200\r\nContent-Length: 0\r\n\r\n",
    "HTTP/0.9": b"<html>evil</html>\r\n\r\n",
}

# Their heads pass before the fault shows: the client must see that the body is cut off.
CUT_OFF = {
    "length cut short": OK + b"Content-Length: 40\r\n\r\nhalf",
    "chunk cut short": CHUNKED + b"40\r\nhalf",
    "chunks without an end": CHUNKED + b"4\r\nhalf\r\n",
    "last chunk without an end": CHUNKED + b"4\r\nhalf\r\n0\r\n",
    "trailers without an end": CHUNKED + b"4\r\nhalf\r\n0\r\nX: a\r\n",
    "size not hexadecimal": CHUNKED + b"4\r\nhalf\r\nxyz\r\n\r\n" + EVIL,
    "negative size": CHUNKED + b"4\r\nhalf\r\n-1\r\n\r\n" + EVIL,
    "empty size": CHUNKED + b"4\r\nhalf\r\n\r\n" + EVIL,
    "size that overflows": CHUNKED + b"4\r\nhalf\r\n10000000000000000\r\n\r\n" + EVIL,
    "bare LF after size": CHUNKED + b"4\r\nhalf\r\n0\n\n" + EVIL,
    "bare LF in extension": CHUNKED + b"4;a\nb\r\nhalf\r\n0\r\n\r\n",
    "chunk longer than its size": CHUNKED + b"4\r\nhalf!\r\n0\r\n\r\n",
    "bare LF after chunk": CHUNKED + b"4\r\nhalf\n0\r\n\r\n",
    "fold in trailer": CHUNKED + b"4\r\nhalf\r\n0\r\nX: a\r\n b\r\n\r\n",
    "answer as trailers": CHUNKED + b"4\r\nhalf\r\n0\r\n" + EVIL,
}


@dataclass(frozen=True)
class Passing:
    """An answer that the client gets.

    Attributes:
        data: what the upstream sends.
        status: what the client is told.
        body: what the client reads.
        method: of the request.
        surplus: whether more comes than belongs to the answer. It comes at once then: what comes
            later than the next request cannot be told from that one's answer.
        ends: whether the upstream closes behind it.
    """

    data: bytes
    status: int = 200
    body: bytes = b""
    method: str = "GET"
    surplus: bool = False
    ends: bool = False


NO_CONTENT = b"HTTP/1.1 204 No Content\r\n"
NOT_MODIFIED = b"HTTP/1.1 304 Not Modified\r\n"
PASSING = {
    "surplus behind a length": Passing(
        OK + b"Content-Length: 2\r\n\r\nok, and more", body=b"ok", surplus=True
    ),
    "answer behind a length": Passing(
        OK + b"Content-Length: 2\r\n\r\nok" + EVIL, body=b"ok", surplus=True
    ),
    "answer behind length zero": Passing(OK + b"Content-Length: 0\r\n\r\n" + EVIL, surplus=True),
    "answer behind chunks": Passing(
        CHUNKED + b"2\r\nok\r\n0\r\n\r\n" + EVIL, body=b"ok", surplus=True
    ),
    "answer behind trailers": Passing(
        CHUNKED + b"2\r\nok\r\n0\r\nX: a\r\n\r\n" + EVIL, body=b"ok", surplus=True
    ),
    "empty line behind a length": Passing(
        OK + b"Content-Length: 2\r\n\r\nok\r\n", body=b"ok", surplus=True
    ),
    "length of a 204": Passing(NO_CONTENT + b"Content-Length: 4\r\n\r\n", 204),
    "body of a 204": Passing(NO_CONTENT + b"Content-Length: 4\r\n\r\nevil", 204, surplus=True),
    "chunks of a 204": Passing(
        NO_CONTENT + b"Transfer-Encoding: chunked\r\n\r\n4\r\nevil\r\n0\r\n\r\n", 204, surplus=True
    ),
    "answer behind a 204": Passing(NO_CONTENT + b"\r\n" + EVIL, 204, surplus=True),
    "length of a 304": Passing(NOT_MODIFIED + b"Content-Length: 4\r\n\r\n", 304),
    "body of a 304": Passing(NOT_MODIFIED + b"Content-Length: 4\r\n\r\nevil", 304, surplus=True),
    "chunked 304": Passing(NOT_MODIFIED + b"Transfer-Encoding: chunked\r\n\r\n", 304),
    "answer behind a 304": Passing(NOT_MODIFIED + b"\r\n" + EVIL, 304, surplus=True),
    "length of an answer to HEAD": Passing(OK + b"Content-Length: 4\r\n\r\n", method="HEAD"),
    "body of an answer to HEAD": Passing(EVIL, method="HEAD", surplus=True),
    "chunks of an answer to HEAD": Passing(
        CHUNKED + b"4\r\nevil\r\n0\r\n\r\n", method="HEAD", surplus=True
    ),
    "flood of interim answers": Passing(
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 400
        + OK
        + b"Content-Length: 2\r\n\r\nok",
        body=b"ok",
    ),
    "continue that nobody asked for": Passing(
        b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"Content-Length: 2\r\n\r\nok", body=b"ok"
    ),
    "interim answer with framing": Passing(
        b"HTTP/1.1 103 Hi\r\nContent-Length: 9\r\n\r\n" + OK + b"Content-Length: 2\r\n\r\nok",
        body=b"ok",
    ),
    "answer in a body": Passing(
        OK + b"Content-Length: %d\r\n\r\n%b" % (len(EVIL), EVIL), body=EVIL
    ),
    "answer in a chunk": Passing(CHUNKED + b"%x\r\n%b\r\n0\r\n\r\n" % (len(EVIL), EVIL), body=EVIL),
    "answer in a body until the end": Passing(OK + b"\r\n" + EVIL, body=EVIL, ends=True),
    "end of chunks in a body until the end": Passing(
        OK + b"\r\n0\r\n\r\n" + EVIL, body=b"0\r\n\r\n" + EVIL, ends=True
    ),
    "Connection names the length": Passing(
        OK + b"Connection: Content-Length\r\nContent-Length: 2\r\n\r\nok", body=b"ok"
    ),
    "Connection names the coding": Passing(
        OK + b"Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"2\r\nok\r\n0\r\n\r\n",
        body=b"ok",
    ),
    "names that look like framing": Passing(
        OK + b"X-Content-Length: 9\r\nContent_Length: 9\r\nContent-Length: 2\r\n\r\nok", body=b"ok"
    ),
    "framing in trailers": Passing(
        CHUNKED + b"2\r\nok\r\n0\r\nContent-Length: 9\r\nTransfer-Encoding: x\r\n"
        b"Set-Cookie: evil=1\r\n\r\n",
        body=b"ok",
    ),
    "other HTTP/1 version": Passing(b"HTTP/1.7 200 OK\r\nContent-Length: 2\r\n\r\nok", body=b"ok"),
    "length with zeros": Passing(OK + b"Content-Length: 002\r\n\r\nok", body=b"ok"),
    "coding in capitals": Passing(
        OK + b"TRANSFER-ENCODING: CHUNKED\r\n\r\n2\r\nok\r\n0\r\n\r\n", body=b"ok"
    ),
}


class Liar:
    """An upstream that answers the first request as told, and every other one honestly."""

    def __init__(self, answer: bytes, how: str, *, ends: bool) -> None:
        self._answer, self._how, self._ends = answer, how, ends
        self.targets: list[bytes] = []

    async def __call__(self, wire: Wire) -> None:
        while True:
            self.targets.append((await wire.request()).target)
            if len(self.targets) > 1:
                await wire.send(HONEST)
                continue
            await send_cut(wire, self._answer, self._how)
            if self._ends:
                return


@dataclass
class Answer:
    """An answer as h11 reads it."""

    status: int
    body: bytes = b""
    complete: bool = False


def answers_in(stream: bytes, methods: list[str]) -> list[Answer]:
    """Return the final answers in what a client got, and closed."""
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=2**20)
    connection.receive_data(stream)
    connection.receive_data(b"")
    found: list[Answer] = []
    for method in methods:
        connection.send(h11.Request(method=method, target="/", headers=[("Host", "h")]))
        connection.send(h11.EndOfMessage())
        try:
            while not isinstance(event := connection.next_event(), h11.EndOfMessage):
                if isinstance(event, h11.Response):
                    found.append(Answer(event.status_code))
                elif isinstance(event, h11.Data):
                    found[-1].body += bytes(event.data)
                elif not isinstance(event, h11.InformationalResponse):
                    return found
        except h11.RemoteProtocolError:
            return found
        found[-1].complete = True
        if connection.states != {h11.CLIENT: h11.DONE, h11.SERVER: h11.DONE}:
            assert method == methods[-1] or connection.trailing_data[0] == b""
            return found
        connection.start_next_cycle()
    return found


async def all_of(client: Wire) -> bytes:
    """Read until the peer closes, or resets."""
    received = b""
    try:
        async with asyncio.timeout(PATIENCE):
            while data := await client.reader.read(65536):
                received += data
    except ConnectionError:
        pass
    return received


async def both_asked(folder: Path, liar: Liar, method: str = "GET") -> tuple[list[Answer], bytes]:
    """Ask for two things at once; return what came back."""
    async with (
        Upstream(liar) as server,
        rig(folder, server.target) as proxy,
        await proxy.connect() as client,
    ):
        await client.send(b"%b /first HTTP/1.1\r\nHost: h\r\n\r\n" % method.encode() + SECOND)
        stream = await all_of(client)
    return answers_in(stream, [method, "GET"]), stream


@pytest.mark.parametrize("how", CUTS)
@pytest.mark.parametrize("name", NO_ANSWERS)
async def test_nothing_of_an_ambiguous_answer_passes(tmp_path: Path, name: str, how: str) -> None:
    liar = Liar(NO_ANSWERS[name], how, ends=False)
    found, stream = await both_asked(tmp_path, liar)
    assert [(answer.status, answer.complete) for answer in found] == [(502, True), (200, True)]
    assert found[1].body == b"honest"
    assert b"evil" not in stream
    assert liar.targets == [b"/first", b"/second"]


@pytest.mark.parametrize("how", CUTS)
@pytest.mark.parametrize("name", CUT_OFF)
async def test_broken_answer_is_seen_to_be_cut_off(tmp_path: Path, name: str, how: str) -> None:
    liar = Liar(CUT_OFF[name], how, ends=True)
    found, stream = await both_asked(tmp_path, liar)
    assert [(answer.status, answer.complete) for answer in found] in ([], [(200, False)])
    assert b"evil" not in stream
    assert liar.targets == [b"/first"]


@pytest.mark.parametrize(
    ("name", "how"),
    [(name, how) for name, case in PASSING.items() for how in CUTS[: 1 if case.surplus else None]],
)
async def test_answer_is_one_answer(tmp_path: Path, name: str, how: str) -> None:
    case = PASSING[name]
    liar = Liar(case.data, how, ends=case.ends)
    found, stream = await both_asked(tmp_path, liar, case.method)
    assert found == [Answer(case.status, case.body, complete=True), Answer(200, b"honest", True)]
    assert liar.targets == [b"/first", b"/second"]
    assert b"evil=1" not in stream
    if case.surplus:
        assert b"evil" not in stream


@pytest.mark.parametrize("name", [name for name, case in PASSING.items() if case.surplus])
async def test_late_surplus_ends_the_upstream_connection(
    proxy: Rig, upstream: Upstream, name: str
) -> None:
    case = PASSING[name]
    async with await proxy.connect() as client:
        await client.send(b"%b /first HTTP/1.1\r\nHost: h\r\n\r\n" % case.method.encode())
        server = await upstream.take()
        await server.request()
        await send_cut(server, case.data, "single bytes")
        answer = await client.response(case.method)
        assert (answer.status, answer.body) == (case.status, case.body)
        assert await server.gone()
        await client.send(SECOND)
        second = await upstream.take()
        assert (await second.request()).target == b"/second"
        await second.send(HONEST)
        assert (await client.response()).body == b"honest"
    await until(lambda: len(proxy.observer.outcomes) == 2)
