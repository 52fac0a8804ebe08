"""Response heads out of a grammar, and mutated: the quick reader says what the strict one says.

Upstreams are students' servers, so that each byte of these heads is anybody's. The quick reader
remembers lines, so each head is read by a fresh one too, and again behind others. Two things may
differ in what the client gets, and say nothing: the blanks around a value, since a line that
passes is passed on as it came; and where our own line on frames stands among lines of other names.
"""

from __future__ import annotations

from collections import Counter
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.proxy.head import HEAD_END, BadHead, parse_response
from gateway.proxy.headers import HeaderRules
from gateway.proxy.interface import Relay, RouteEntry
from gateway.proxy.messages import Framing, RequestHead, ResponseHead
from gateway.proxy.repeated import ResponseReader
from tests.proxy.readers import Answer, Unreadable, answer_by_h11
from tests.proxy.test_fuzz_head import BOUNDED, comparable, first_head, mostly, mutated

Asked = tuple[bytes, bytes]
"""A response head, and the method that it answers."""

MANY = settings(BOUNDED, max_examples=600)
LONGEST_BODY = 64
PAYLOAD = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n" * 2
SURPLUS = b"HTTP/1.1 200"
FINAL = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
COOKIES = frozenset({b"nbgate-session"})
RELAYS = (
    None,
    Relay(RouteEntry("/")),
    Relay(RouteEntry("/nb/a", slug="a")),
    Relay(RouteEntry("/nb/a", slug="a", ancestors="'self' https://lms")),
)
REQUESTS = (RequestHead(b"GET", b"/", 10, []), RequestHead(b"GET", b"/", 11, []))

PLAIN = b"HTTP/1.1 200 OK\r\nVary: a\r\nContent-Length: 5\r\n\r\n"
ODD_BYTES = [*range(33), *b",:;\x7f\x80\xb2\xff"]

LINES = [
    b"Vary: a",
    b"connection:keep-alive",
    b"Connection: close",
    b"Connection: Vary",
    b"Content-Length: 5",
    b"content-length: 6",
    b"Content-Length: 0",
    b"Transfer-Encoding: chunked",
    b"Keep-Alive: timeout=5",
    b"Upgrade: websocket",
    b"Set-Cookie: a=b",
    b"Set-Cookie: nbgate-session=1",
    b"X-Request-ID: theirs",
    b"Access-Control-Allow-Origin: *",
    b"Clear-Site-Data: *",
    b"Content-Security-Policy: frame-ancestors 'none'",
    b"Content-Security-Policy: img-src *",
    b"X-Frame-Options: DENY",
]

METHOD = st.sampled_from([b"GET", b"GET", b"POST", b"HEAD"])
STATUS_LINE = mostly(
    st.sampled_from(
        [b"HTTP/1.1 200 OK", b"HTTP/1.1 404 ", b"HTTP/1.1 304 \xe9\t", b"HTTP/1.1 204 X"]
    ),
    st.sampled_from([b"100 Continue", b"101 Switching", b"199 ", b"205 R"]).map(
        lambda rest: b"HTTP/1.1 " + rest
    )
    | st.sampled_from([b"HTTP/1.0 200 OK", b"HTTP/1.2 200 OK", b"HTTP/1.1 200", b"HTTP/1.1 200 "])
    | st.sampled_from([b"HTTP/1.1 600 X", b"HTTP/1.1 20 X", b"HTTP/1.1 2000 X", b"HTTP/1.1  200 X"])
    | st.sampled_from([b"HTTP/2.0 200 X", b"http/1.1 200 X", b"ICY 200 X", b" HTTP/1.1 200 X"])
    | st.sampled_from([b"HTTP/1.1 200\tX", b"HTTP/1.1 +20 X", b"HTTP/1.1 \xb2\xb2\xb2 X", b""]),
)
LENGTHS = st.sampled_from([b"0", b"5", b"64", b"007", b"9" * 18]) | st.sampled_from(
    [b"", b"+5", b"5, 5", b"0x5", b"9" * 19, b"\xb2"]
)
VALUES = {
    b"Content-Type": st.just(b"text/html"),
    b"Date": st.just(b"Thu, 01 Jan 2026 00:00:00 GMT"),
    b"Server": st.sampled_from([b"TornadoServer/6.5", b"", b"a\tb", b"x" * 600]),
    b"X-A": st.text("az09 \t,;:=\"'\u00e9", max_size=20).map(lambda text: text.encode("latin-1")),
    b"Vary": st.binary(max_size=2) | st.sampled_from([b"\x0b", b"\0", b"\x7f", b"a\rb", b"a\nb"]),
}
STEERING_VALUES = {
    b"Content-Length": LENGTHS,
    b"Connection": st.sampled_from([b"keep-alive", b"Keep-ALIVE", b"close"])
    | st.sampled_from([b"X-A", b"keep-alive, Server", b"Content-Length", b"x, CLOSE", b""]),
    b"Content-Security-Policy": st.sampled_from(
        [b"frame-ancestors 'none'", b"img-src *", b"", b";"]
    )
    | st.sampled_from([b"img-src *; FRAME-ancestors *, frame-ancestors x", b" frame-ancestors,"]),
    b"X-Frame-Options": st.just(b"DENY"),
}
OTHER_VALUES = {
    b"Transfer-Encoding": st.sampled_from([b"chunked", b"Chunked", b"identity", b"a, chunked"]),
    b"Keep-Alive": st.just(b"timeout=5"),
    b"Proxy-Authenticate": st.just(b"Basic"),
    b"Upgrade": st.just(b"websocket"),
    b"Set-Cookie": st.sampled_from([b"a=b", b"nbgate-session=1", b"=nbgate-session~x=1; Path=/"])
    | st.sampled_from([b"Username-h=1", b"a=b; Domain=h", b"a=nbgate-session"]),
    b"X-Request-ID": st.just(b"theirs"),
    b"X_Request_ID": st.just(b"theirs"),
    b"Access-Control-Allow-Origin": st.just(b"*"),
    b"Service-Worker-Allowed": st.just(b"/"),
    b"Clear-Site-Data": st.just(b"*"),
    b"Content-Security-Policy-Report-Only": st.just(b"frame-ancestors 'none'"),
    b"X-Frame-Options": st.just(b"DENY"),
}
COLON = st.sampled_from([b":", b": ", b": ", b":\t ", b":  "])
END = st.sampled_from([b"", b"", b" ", b"\t"])
ODD_COLON = COLON | st.sampled_from([b" :", b"\t: ", b"", b"::", b":\r\n ", b":\x0b"])
ODD_END = END | st.sampled_from([b"\r\n b", b"\r\n\tb"])


