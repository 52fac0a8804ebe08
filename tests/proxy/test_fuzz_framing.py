"""Bodies out of a grammar, and mutated: cut out alike in any pieces, and as an oracle cuts them.

Bounded and derandomised, so that a failure in CI is a failure here.
"""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.proxy.framing import BadFraming, Body, ChunkedBody, Fields, LengthBody
from tests.proxy.readers import Unreadable, by_h11, by_llhttp

BOUNDED = settings(
    max_examples=300,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
HEAD = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})(?:[ \t]*;[\t\x20-\x7e\x80-\xff]*)?\r\n")
_TRAILERS = re.compile(
    rb"(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*\r\n)*\r\n",
)

CUTS = st.lists(st.integers(0, 400), max_size=25)
SIZE = st.sampled_from([b"%x", b"%X", b"0%x", b"0000000%X"])
EXTENSION = st.sampled_from([b""] * 5 + [b";a", b";a=b", b' ;a="b c"', b";\xff", b";" + b"x" * 90])
TRAILER = st.sampled_from(
    [b"X: y\r\n", b"X-Sum:1\r\n", b"Cookie: a=b\r\n", b"Content-Length: 9\r\n"]
)
NEXT = st.sampled_from([b"", b"\r\n", b"GET / HTTP/1.1\r\n", b"0\r\n\r\n"]) | st.binary(max_size=20)


@st.composite
def chunked(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """Return (a chunked body, its payload)."""
    chunks = draw(st.lists(st.binary(min_size=1, max_size=40), max_size=6))
    data = b""
    for chunk in chunks:
        data += draw(SIZE) % len(chunk) + draw(EXTENSION) + b"\r\n" + chunk + b"\r\n"
    last = draw(st.sampled_from([b"0", b"000"])) + draw(EXTENSION) + b"\r\n"
    trailers = b"".join(draw(st.lists(TRAILER, max_size=3)))
    return data + last + trailers + b"\r\n", b"".join(chunks)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """Return a chunked body with some of its bytes changed."""
    data = bytearray(draw(chunked())[0])
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(data)))
        inserted = st.sampled_from([b"", b"\r", b"\n", b"\0", b" ", b";", b"-", b"0x", b"f" * 16])
        data[place : place + draw(st.integers(0, 2))] = draw(inserted | st.binary(max_size=2))
    return bytes(data)


def keep(fields: Fields) -> Fields:
    """Let all trailers pass."""
    return fields


def drop(fields: Fields) -> Fields:
    """Let no trailer pass."""
    return []


def oracle(data: bytes) -> tuple[bytes, int] | None:
    """Return (payload, length of the body) of what `data` begins with.

    None stands for an incomplete body.

    Raises:
        BadFraming: it is none.
    """
    payload, position = b"", 0
    while True:
        line = _SIZE_LINE.match(data, position)
        if line is None:
            if b"\n" in data[position:] or len(data) - position > 200:
                raise BadFraming("size")
            return None
        position = line.end()
        size = int(line[1], 16)
        if not size:
            break
        payload += data[position : position + size]
        position += size
        if data[position : position + 2] != b"\r\n":
            if len(data) < position + 2 and b"\r\n".startswith(data[position : position + 2]):
                return None
            raise BadFraming("end of chunk")
        position += 2
    end = data.find(b"\r\n", position)
    if end != position:
        end = data.find(b"\r\n\r\n", position) + 2
    if end < position:
        return None
    trailers = _TRAILERS.fullmatch(data, position, end + 2)
    if trailers is None:
        raise BadFraming("trailers")
    return payload, end + 2


def fed(body: Body, data: bytes, cuts: list[int]) -> tuple[bytes, int]:
    """Feed `data` cut at `cuts`; return (what is relayed, how much of it was the body's).

    What `feed` says it used must never go beyond the end of the body.
    """
    relayed, taken = b"", 0
    edges = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
    for start, end in itertools.pairwise(edges):
        piece, used = body.feed(data[start:end])
        assert 0 <= used <= end - start
        relayed += piece
        taken = start + used
        if body.done:
            break
        assert used == end - start, "a body that is not done takes all there is"
    return relayed, taken


