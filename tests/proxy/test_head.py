"""The grammar of heads, apart from any connection."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.proxy.head import BadHead, check_partial, parse_request, parse_response
from gateway.proxy.messages import Framing

LINES = st.lists(
    st.sampled_from(
        [
            b"Host: h",
            b"Host: i",
            b"Content-Length: 5",
            b"Content-Length: 6",
            b"Content-Length: x",
            b"Transfer-Encoding: chunked",
            b"Transfer-Encoding: gzip",
            b"Connection: close",
            b"Connection: upgrade",
            b"Upgrade: websocket",
            b"X : a",
            b" folded",
            b"X: \x00",
            b"X: a\rb",
            b"X-Ok: fine",
        ]
    ),
    max_size=6,
)


@given(st.binary(max_size=300))
def test_garbage_is_refused_and_never_fails_otherwise(data: bytes) -> None:
    for parse in (parse_request, lambda block: parse_response(block, b"GET")):
        with pytest.raises(BadHead):
            parse(data + b"\r\n\r\n")


@given(LINES)
def test_accepted_request_is_unambiguous(lines: list[bytes]) -> None:
    block = b"\r\n".join([b"GET / HTTP/1.1", *lines]) + b"\r\n\r\n"
    try:
        head = parse_request(block)
    except BadHead:
        return
    text = b"\n".join(lines)
    assert text.count(b"Host:") == 1
    assert text.count(b"Content-Length") + text.count(b"Transfer-Encoding") <= 1
    assert not {b"X : a", b" folded", b"X: \x00", b"X: a\rb"} & set(lines)
    chunked = b"Transfer-Encoding: chunked" in lines
    assert (head.framing is Framing.CHUNKED) is chunked
    assert head.keep_alive is (b"Connection: close" not in lines)


@given(st.binary(max_size=80))
def test_early_check_refuses_only_what_is_refused_later(data: bytes) -> None:
    try:
        check_partial(data, 0)
    except BadHead:
        with pytest.raises(BadHead):
            parse_request(data + b"\r\n\r\n")


@given(st.text("\r\n\0x", max_size=12), st.integers(0, 12))
def test_early_check_sees_what_is_bare_in_any_cut(text: str, cut: int) -> None:
    data = text.encode()
    for start, end in ((0, min(cut, len(data))), (min(cut, len(data)), len(data))):
        part = data[:end]
        bare = re.search(rb"(?<!\r)\n|\r(?!\n|\Z)|\0", part) is not None
        try:
            check_partial(part, start)
        except BadHead:
            assert bare
            return
        assert not bare


def test_early_check_is_quick() -> None:
    data = b"GET / HTTP/1.1\r\n" + b"X: %b\r\n" % (b"y" * 1000) * 60
    before = time.process_time()
    for _ in range(4000):
        check_partial(data, 0)
    assert time.process_time() - before < 2.0


def test_values_lose_only_their_outer_blanks() -> None:
    head = parse_request(b"GET / HTTP/1.1\r\nHost:h\r\nX:\t a  b\xe9 \t\r\nY:\r\n\r\n")
    assert head.headers == [(b"Host", b"h"), (b"X", b"a  b\xe9"), (b"Y", b"")]


@pytest.mark.parametrize(
    "value",
    [b" " * 60000 + b"x", b"x" + b" " * 60000 + b"x", b",".join([b"a"] * 30000), b"\t" * 60000],
)
def test_large_heads_are_read_in_linear_time(value: bytes) -> None:
    names = (b"X", b"Connection", b"Transfer-Encoding", b"Host", b"Upgrade", b"Content-Length")
    before = time.process_time()
    for name in names:
        for end in (b"\r\n\r\n", b"\0\r\n\r\n", b"\rx\r\n\r\n"):
            try:
                parse_request(b"GET / HTTP/1.1\r\nHost: h\r\n" + name + b": " + value + end)
            except BadHead:
                continue
    assert time.process_time() - before < 2.0


def test_response_without_a_reason_is_read() -> None:
    head = parse_response(b"HTTP/1.1 200\r\nContent-Length: 3\r\n\r\n", b"GET")
    assert (head.status, head.reason, head.length) == (200, b"", 3)


@pytest.mark.parametrize(
    ("method", "head", "framing"),
    [
        (b"GET", b"200 OK\r\nContent-Length: 3", Framing.LENGTH),
        (b"GET", b"200 OK\r\nContent-Length: 0", Framing.NONE),
        (b"GET", b"200 OK\r\nTransfer-Encoding: chunked", Framing.CHUNKED),
        (b"GET", b"200 OK", Framing.UNTIL_CLOSE),
        (b"HEAD", b"200 OK", Framing.NONE),
        (b"HEAD", b"200 OK\r\nTransfer-Encoding: chunked", Framing.NONE),
        (b"GET", b"204 No Content", Framing.NONE),
        (b"GET", b"304 Not Modified\r\nContent-Length: 3", Framing.NONE),
        (b"GET", b"100 Continue", Framing.NONE),
    ],
)
def test_framing_of_responses(method: bytes, head: bytes, framing: Framing) -> None:
    parsed = parse_response(b"HTTP/1.1 %b\r\n\r\n" % head, method)
    assert parsed.framing is framing
    assert parsed.keep_alive is (framing is not Framing.UNTIL_CLOSE)
