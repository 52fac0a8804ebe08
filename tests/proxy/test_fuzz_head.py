"""Request heads out of a grammar, and mutated: refused, or read as every other parser reads them.

Bounded and derandomised, so that a failure in CI is a failure here.
"""

from __future__ import annotations

import re
from random import Random

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from gateway.proxy.head import HEAD_END, METHODS, BadHead, check_partial, parse_request
from gateway.proxy.messages import Framing, RequestHead
from gateway.proxy.repeated import RequestReader
from tests.proxy.readers import READERS, Request, Unreadable

BOUNDED = settings(
    max_examples=300,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
LONGEST_BODY = 64
_CODING = re.compile(rb"(?i)(?<=\n)Transfer-Encoding:[^\r\n]*")
_UPGRADE = re.compile(rb"(?i)(?<=\n)Upgrade:[^\r\n]*\r\n")
TRAP = b"GET /trap HTTP/1.1\r\nHost: trap\r\n\r\n"


def mostly(
    common: st.SearchStrategy[bytes], rare: st.SearchStrategy[bytes]
) -> st.SearchStrategy[bytes]:
    """Draw from `common`, and once in sixteen times from `rare`."""
    return st.integers(0, 15).flatmap(lambda number: common if number else rare)


METHOD = mostly(st.sampled_from(sorted(METHODS)), st.sampled_from([b"get", b"CONNECT", b"X Y"]))
TARGET = mostly(
    st.text("abc/?&=%._~", max_size=30).map(lambda tail: b"/" + tail.encode()),
    st.sampled_from([b"*", b"h:80", b"http://h/a", b"http://i/", b"/a#b", b"//x", b"/\xe9", b""])
    | st.binary(max_size=12).map(lambda tail: b"/" + tail),
)
VERSION = mostly(
    st.just(b"HTTP/1.1"),
    st.sampled_from([b"HTTP/1.0", b"HTTP/1.2", b"HTTP/2.0", b"http/1.1", b"HTTP/1.10"]),
)
NAME = mostly(
    st.sampled_from([b"X-A", b"x-a", b"Accept", b"Cookie", b"X_Y", b"!#$%&'*+-.^_`|~"]),
    st.sampled_from([b"Host", b"Content-Length", b"Transfer-Encoding"]) | st.binary(max_size=4),
)
VALUE = mostly(
    st.text("az09 \t,;=\"'\u00e9", max_size=20).map(lambda text: text.encode("latin-1")),
    st.binary(max_size=8),
)
CODING = mostly(
    st.sampled_from([b"chunked", b"Chunked"]),
    st.sampled_from([b"gzip, chunked", b"chunked, chunked", b"chunked,", b"identity", b"x"]),
)
LENGTH = mostly(
    st.integers(0, 99).map(lambda number: b"%d" % number),
    st.sampled_from([b"+5", b"5, 5", b"0x5", b"05", b"", b"-1", b"99999999999999999999"]),
)
STEERING = st.one_of(
    CODING.map(lambda value: b"Transfer-Encoding: " + value),
    LENGTH.map(lambda value: b"Content-Length: " + value),
    st.sampled_from([b"close", b"Upgrade", b"keep-alive, X-A"]).map(lambda v: b"Connection: " + v),
    st.sampled_from([b"Upgrade: websocket", b"Upgrade: h2c", b"Expect: 100-continue"]),
)
BLANKS = st.sampled_from([b"", b" ", b" ", b"\t", b" \t "])
LINE = st.tuples(NAME, st.just(b":"), BLANKS, VALUE, BLANKS).map(b"".join)


@st.composite
def heads(draw: st.DrawFn) -> bytes:
    """Return a head; most often with one Host, mostly legal."""
    start = b" ".join((draw(METHOD), draw(TARGET), draw(VERSION)))
    lines = [*draw(st.lists(LINE, max_size=3)), *draw(st.lists(STEERING, max_size=1))]
    if not draw(st.integers(0, 9)):
        lines += draw(st.lists(STEERING, min_size=1, max_size=2))
    if draw(st.integers(0, 19)):
        lines.insert(draw(st.integers(0, len(lines))), b"Host: h")
    return b"\r\n".join([start, *lines]) + HEAD_END


@st.composite
def mutated(draw: st.DrawFn, legal: st.SearchStrategy[bytes]) -> bytes:
    """Return a head with some of its bytes changed, and perhaps lines that end otherwise."""
    data = bytearray(draw(legal))
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(data) - 1))
        inserted = st.sampled_from([b"", b"\r", b"\n", b"\r\n ", b"\0", b" ", b":", b",", b"\x0b"])
        data[place : place + draw(st.integers(0, 1))] = draw(inserted | st.binary(max_size=2))
    return bytes(data) + HEAD_END


def first_head(data: bytes) -> bytes:
    """Return what is cut out of the stream as a head."""
    return data[: data.index(HEAD_END) + len(HEAD_END)]


def accepted(block: bytes) -> RequestHead | None:
    """Return the head in `block`, or None when it is refused. Anything else fails the test."""
    try:
        return parse_request(block)
    except BadHead as error:
        refusal = error.status
    assert refusal in (400, 417, 431, 501, 505)
    return None


