"""Paths out of a grammar: what is forwarded is what came, whatever the flags.

Bounded and derandomised, so that a failure in CI is a failure here.
"""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.chp.book import RouteBook
from gateway.chp.gate import HostGate, OpenGate
from gateway.chp.headers import PlainRules, Rewriting
from gateway.chp.paths import key_of
from gateway.proxy.head import parse_request
from gateway.proxy.interface import Client, Relay
from gateway.proxy.messages import RequestHead

BOUNDED = settings(max_examples=400, derandomize=True, deadline=None, database=None)
CLIENT = Client("9.9.9.9", "http", "a.example", 80)

PIECE = st.sampled_from(
    ["user", "foo", "a@b", "a%40b", "%61", "x%20y", "%2F", "%2f", "%25", "%C3%A9", "%E2%82", "..",
     ".", "", "~", ";", "=:+,!$&'()*", "{}|^`", '"<>', "\\", "[]", "%00", "é"]
)  # fmt: skip
SEGMENT = st.lists(PIECE, min_size=1, max_size=3).map("".join)
PATH = st.lists(SEGMENT, max_size=5).map(lambda parts: "/" + "/".join(parts))
QUERY = st.text("a=&?/%;+'\"{}", max_size=8).map(lambda text: "?" + text) | st.just("")
KEY = st.lists(st.sampled_from(["user", "foo", "a%40b", "%C3%A9", "%25", "a%2Fb"]), max_size=3).map(
    lambda parts: "/" + "/".join(parts)
)


def head_of(raw: bytes, host: bytes = b"a.example") -> RequestHead:
    return parse_request(b"GET %b HTTP/1.1\r\nHost: %b\r\n\r\n" % (raw, host))


def forwarded(rules: PlainRules, head: RequestHead, relay: Relay) -> bytes:
    """Return the target of the request that goes upstream."""
    return rules.to_route(head, relay, b"", b"").split(b" ")[1]


@BOUNDED
@given(PATH, QUERY, KEY, st.booleans(), st.booleans(), st.booleans(), st.sampled_from(["", "/t"]))
@example("/user%2Ffoo%2Fx", "", "/user/foo", False, False, True, "/t")
@example("/%C3%A9", "?", "/%C3%A9", True, False, True, "/t")
def test_what_is_forwarded_is_what_came(
    path: str, query: str, key: str, by_host: bool, include: bool, prepend: bool, base: str
) -> None:
    raw = (path + query).encode()
    book = RouteBook(by_host=by_host, prepend_path=prepend)
    book.put(key_of("/a.example" + key if by_host else key), {"target": f"http://up:1{base}"})
    rules = PlainRules(Rewriting(include_prefix=include, by_host=by_host))
    head = head_of(raw)
    decision = (HostGate if by_host else OpenGate)(book.table).decide(head, CLIENT)
    decoded, wanted = unquote_to_bytes(path), unquote_to_bytes(key).rstrip(b"/")
    assert isinstance(decision, Relay) == (decoded + b"/").startswith(wanted + b"/")
    if not isinstance(decision, Relay):
        return
    made = forwarded(rules, head, decision)
    before = base.encode() if prepend else b""
    assert made.startswith(before)
    rest = made[len(before) :]
    if include:
        assert rest == raw
    else:
        assert raw.endswith(rest) or (rest[:1] == b"/" and raw.endswith(rest[1:]))
        cut = raw[: len(raw) - len(rest.removeprefix(b"/") if not raw.endswith(rest) else rest)]
        assert unquote_to_bytes(cut) == wanted
    assert made.startswith(b"/")


@BOUNDED
@given(KEY, PATH)
def test_key_and_what_is_beneath_it_meet(key: str, path: str) -> None:
    book = RouteBook()
    book.put(key_of(key), {"target": "http://up:1"})
    beneath = (key.rstrip("/") + path).encode()
    assert isinstance(OpenGate(book.table).decide(head_of(beneath), CLIENT), Relay)
