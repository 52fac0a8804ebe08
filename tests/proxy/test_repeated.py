"""repeated.py recognises heads; whatever it says is what head.py's grammar says."""

from __future__ import annotations

import pytest

from gateway.proxy.head import BadHead, parse_request, parse_response
from gateway.proxy.headers import HeaderRules
from gateway.proxy.interface import Relay, RouteEntry
from gateway.proxy.messages import Framing, RequestHead, ResponseHead
from gateway.proxy.repeated import RequestReader, ResponseReader

BLOCK = b"Host: h\r\nCookie: a=1\r\nX-Request-ID: one\r\n\r\n"
RULES = HeaderRules(frozenset({b"nbgate-session"}))
ASKED = RequestHead(b"GET", b"/", 11, [])
RELAY = Relay(RouteEntry("/nb/a", slug="a"))


def facts(head: RequestHead) -> tuple[object, ...]:
    return (
        *(head.method, head.target, head.version, head.headers, head.framing, head.length),
        *(head.keep_alive, head.upgrade, head.expect_continue),
    )


@pytest.mark.parametrize(
    "line",
    [
        b"GET /a HTTP/1.1\r\n",
        b"HEAD /b?c=%2F HTTP/1.1\r\n",
        b"DELETE /\xff HTTP/1.1\r\n",
        b"OPTIONS //x;y HTTP/1.1\r\n",
    ],
)
def test_a_repeated_block_gives_what_the_grammar_gives(line: bytes) -> None:
    reader = RequestReader()
    first = reader.read(b"GET /first HTTP/1.1\r\n" + BLOCK)
    again = reader.read(line + BLOCK)
    assert facts(again) == facts(parse_request(line + BLOCK))
    assert again.standing is first.standing


@pytest.mark.parametrize(
    "line",
    [
        b"BREW /a HTTP/1.1\r\n",
        b"CONNECT / HTTP/1.1\r\n",
        b"GET /a#b HTTP/1.1\r\n",
        b"GET a HTTP/1.1\r\n",
        b"GET /a  HTTP/1.1\r\n",
        b"GET /a\x00 HTTP/1.1\r\n",
        b"GET http://other/ HTTP/1.1\r\n",
        b"GET /a HTTP/2.0\r\n",
    ],
)
def test_a_known_block_does_not_let_a_bad_request_line_pass(line: bytes) -> None:
    reader = RequestReader()
    reader.read(b"GET / HTTP/1.1\r\n" + BLOCK)
    with pytest.raises(BadHead):
        reader.read(line + BLOCK)


def test_a_known_block_is_read_anew_for_another_version() -> None:
    reader = RequestReader()
    assert reader.read(b"GET / HTTP/1.1\r\n" + BLOCK).keep_alive
    old = reader.read(b"GET / HTTP/1.0\r\n" + BLOCK)
    assert (old.version, old.keep_alive, old.standing) == (10, False, None)


@pytest.mark.parametrize(
    "steering",
    [
        b"Content-Length: 0",
        b"Content-Length: 5",
        b"Transfer-Encoding: chunked",
        b"Connection: upgrade\r\nUpgrade: websocket",
        b"Expect: 100-continue",
    ],
)
def test_what_says_something_about_a_body_or_an_upgrade_is_never_remembered(
    steering: bytes,
) -> None:
    reader = RequestReader()
    block = b"Host: h\r\n" + steering + b"\r\n\r\n"
    for method in (b"GET", b"POST", b"GET"):
        line = method + b" / HTTP/1.1\r\n"
        try:
            expected = facts(parse_request(line + block))
        except BadHead:
            with pytest.raises(BadHead):
                reader.read(line + block)
            continue
        head = reader.read(line + block)
        assert (facts(head), head.standing) == (expected, None)


def test_blocks_that_end_alike_are_told_apart() -> None:
    reader = RequestReader()
    long = b"X: y\r\n" + BLOCK
    reader.read(b"GET / HTTP/1.1\r\n" + BLOCK)
    assert reader.read(b"GET / HTTP/1.1\r\n" + long).headers[0] == (b"X", b"y")
    assert reader.read(b"GET / HTTP/1.1\r\n" + BLOCK).headers[0] == (b"Host", b"h")


def test_many_different_blocks_are_all_read() -> None:
    reader = RequestReader()
    for turn in range(2):
        for number in range(100):
            head = reader.read(b"GET / HTTP/1.1\r\nHost: h\r\nX: %d\r\n\r\n" % number)
            assert head.get(b"x") == b"%d" % number, turn


# -- responses

RESPONSES = [
    (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nEtag: x\r\n\r\n", b"GET"),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", b"HEAD"),
    (b"HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n", b"GET"),
    (b"HTTP/1.1 304 Not Modified\r\nEtag: x\r\n\r\n", b"GET"),
    (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", b"GET"),
    (b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", b"GET"),
    (b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\n", b"GET"),
    (b"HTTP/1.1 200 OK\r\nConnection: close, X\r\nX: 1\r\nContent-Length: 1\r\n\r\n", b"GET"),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"GET"),
    (b"HTTP/1.1 200 OK\r\nX-Request-ID: theirs\r\nContent-Length: 1\r\n\r\n", b"GET"),
    (b"HTTP/1.1 200 OK\r\nSet-Cookie: nbgate-session=1\r\nContent-Length: 1\r\n\r\n", b"GET"),
    (b"HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: *\r\nContent-Length: 1\r\n\r\n", b"GET"),
    (b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n", b"GET"),
    (b"HTTP/1.1 200\r\nContent-Length: 1\r\n\r\n", b"GET"),
    (b"HTTP/1.1 200 OK\r\nServer: s\r\n\r\n", b"GET"),
]


def sent(head: ResponseHead) -> tuple[object, ...]:
    """Return what becomes of a head; blanks behind a colon are the sender's affair."""
    rendered = RULES.to_client(head, ASKED, b"id", relay=RELAY, keep_alive=head.keep_alive)
    return (rendered, head.status, head.framing, head.keep_alive) + (
        (head.length,) if head.framing is Framing.LENGTH else ()
    )


@pytest.mark.parametrize(("block", "method"), RESPONSES)
def test_a_response_is_relayed_as_the_grammar_reads_it(block: bytes, method: bytes) -> None:
    reader = ResponseReader()
    expected = sent(parse_response(block, method))
    assert [sent(reader.read(block, method)) for _ in range(3)] == [expected] * 3


@pytest.mark.parametrize(
    "block",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX : a\r\nContent-Length: 1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\nY: b\r\nContent-Length: 1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\rY: b\r\nContent-Length: 1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: \x00\r\nContent-Length: 1\r\n\r\n",
        b"HTTP/1.1 20 OK\r\nContent-Length: 1\r\n\r\n",
    ],
)
def test_what_the_grammar_refuses_is_refused_however_often_it_comes(block: bytes) -> None:
    reader = ResponseReader()
    reader.read(b"HTTP/1.1 200 OK\r\nX: a\r\nContent-Length: 1\r\n\r\n", b"GET")
    for _ in range(3):
        with pytest.raises(BadHead):
            reader.read(block, b"GET")


def test_many_different_lines_are_all_relayed() -> None:
    reader = ResponseReader()
    for number in range(5000):
        block = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nX: %d\r\n\r\n" % number
        assert reader.read(block, b"GET").plain == block[:-2]
