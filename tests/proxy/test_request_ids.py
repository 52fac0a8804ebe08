"""X-Request-ID and the trace context on both sides of the data path, in its answers and its log."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path

import pytest

from gateway.proxy.interface import Hold, Local, ProxyLimits, Refuse, RouteEntry
from tests.proxy.harness import Rig, rig
from tests.proxy.upstreams import Upstream, echo, pages_app, parsed
from tests.proxy.wire import Message

ID = b"x-request-id"
MADE = re.compile(rb"[0-9a-f]{32}")
TRACE = {
    b"traceparent": b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    b"tracestate": b"vendor=a b;c,other@x=1",
}
TRACED = b"".join(b"%b: %b\r\n" % field for field in TRACE.items())
NOT_IDS = [b"a b", b'x"y', b"x'y", b"<b>", b"a\tb", b"caf\xe9", b"x" * 129, b"a,b", b"a\\b", b""]
UPGRADE = b"Connection: Upgrade\r\nUpgrade: websocket\r\n"


def get(lines: bytes = b"", path: bytes = b"/") -> bytes:
    return b"GET %b HTTP/1.1\r\nHost: h\r\n%b\r\n" % (path, lines)


def assert_traced(request: Message) -> None:
    for name, value in TRACE.items():
        assert request.all(name) == [value]


async def test_relayed_request_has_one_id_on_both_sides(echoing: Rig) -> None:
    mine = b"az.09-_~+/=:@AZ"
    answer = await echoing.ask(get(b"x-request-ID: %b\r\n%b" % (mine, TRACED)))
    assert answer.all(ID) == [mine]
    assert parsed(answer.body).all(ID) == [mine]
    assert_traced(parsed(answer.body))


async def test_id_is_made_where_the_client_tells_none(echoing: Rig) -> None:
    answers = [await echoing.ask(get()) for _ in range(3)]
    made = [answer.one(ID) or b"" for answer in answers]
    assert all(MADE.fullmatch(one) for one in made)
    assert len(set(made)) == 3
    assert [parsed(answer.body).one(ID) for answer in answers] == made


@pytest.mark.parametrize("sent", NOT_IDS)
async def test_what_is_no_id_is_replaced_on_both_sides(echoing: Rig, sent: bytes) -> None:
    answer = await echoing.ask(get(b"X-Request-ID: %b\r\n" % sent))
    made = answer.one(ID)
    assert made is not None
    assert MADE.fullmatch(made)
    assert parsed(answer.body).all(ID) == [made]


async def test_connection_cannot_name_the_id_away(echoing: Rig) -> None:
    answer = await echoing.ask(get(b"Connection: x-request-id\r\nX-Request-ID: mine\r\n"))
    assert parsed(answer.body).all(ID) == [b"mine"]
    assert answer.all(ID) == [b"mine"]


@pytest.mark.parametrize("told", [b"", b"X-Request-ID: upstreams-own\r\n"])
async def test_handshake_has_one_id_on_both_sides(
    proxy: Rig, upstream: Upstream, told: bytes
) -> None:
    async with await proxy.connect() as client:
        await client.send(get(UPGRADE + b"X-Request-ID: mine\r\n" + TRACED))
        server = await upstream.take()
        request = await server.request()
        assert request.all(ID) == [b"mine"]
        assert_traced(request)
        await server.send(b"HTTP/1.1 101 Switching Protocols\r\n" + UPGRADE + told + b"\r\n")
        answer = await client.response()
    assert (answer.status, answer.all(ID)) == (101, [b"mine"])


async def test_pages_are_told_the_id_and_the_trace(tmp_path: Path) -> None:
    async with pages_app(tmp_path / "pages.sock"), rig(tmp_path) as proxy:
        proxy.gate.rule = lambda head, client: Local()
        kept = await proxy.ask(get(b"X-Request-ID: mine\r\n" + TRACED))
        made = await proxy.ask(get(b'X-Request-ID: "\r\n' + TRACED))
    for answer in (kept, made):
        seen = {name.lower(): value for name, value in json.loads(answer.body)["headers"].items()}
        assert answer.all(ID) == [seen["x-request-id"].encode()]
        assert {name: seen[name.decode()].encode() for name in TRACE} == TRACE
    assert kept.one(ID) == b"mine"
    assert MADE.fullmatch(made.one(ID) or b"")


async def test_refusal_and_missing_upstream_tell_the_id(proxy: Rig) -> None:
    proxy.gate.rule = lambda head, client: Refuse(404, "not-found", "nothing here")
    answer = await proxy.ask(get(b"X-Request-ID: mine\r\n"))
    assert (answer.status, answer.all(ID)) == (404, [b"mine"])
    proxy.gate.rule = lambda head, client: Local()  # and no pages run
    answer = await proxy.ask(get(b"X-Request-ID: mine\r\n"))
    assert answer.status in (502, 503)
    assert answer.all(ID) == [b"mine"]


@pytest.mark.parametrize("sent", [b"mine", *NOT_IDS])
async def test_broken_upstream_is_logged_and_answered_with_the_id(
    proxy: Rig, upstream: Upstream, caplog: pytest.LogCaptureFixture, sent: bytes
) -> None:
    with caplog.at_level(logging.INFO):
        async with await proxy.connect() as client:
            await client.send(get(b"X-Request-ID: %b\r\n" % sent))
            server = await upstream.take()
            await server.request()
            await server.send(b"not HTTP\r\n\r\n")
            answer = await client.response()
    told = answer.one(ID) or b""
    assert answer.status == 502
    assert told == b"mine" or MADE.fullmatch(told)
    (record,) = [one for one in caplog.records if one.name == "gateway.proxy.exchange"]
    assert record.getMessage().endswith(f" request_id={told.decode()}")


async def test_no_target_is_502_with_the_id(tmp_path: Path) -> None:
    async with rig(tmp_path) as proxy:
        proxy.entry = RouteEntry("/", None)
        answer = await proxy.ask(get(b"X-Request-ID: mine\r\n"))
    assert (answer.status, answer.all(ID)) == (502, [b"mine"])


async def test_head_with_control_characters_is_refused_and_not_logged(
    echoing: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        answer = await echoing.ask(get(b"X-Request-ID: a\x01\x1b[31mb\r\n"))
    assert answer.status == 400
    assert b"31mb" not in (answer.one(ID) or b"") + answer.body
    assert "31mb" not in caplog.text


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET /\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n", 408),
        (get(b"X: %b\r\n" % (b"a" * 999)), 431),
    ],
)
async def test_answer_to_an_unreadable_head_has_a_new_id(
    tmp_path: Path, sent: bytes, status: int
) -> None:
    limits = ProxyLimits(head_bytes=512, head_timeout=1.0)
    async with Upstream(echo) as server, rig(tmp_path, server.target, limits) as proxy:
        answer = await proxy.ask(sent)
    assert answer.status == status
    assert MADE.fullmatch(answer.one(ID) or b"")


async def test_id_is_in_the_log_line_of_a_defect(
    proxy: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    entry = proxy.notebook()
    proxy.gate.rule = lambda head, client: Hold(entry)
    proxy.gate.awake.set_exception(RuntimeError("a defect"))
    answer = await proxy.ask(get(ID + b": mine-1\r\n"))
    assert answer.status == 500
    (record,) = [one for one in caplog.records if one.levelno == logging.ERROR]
    assert record.getMessage() == "request failed request_id=mine-1"
    assert record.exc_info is not None