def cased(name: bytes) -> st.SearchStrategy[bytes]:
    """Draw a name in other letters, too."""
    return st.sampled_from([name, name, name.lower(), name.upper(), name.swapcase()])


def lines_of(values: dict[bytes, st.SearchStrategy[bytes]]) -> st.SearchStrategy[bytes]:
    """Draw header lines with these names."""
    legal = [st.tuples(cased(name), COLON, value, END) for name, value in values.items()]
    odd = [st.tuples(cased(name), ODD_COLON, value, ODD_END) for name, value in values.items()]
    return mostly(st.one_of(legal).map(b"".join), st.one_of(odd).map(b"".join))


LINE = lines_of(VALUES) | lines_of(STEERING_VALUES)
OTHER = lines_of(OTHER_VALUES)
FRAMING_LINE = st.one_of(
    lines_of({b"Content-Length": LENGTHS}),
    st.just(b"Content-Length: 5"),
    st.sampled_from([b"Transfer-Encoding: chunked", b""]),
)


@st.composite
def heads(draw: st.DrawFn, lines: list[bytes]) -> bytes:
    """Return a head out of these lines, each any number of times; most often with a length."""
    drawn = draw(st.lists(st.sampled_from(lines), max_size=4))
    drawn *= draw(st.sampled_from([1] * 15 + [60]))  # more than are looked at quickly, or at all
    drawn.insert(draw(st.integers(0, len(drawn))), draw(FRAMING_LINE))
    return b"\r\n".join([draw(STATUS_LINE), *filter(None, drawn)]) + HEAD_END


@st.composite
def conversations(draw: st.DrawFn) -> list[Asked]:
    """Return what one reader is given: heads that have lines in common, also almost."""
    lines = draw(st.lists(LINE, min_size=1, max_size=5)) + draw(st.lists(OTHER, max_size=1))
    legal = heads(lines)
    one = mostly(legal, mutated(legal))
    blocks = draw(st.lists(one, min_size=1, max_size=3))
    blocks.append(draw(mutated(st.sampled_from(blocks)) | one))
    return [(first_head(block), draw(METHOD)) for block in blocks]


def strictly(asked: Asked) -> ResponseHead | None:
    """Return the head as the grammar reads it, or None when it is refused."""
    try:
        return parse_response(*asked)
    except BadHead:
        return None


def quickly(reader: ResponseReader, asked: Asked) -> ResponseHead | None:
    """Return the head as `reader` reads it, or None when it is refused."""
    try:
        return reader.read(*asked)
    except BadHead:
        return None