def with_body(block: bytes, head: RequestHead) -> tuple[bytes, bytes]:
    """Return (the message with a body as the head promises it, that body)."""
    if head.framing is Framing.CHUNKED:
        return block + b"5\r\nGET /\r\n0\r\n\r\n", b"GET /"
    body = (TRAP * 4)[: head.length]
    return block + body, body


def comparable(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Return `headers` in order of lower-case names; h11 brings codings into lower case, too."""
    low = [(name.lower(), value) for name, value in headers]
    return sorted((n, v.lower() if n == b"transfer-encoding" else v) for n, v in low)


def read_as(head: RequestHead, request: Request, body: bytes, block: bytes) -> None:
    """Assert that another parser's `request` is what `head` says."""
    assert request.complete
    assert request.method == head.method
    # Absolute targets are brought into origin-form, so compare with what was sent.
    assert request.target == block.split(b" ", 2)[1]
    assert comparable(request.headers) == comparable(head.headers)
    assert request.body == body


def check(data: bytes) -> str:
    """Check one head; return what became of it."""
    block = first_head(data)
    head = accepted(block)
    if head is None:
        return "refused"
    if head.framing is Framing.LENGTH and head.length > LONGEST_BODY:
        return "long"
    if head.framing is Framing.CHUNKED:
        # The coding is named anew when it is forwarded, without empty members of its list.
        block = _CODING.sub(b"Transfer-Encoding: chunked", block)
    if not head.upgrade:
        block = _UPGRADE.sub(b"", block)  # to another protocol than WebSocket: not forwarded
    head = parse_request(block)
    message, body = with_body(block, head)
    heard = 0
    for reader in READERS.values():
        try:
            requests = reader(message)
        except Unreadable:
            continue
        heard += 1
        assert len(requests) == 1
        read_as(head, requests[0], body, block)
    return "read" if heard else "read by nobody else"


@BOUNDED
@given(heads())
def test_grammar_is_refused_or_read_alike(data: bytes) -> None:
    check(data)


@BOUNDED
@given(mutated(heads()))
def test_mutation_is_refused_or_read_alike(data: bytes) -> None:
    check(data)


@BOUNDED
@given(st.binary(max_size=120), heads())
@example(
    b"Connection:Upgrade\r\nUpgrade:%\r\n",
    b"ACL / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n",
)
def test_noise_around_a_head_is_refused_or_read_alike(noise: bytes, data: bytes) -> None:
    check(noise + data)
    check(data[:-4] + b"\r\n" + noise + HEAD_END)


@BOUNDED
@given(
    st.sampled_from(sorted(METHODS - {b"PURGE", b"QUERY"})),
    st.text("abc/?&=%._~", max_size=30),
    st.lists(
        st.tuples(st.text("abcXYZ-09", min_size=1, max_size=8), st.text("az 09,;=", max_size=9))
    ),
    st.integers(0, LONGEST_BODY),
)
def test_legal_heads_are_accepted_and_read_by_all(
    method: bytes, path: str, fields: list[tuple[str, str]], length: int
) -> None:
    lines = [b"X-%b: %b" % (name.encode(), value.encode()) for name, value in fields]
    start = b"%b /%b HTTP/1.1" % (method, path.encode())
    block = b"\r\n".join([start, b"Host: h", b"Content-Length: %d" % length, *lines]) + HEAD_END
    head = accepted(block)
    assert head is not None
    message, body = with_body(block, head)
    for reader in READERS.values():
        requests = reader(message)
        assert len(requests) == 1
        read_as(head, requests[0], body, block)


@BOUNDED
@given(mutated(heads()), st.lists(st.integers(0, 300), max_size=6))
def test_early_check_never_refuses_what_is_accepted(data: bytes, cuts: list[int]) -> None:
    block = first_head(data)
    if accepted(block) is None:
        return
    checked = 0
    for end in sorted({min(cut, len(block) - 1) for cut in cuts}):
        check_partial(block[:end], checked)
        checked = end


def facts(head: RequestHead) -> tuple[object, ...]:
    """Return all that a head says."""
    return (
        *(head.method, head.target, head.version, head.headers, head.framing, head.length),
        *(head.keep_alive, head.upgrade, head.expect_continue, head.host),
    )


@BOUNDED
@given(
    st.lists(st.tuples(METHOD, TARGET, VERSION), min_size=2, max_size=6),
    st.lists(st.lists(LINE | STEERING, max_size=3), min_size=1, max_size=3),
    st.randoms(use_true_random=False),
)
def test_head_whose_lines_were_read_before_is_read_anew(
    starts: list[tuple[bytes, bytes, bytes]], blocks: list[list[bytes]], rng: Random
) -> None:
    reader = RequestReader()
    for start in starts * 2:
        lines = [b" ".join(start), b"Host: h", *rng.choice(blocks)]
        block = first_head(b"\r\n".join(lines) + HEAD_END)
        expected = accepted(block)
        try:
            found = reader.read(block)
        except BadHead:
            assert expected is None
        else:
            assert expected is not None
            assert facts(found) == facts(expected)