def outcome(
    data: bytes, cuts: list[int], *, decode: bool = False
) -> tuple[bytes, int, bool] | None:
    """Return (relayed, taken, done) of a chunked body; None when it is refused."""
    body = ChunkedBody(trailers=keep, decode=decode)
    try:
        relayed, taken = fed(body, data, cuts)
    except BadFraming:
        return None
    return relayed, taken, body.done


@BOUNDED
@given(chunked(), NEXT, CUTS)
def test_legal_chunks_end_where_they_end(
    made: tuple[bytes, bytes], following: bytes, cuts: list[int]
) -> None:
    data, payload = made
    assert oracle(data + following) == (payload, len(data))
    decoded = outcome(data + following, cuts, decode=True)
    assert decoded == (payload, len(data), True)
    found = outcome(data + following, cuts)
    assert found is not None
    relayed, taken, done = found
    assert (taken, done) == (len(data), True)
    assert oracle(relayed) == (payload, len(relayed))


@BOUNDED
@given(mutated(), NEXT, CUTS)
def test_mutated_chunks_agree_with_the_oracle(
    data: bytes, following: bytes, cuts: list[int]
) -> None:
    data += following
    found = outcome(data, cuts, decode=True)
    try:
        meant = oracle(data)
    except BadFraming:
        assert found is None or not found[2]
        return
    if meant is None:
        assert found is None or not found[2]
    else:
        assert found == (*meant, True)


@BOUNDED
@given(mutated() | chunked().map(lambda made: made[0]), NEXT, CUTS, CUTS)
def test_pieces_do_not_matter(
    data: bytes, following: bytes, cuts: list[int], others: list[int]
) -> None:
    data += following
    for decode in (False, True):
        whole = outcome(data, [], decode=decode)
        assert outcome(data, cuts, decode=decode) == whole
        assert outcome(data, others, decode=decode) == whole
        assert outcome(data, list(range(len(data))), decode=decode) == whole


@BOUNDED
@given(mutated() | chunked().map(lambda made: made[0]), CUTS)
def test_what_is_relayed_is_read_alike_by_others(data: bytes, cuts: list[int]) -> None:
    found = outcome(data, cuts)
    if found is None or not found[2]:
        return
    payload = oracle(found[0])
    assert payload is not None
    for reader in (by_llhttp, lambda raw: by_llhttp(raw, lenient=True), by_h11):
        try:
            requests = reader(HEAD + found[0])
        except Unreadable:
            continue
        assert [(one.body, one.complete) for one in requests] == [(payload[0], True)]


@BOUNDED
@given(st.binary(max_size=200), CUTS)
def test_garbage_fails_in_one_way_only(data: bytes, cuts: list[int]) -> None:
    outcome(data, cuts)
    outcome(b"5\r\nhello\r\n" + data, cuts)
    outcome(b"0\r\n" + data, cuts)


@BOUNDED
@given(chunked(), CUTS)
def test_trailers_that_are_dropped_leave_a_whole_body(
    made: tuple[bytes, bytes], cuts: list[int]
) -> None:
    body = ChunkedBody(trailers=drop)
    relayed, taken = fed(body, made[0], cuts)
    assert (taken, body.done) == (len(made[0]), True)
    assert oracle(relayed) == (made[1], len(relayed))
    assert relayed.endswith(b"\r\n\r\n")
    assert b"Cookie: a=b\r\n\r\n" not in relayed


@BOUNDED
@given(st.binary(max_size=120), st.integers(0, 100), CUTS)
def test_length_body_takes_its_length_and_no_more(
    data: bytes, length: int, cuts: list[int]
) -> None:
    body = LengthBody(length)
    if not length:
        assert body.done
        return
    relayed, taken = fed(body, data, cuts)
    assert relayed == data[:length]
    assert taken == min(length, len(data))
    assert body.done is (len(data) >= length)


@pytest.mark.parametrize("size", [b"f" * 15, b"0" * 14 + b"5"])
def test_longest_size_is_read(size: bytes) -> None:
    body = ChunkedBody(trailers=keep)
    assert body.feed(size + b"\r\nhel") == (size + b"\r\nhel", len(size) + 5)
    assert not body.done