def told(rendered: bytes) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    """Return (start line, fields) of a head for a client, without what says nothing.

    Lines of one name stay in order (RFC 9110, 5.3).
    """
    assert rendered.endswith(HEAD_END)
    start, *lines = rendered[:-4].split(b"\r\n")
    fields = [(name, value.strip(b" \t")) for name, _, value in (x.partition(b":") for x in lines)]
    return start, sorted(fields, key=lambda field: field[0].lower())


def facts(head: ResponseHead | None, rules: HeaderRules) -> object:
    """Return all that becomes of a head: how its body is read, and each client's head."""
    if head is None:
        return None
    rendered = [
        told(rules.to_client(head, request, b"id", relay=relay, keep_alive=keep_alive))
        for request in REQUESTS
        for relay in RELAYS
        for keep_alive in (False, True)
    ]
    return head.status, head.framing, head.length, head.keep_alive, rendered


def test_quick_reader_says_what_the_grammar_says() -> None:
    became: Counter[str] = Counter()

    @MANY
    @given(conversations())
    def check(conversation: list[Asked]) -> None:
        rules, reader = HeaderRules(COOKIES), ResponseReader()
        for asked in conversation * 2:
            expected = facts(strictly(asked), rules)
            for each in (reader, ResponseReader()):
                head = quickly(each, asked)
                assert facts(head, rules) == expected
            became["refused" if head is None else "plain" if head.plain else "looked at"] += 1

    check()
    assert min(became[kind] for kind in ("refused", "plain", "looked at")) > 200, became


def test_an_odd_byte_anywhere_is_read_as_the_grammar_reads_it() -> None:
    rules, reader = HeaderRules(COOKIES), ResponseReader()
    for place in range(len(PLAIN) - 4):
        for byte in ODD_BYTES:
            asked = first_head(b"%b%c%b" % (PLAIN[:place], byte, PLAIN[place:])), b"GET"
            assert facts(quickly(reader, asked), rules) == facts(strictly(asked), rules), asked
        assert facts(quickly(reader, (PLAIN, b"GET")), rules)


@pytest.mark.parametrize("status", [b"200 OK", b"204 X", b"304 X", b"103 X"])
def test_lines_are_read_together_as_the_grammar_reads_them(status: bytes) -> None:
    rules, reader = HeaderRules(COOKIES), ResponseReader()
    for first, second, last in product(LINES, LINES, ([], [b"Content-Length: 5"])):
        block = b"\r\n".join([b"HTTP/1.1 " + status, first, second, *last]) + HEAD_END
        asked = block, b"GET"
        assert facts(quickly(reader, asked), rules) == facts(strictly(asked), rules), asked


def followed(asked: Asked, head: ResponseHead) -> tuple[bytes, bytes]:
    """Return (the answer with a body as its head promises it, that body as far as it is sent)."""
    block = asked[0]
    if head.framing is Framing.CHUNKED:
        return block + b"5\r\nHTTP/\r\n0\r\n\r\n", b"HTTP/"
    if head.framing is Framing.UNTIL_CLOSE:
        return block + PAYLOAD, PAYLOAD
    body = PAYLOAD[: min(head.length, LONGEST_BODY)]
    return block + body, body


def read_as(head: ResponseHead, answer: Answer, body: bytes) -> None:
    """Assert that h11's `answer`, behind which there is a surplus, is what `head` says."""
    assert answer.status == head.status
    assert comparable(answer.headers) == comparable(head.headers)
    if head.framing is Framing.UNTIL_CLOSE or head.length > LONGEST_BODY:
        assert (answer.body, answer.complete) == (body + SURPLUS, False)
        return
    assert (answer.body, answer.complete, answer.surplus) == (body, True, SURPLUS)
    if head.version == 11:  # h11 never keeps a connection of HTTP/1.0
        assert answer.keep_alive is head.keep_alive


def compare_with_h11(asked: Asked) -> str:
    """Compare what the grammar reads with what h11 reads; return what became of it."""
    head = strictly(asked)
    if head is None:
        return "refused"
    block, method = asked
    stream, body = followed(asked, head)
    try:
        answer = answer_by_h11(method, block + FINAL if head.status < 200 else block)
    except Unreadable:
        return "refused by h11"
    if head.status < 200:
        assert (answer.status, answer.complete) == (200, True)
        return "interim"
    read_as(head, answer_by_h11(method, stream + SURPLUS), body)
    if head.framing is Framing.UNTIL_CLOSE:
        assert answer_by_h11(method, stream, closed=True).complete
    return head.framing.value


def test_h11_reads_what_the_grammar_reads() -> None:
    became: Counter[str] = Counter()

    @MANY
    @given(conversations())
    def check(conversation: list[Asked]) -> None:
        became.update(compare_with_h11(asked) for asked in conversation)

    check()
    assert all(became[framing.value] > 5 for framing in Framing), became
