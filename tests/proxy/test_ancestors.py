"""Who may show a notebook in a frame: of an upstream's answer, that alone is rewritten."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from gateway.proxy.ancestors import FrameRules
from gateway.proxy.head import parse_response
from gateway.proxy.headers import HeaderRules
from gateway.proxy.interface import Relay, RouteEntry
from gateway.proxy.messages import Framing, RequestHead
from gateway.proxy.repeated import ResponseReader
from tests.proxy.harness import rig
from tests.proxy.upstreams import Upstream
from tests.proxy.wire import Wire

OURS = "'self' https://lms.example.org"
ONE = b"frame-ancestors 'self' https://lms.example.org"
NOTEBOOK = RouteEntry("/nb/a", slug="a", ancestors=OURS)
ASKED = RequestHead(b"GET", b"/nb/a/lab", 11, [(b"Host", b"h")])
CSP = b"Content-Security-Policy"

CASES = [
    ([], [(CSP, ONE)]),
    ([(CSP, b"frame-ancestors 'self'; report-uri /r")], [(CSP, ONE + b"; report-uri /r")]),
    ([(CSP, b"default-src 'none'")], [(CSP, b"default-src 'none'"), (CSP, ONE)]),
    ([(CSP, b"")], [(CSP, b""), (CSP, ONE)]),
    (
        [(b"content-SECURITY-policy", b"a b;\tFrame-Ancestors *;sandbox allow-scripts;")],
        [(b"content-SECURITY-policy", b"a b;\t" + ONE + b";sandbox allow-scripts;")],
    ),
    (
        [(CSP, b"a b, frame-ancestors x; c ,frame-ancestors 'none',, d")],
        [(CSP, b"a b, " + ONE + b"; c ,,, d")],
    ),
    (
        [(CSP, b"frame-ancestors a"), (b"X-A", b"1"), (CSP, b"frame-ancestors b; script-src c")],
        [(CSP, ONE), (b"X-A", b"1"), (CSP, b"script-src c")],
    ),
    ([(CSP, b"frame-ancestors a; frame-ancestors b")], [(CSP, ONE)]),
    (
        [(CSP, b"frame-ancestors a"), (CSP, b"frame-ancestors b"), (CSP, b"img-src c, x y")],
        [(CSP, ONE), (CSP, b"img-src c, x y")],
    ),
    ([(CSP, b"frame-ancestors")], [(CSP, ONE)]),
    (
        [(CSP, b"report-uri /frame-ancestors; x-frame-ancestors y; frame-ancestors-x z")],
        [
            (CSP, b"report-uri /frame-ancestors; x-frame-ancestors y; frame-ancestors-x z"),
            (CSP, ONE),
        ],
    ),
    # Browsers know no quotes there: within them a semicolon and a comma part as elsewhere.
    (
        [(CSP, b'report-to "a;frame-ancestors *,b"')],
        [(CSP, b'report-to "a;' + ONE + b',b"')],
    ),
    (
        [(CSP + b"-Report-Only", b"frame-ancestors 'none'")],
        [(CSP + b"-Report-Only", b"frame-ancestors 'none'"), (CSP, ONE)],
    ),
    ([(b"X-Frame-Options", b"DENY")], [(CSP, ONE)]),
    (
        [(b"x-frame-options", b"SAMEORIGIN"), (CSP, b"img-src *"), (b"X-Frame-Options", b"x")],
        [(CSP, b"img-src *"), (CSP, ONE)],
    ),
    (
        [(b"X-A", CSP + b": frame-ancestors 'none'"), (CSP, b"frame-ancestors 'none'")],
        [(b"X-A", CSP + b": frame-ancestors 'none'"), (CSP, ONE)],
    ),
    ([(CSP, ONE)], [(CSP, ONE)]),
]


def told(fields: list[tuple[bytes, bytes]]) -> bytes:
    lines = [b"HTTP/1.1 200 OK", *(b"%b: %b" % field for field in fields)]
    return b"\r\n".join([*lines, b"Content-Length: 2", b"", b""])


def seen(answer: bytes) -> list[tuple[bytes, bytes]]:
    """Return what a client gets of it, without what has nothing to do with frames."""
    fields = [line.split(b": ", 1) for line in answer.split(b"\r\n")[1:-2]]
    others = (b"content-length", b"x-request-id")
    return [(name, value) for name, value in fields if name.lower() not in others]


def through(rules: HeaderRules, block: bytes, relay: Relay, reader: ResponseReader | None) -> bytes:
    head = parse_response(block, b"GET") if reader is None else reader.read(block, b"GET")
    return rules.to_client(head, ASKED, b"id", relay=relay, keep_alive=True)


@pytest.mark.parametrize(("fields", "wanted"), CASES)
def test_that_directive_alone_is_the_gateways(
    fields: list[tuple[bytes, bytes]], wanted: list[tuple[bytes, bytes]]
) -> None:
    rules, reader, relay = HeaderRules(frozenset()), ResponseReader(), Relay(NOTEBOOK)
    for known in (None, reader, reader, reader):
        answer = through(rules, told(fields), relay, known)
        assert sorted(seen(answer)) == sorted(wanted)
    # Set-Cookie keeps a head from being recognised.
    cookie = (b"Set-Cookie", b"a=b")
    answer = through(rules, told([cookie, *fields]), relay, reader)
    assert sorted(seen(answer)) == sorted([cookie, *wanted])


def test_what_was_read_before_is_recognised() -> None:
    for fields, _ in CASES:
        policies = [name for name, _ in fields if name.lower() in (CSP.lower(), b"x-frame-options")]
        head = ResponseReader().read(told(fields), b"GET")
        assert (head.plain is not None) == (len(policies) < 2)


@pytest.mark.parametrize("entry", [RouteEntry("/a"), replace(NOTEBOOK, ancestors=None)])
def test_routes_without_a_word_on_frames_are_left_alone(entry: RouteEntry) -> None:
    rules, reader = HeaderRules(frozenset()), ResponseReader()
    for fields, _ in CASES:
        for known in (None, reader, reader):
            assert seen(through(rules, told(fields), Relay(entry), known)) == fields


def test_two_projects_with_the_same_line_get_their_own() -> None:
    rules, reader = HeaderRules(frozenset()), ResponseReader()
    block = told([(CSP, b"frame-ancestors 'self'")])
    for _ in range(2):
        for ancestors in (OURS, "'self'", "'self' https://b.example.org"):
            relay = Relay(replace(NOTEBOOK, ancestors=ancestors))
            wanted = [(CSP, b"frame-ancestors " + ancestors.encode())]
            assert seen(through(rules, block, relay, reader)) == wanted


def test_more_policies_than_are_remembered_are_rewritten() -> None:
    rules, reader = HeaderRules(frozenset()), ResponseReader()
    for number in range(3000):
        block = told([(CSP, b"script-src 'nonce-%d'; frame-ancestors x" % number)])
        wanted = [(CSP, b"script-src 'nonce-%d'; %b" % (number, ONE))]
        assert seen(through(rules, block, Relay(NOTEBOOK), reader)) == wanted


def test_interim_answer_has_no_policy() -> None:
    head = parse_response(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", b"GET")
    assert head.framing is Framing.NONE
    rules = HeaderRules(frozenset())
    answer = rules.to_client(head, ASKED, b"id", relay=Relay(NOTEBOOK), keep_alive=True)
    assert CSP not in answer


async def test_client_is_told_who_may_frame_a_notebook(tmp_path: Path) -> None:
    answers = [
        told([(b"X-Frame-Options", b"DENY")]) + b"ok",
        b"HTTP/1.1 200 OK\r\nContent-Security-Policy: img-src *\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\nContent-Security-Policy: frame-ancestors *\r\n\r\n",
    ]

    async def answer(wire: Wire) -> None:
        while True:
            message = await wire.request()
            await wire.send(answers[int(message.start.split(b" ")[1].rpartition(b"/")[2])])

    async with Upstream(answer) as server, rig(tmp_path, server.target) as proxy:
        entry = replace(NOTEBOOK, target=server.target)
        proxy.gate.rule = lambda head, client: Relay(entry, "alice")
        for number in range(len(answers)):
            request = b"GET /nb/a/%d HTTP/1.1\r\nHost: h\r\n\r\n" % number
            got = await proxy.ask(request)
            policies = got.all(CSP.lower())
            assert policies[-1] == ONE
            assert not got.all(b"x-frame-options")


def test_directive_that_is_named_over_and_over_makes_no_answer_longer() -> None:
    """A notebook could fill the memory: with one answer, and with lines that are remembered."""
    rules = FrameRules()
    for number in range(50):
        line = b"Content-Security-Policy: x%d" % number + b",frame-ancestors" * 200
        head = b"HTTP/1.1 200 OK\r\n" + line + b"\r\n"
        assert rules.head_with(OURS, head, line).count(b"frame-ancestors") == 1
    remembered = [line for line in rules._known.values() if len(line) > 500]
    assert remembered == []
    many = [(CSP, b"frame-ancestors x;" * 20)] * 60
    answer = through(HeaderRules(frozenset()), told(many), Relay(NOTEBOOK), None)
    assert answer.count(b"frame-ancestors") == 1


def test_line_that_is_long_is_not_remembered() -> None:
    rules = FrameRules()
    line = b"Content-Security-Policy: frame-ancestors x; img-src " + b"y" * 5000
    head = rules.head_with(OURS, b"HTTP/1.1 200 OK\r\n" + line + b"\r\n", line)
    assert head.count(ONE) == 1
    assert rules._known == {}
