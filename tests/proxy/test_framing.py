"""Body trackers: the same result however the bytes are cut."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.proxy.framing import (
    BadFraming,
    Body,
    ChunkedBody,
    Fields,
    LengthBody,
    Truncated,
    UntilCloseBody,
)


def keep(fields: Fields) -> Fields:
    """Let all trailers pass."""
    return fields


def fed(body: Body, data: bytes, cuts: list[int]) -> tuple[bytes, bytes]:
    """Feed `data` cut at `cuts`; return (what is relayed, what is left over)."""
    relayed, rest = b"", data
    edges = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
    for start, end in itertools.pairwise(edges):
        piece, used = body.feed(data[start:end])
        relayed += piece
        rest = data[start + used :]
        if body.done:
            break
    return relayed, rest


CUTS = st.lists(st.integers(0, 300), max_size=20)
CHUNKS = st.lists(st.binary(min_size=1, max_size=60), max_size=6)


@given(CHUNKS, CUTS, st.sampled_from([b"", b";a=b", b' ; q="x"']), st.binary(max_size=30))
def test_chunked_body_is_cut_out_and_relayed_as_it_came(
    chunks: list[bytes], cuts: list[int], extension: bytes, following: bytes
) -> None:
    data = b"".join(b"%X%b\r\n%b\r\n" % (len(c), extension, c) for c in chunks) + b"0\r\n\r\n"
    body = ChunkedBody(trailers=keep)
    assert fed(body, data + following, cuts) == (data, following)
    assert body.done


@given(CHUNKS, CUTS, st.binary(max_size=30))
def test_chunked_body_is_decoded(chunks: list[bytes], cuts: list[int], following: bytes) -> None:
    data = b"".join(b"%x\r\n%b\r\n" % (len(c), c) for c in chunks) + b"0\r\nA: b\r\n\r\n"
    body = ChunkedBody(trailers=keep, decode=True)
    assert fed(body, data + following, cuts) == (b"".join(chunks), following)


@given(CUTS)
def test_trailers_go_through_the_filter(cuts: list[int]) -> None:
    body = ChunkedBody(trailers=lambda fields: [f for f in fields if f[0] != b"Cookie"])
    data = b"1\r\nx\r\n0\r\nA: 1\r\nCookie: 2\r\nB:3\r\n\r\nnext"
    assert fed(body, data, cuts) == (b"1\r\nx\r\n0\r\nA: 1\r\nB: 3\r\n\r\n", b"next")


def same_in_any_cut(data: bytes, cuts: list[int]) -> None:
    """Assert that chunked `data` is read, or refused, alike in one piece and in many."""
    whole: tuple[bytes, bytes] | None
    try:
        whole = fed(ChunkedBody(trailers=keep), data, [])
    except BadFraming:
        whole = None
    body = ChunkedBody(trailers=keep)
    if whole is None:
        with pytest.raises(BadFraming):
            fed(body, data, cuts)
    else:
        assert fed(body, data, cuts) == whole


@given(st.binary(max_size=200), CUTS)
def test_chunked_garbage_is_read_the_same_in_any_cut(data: bytes, cuts: list[int]) -> None:
    same_in_any_cut(data, cuts)


@given(st.text("0123456789abcdefABCDEF;= \t\r\nx", max_size=60), CUTS)
def test_what_looks_like_chunks_reads_the_same_in_any_cut(text: str, cuts: list[int]) -> None:
    same_in_any_cut(text.encode(), cuts)


@given(st.binary(max_size=100), st.integers(0, 100), CUTS)
def test_length_body_takes_exactly_its_length(data: bytes, length: int, cuts: list[int]) -> None:
    length = min(length, len(data))
    body = LengthBody(length)
    if not length:
        assert body.done
        return
    assert fed(body, data, cuts) == (data[:length], data[length:])
    assert body.done


def test_end_of_stream_is_truncation_unless_it_ends_the_body() -> None:
    for body in (LengthBody(1), ChunkedBody(trailers=keep)):
        with pytest.raises(Truncated):
            body.at_eof()
    plain, chunk = UntilCloseBody(chunk=False), UntilCloseBody(chunk=True)
    assert (plain.feed(b"ab"), plain.at_eof()) == ((b"ab", 2), b"")
    assert (chunk.feed(b"ab"), chunk.at_eof()) == ((b"2\r\nab\r\n", 2), b"0\r\n\r\n")
