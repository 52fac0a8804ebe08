"""What clients get of answers: from configurable-http-proxy and from nbgate-proxy."""

from __future__ import annotations

import pytest

from tests.chp.harness import get
from tests.chp.pair import Start, paired

ANSWERS = [
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2, c\r\n"
    b"X-A: 1\r\nX-A: 2\r\nVary: a\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n2\r\nok\r\n0\r\n"
    b"X-T: 1\r\n\r\n",
    b"HTTP/1.1 204 No\r\n\r\n",
    b"HTTP/1.1 206 Part\r\nContent-Range: bytes 0-1/9\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 304 Not\r\nETag: x\r\n\r\n",
    b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/a\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 404 Not There\r\nContent-Length: 2\r\n\r\nno",
    b"HTTP/1.1 500 Bad\r\nContent-Length: 2\r\n\r\nno",
    b"HTTP/1.1 599 Own\r\nContent-Length: 2\r\n\r\nno",
    b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nServer: x\r\nKeep-Alive: timeout=77\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Odd: \xe9\r\nX-Empty:\r\n\r\nok",
    b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
]


@pytest.mark.parametrize("answer", ANSWERS, ids=range(len(ANSWERS)))
@pytest.mark.parametrize("line", [b"Accept: x", b"Connection: close"])
async def test_answers(chp: Start, answer: bytes, line: bytes) -> None:
    async with paired(chp) as pair:
        await pair.add("/")
        pair.upstream.answer = answer
        told = await pair.agree(get("/x", line))
        assert told.alive == (line != b"Connection: close")


async def test_answer_to_head(chp: Start) -> None:
    async with paired(chp) as pair:
        await pair.add("/")
        pair.upstream.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n"
        told = await pair.agree(get("/x", method=b"HEAD"))
        assert (told.got["content-length"], told.body) == (["99"], b"")


LOCATIONS = [b"http://127.0.0.1:{up}/a?b#c", b"http://127.0.0.1:{up}/a%20b?c=%zz",
             b"HTTP://127.0.0.1:{up}/A", b"https://127.0.0.1:{up}/a", b"http://other:{up}/a",
             b"http://127.0.0.1:1/a", b"/a", b"a/b", b"?a"]  # fmt: skip
REWRITING = [(), ("--auto-rewrite",), ("--protocol-rewrite=https",),
             ("--auto-rewrite", "--protocol-rewrite=https")]  # fmt: skip


@pytest.mark.parametrize("flags", REWRITING)
@pytest.mark.parametrize("status", [200, 201, 300, 301, 302, 303, 307, 308, 404])
async def test_location(chp: Start, flags: tuple[str, ...], status: int) -> None:
    async with paired(chp, *flags) as pair:
        await pair.add("/")
        for location in LOCATIONS:
            pair.upstream.answer = (
                b"HTTP/1.1 %d Some\r\nContent-Length: 0\r\nLocation: %b\r\n\r\n"
                % (status, location.replace(b"{up}", b"%d" % pair.upstream.port))
            )
            await pair.agree(get("/x", host=b"hub.example:8000"))


async def test_old_clients_get_no_chunks(chp: Start) -> None:
    async with paired(chp) as pair:
        await pair.add("/")
        pair.upstream.answer = ANSWERS[0]
        told = await pair.agree(b"GET /x HTTP/1.0\r\nHost: h\r\n\r\n")
        assert told.body == b"ok"
