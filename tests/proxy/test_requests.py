"""What an upstream sees of a request."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.proxy.harness import Rig, rig
from tests.proxy.upstreams import Upstream, echo, parsed


async def seen(echoing: Rig, lines: bytes, start: bytes = b"GET / HTTP/1.1") -> dict[bytes, bytes]:
    """Return the headers that arrive upstream, by lower-case name; `lines` end in CR LF."""
    answer = await echoing.ask(b"%b\r\nHost: h.example\r\n%b\r\n" % (start, lines))
    assert answer.status == 200
    message = parsed(answer.body)
    return {name.lower(): value for name, value in message.headers}


@pytest.mark.parametrize(
    "target",
    [
        b"/",
        b"/a%2Fb",
        b"/a%2fb",
        b"/100%25",
        b"/a%20b",
        b"/a;b=c/d",
        b"//a///b//",
        b"/a/../b/./c",
        b"/a?",
        b"/a?x=1&x=2&&y=%26;z",
        b"/a?b?c",
        b"/jos\xc3\xa9",
        b"/jos%C3%A9",
        b"/%",
        b"/a'\"<>[]{}|\\^`~!$()*,:@&=+",
        b"/" + b"x" * 8000,
        b"/" * 8000,
    ],
)
async def test_path_and_query_arrive_byte_for_byte(echoing: Rig, target: bytes) -> None:
    answer = await echoing.ask(b"GET %b HTTP/1.1\r\nHost: h\r\n\r\n" % target)
    assert parsed(answer.body).target == target


async def test_target_path_is_put_before_raw_path(tmp_path: Path) -> None:
    async with Upstream(echo) as server, rig(tmp_path) as proxy:
        target = type(server.target)("127.0.0.1", server.port, path="/base%2F")
        proxy.entry = type(proxy.entry)("/", target)
        answer = await proxy.ask(b"GET /a%2Fb?q HTTP/1.1\r\nHost: h\r\n\r\n")
        assert parsed(answer.body).target == b"/base%2F/a%2Fb?q"


@pytest.mark.parametrize(
    "method", ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND", "MKCOL"]
)
async def test_method_arrives(echoing: Rig, method: str) -> None:
    answer = await echoing.ask(f"{method} / HTTP/1.1\r\nHost: h\r\n\r\n".encode())
    assert parsed(answer.body).start == f"{method} / HTTP/1.1".encode()


async def test_host_is_preserved(echoing: Rig) -> None:
    headers = await seen(echoing, b"")
    assert headers[b"host"] == b"h.example"


async def test_absolute_target_arrives_as_path(echoing: Rig) -> None:
    answer = await echoing.ask(b"GET http://H:80/a%2F?b HTTP/1.1\r\nHost: h:80\r\n\r\n")
    assert parsed(answer.body).target == b"/a%2F?b"


async def test_hop_by_hop_headers_end_here(echoing: Rig) -> None:
    headers = await seen(
        echoing,
        b"Connection: keep-alive, X-Secret-Hop\r\nX-Secret-Hop: 1\r\nKeep-Alive: timeout=5\r\n"
        b"TE: trailers\r\nProxy-Authorization: Basic x\r\nProxy-Connection: close\r\n"
        b"Upgrade: h2c\r\nHTTP2-Settings: AAA\r\nX-Stays: 1\r\n",
    )
    assert (
        headers.keys()
        & {
            b"connection",
            b"x-secret-hop",
            b"keep-alive",
            b"te",
            b"proxy-authorization",
            b"proxy-connection",
            b"upgrade",
            b"http2-settings",
        }
        == set()
    )
    assert headers[b"x-stays"] == b"1"


async def test_connection_cannot_name_essential_headers_away(echoing: Rig) -> None:
    answer = await echoing.ask(
        b"POST / HTTP/1.1\r\nHost: h\r\nConnection: Host, Content-Length, X-Forwarded-For\r\n"
        b"Content-Length: 3\r\n\r\nabc"
    )
    message = parsed(answer.body)
    assert message.body == b"abc"
    assert {b"host", b"content-length", b"x-forwarded-for"} <= message.names()


async def test_repeated_headers_are_kept_in_order(echoing: Rig) -> None:
    answer = await echoing.ask(
        b"GET / HTTP/1.1\r\nHost: h\r\nX-A: 1\r\nAccept: a\r\nX-A: 2\r\nx-a: 3\r\n\r\n"
    )
    message = parsed(answer.body)
    assert message.all(b"x-a") == [b"1", b"2", b"3"]
    assert [name for name, _ in message.headers[:5]] == [b"Host", b"X-A", b"Accept", b"X-A", b"x-a"]


async def test_untrusted_forwarding_headers_are_replaced(echoing: Rig) -> None:
    headers = await seen(
        echoing,
        b"X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\n"
        b"X-Forwarded-Port: 666\r\nForwarded: for=6.6.6.6;proto=https\r\nX-Real-IP: 6.6.6.6\r\n"
        b"X-Forwarded-Prefix: /evil\r\nX-Scheme: https\r\nX_Forwarded_For: 6.6.6.6\r\n",
    )
    assert headers[b"x-forwarded-for"] == b"127.0.0.1"
    assert headers[b"x-forwarded-proto"] == b"http"
    assert headers[b"x-forwarded-host"] == b"h.example"
    assert headers[b"x-forwarded-port"] == b"80"
    assert headers[b"forwarded"] == b'for=127.0.0.1;host="h.example";proto=http'
    names = {b"x-real-ip", b"x-forwarded-prefix", b"x-scheme", b"x_forwarded_for"}
    assert headers.keys() & names == set()


async def test_trusted_proxys_word_is_taken(tmp_path: Path) -> None:
    async with Upstream(echo) as server, rig(tmp_path, server.target, trusted=["127.0.0.0/8"]) as p:
        headers = await seen(
            p,
            b"X-Forwarded-For: 6.6.6.6, 203.0.113.7, 127.0.0.9\r\nX-Forwarded-Proto: https\r\n"
            b"X-Forwarded-Host: www.example:8443\r\n",
        )
        client = p.gate.seen[0][1]
    assert headers[b"x-forwarded-for"] == b"203.0.113.7, 127.0.0.1"
    assert headers[b"x-forwarded-proto"] == b"https"
    assert headers[b"x-forwarded-host"] == b"www.example:8443"
    assert headers[b"x-forwarded-port"] == b"8443"
    assert headers[b"host"] == b"h.example"
    assert (client.address, client.scheme, client.host, client.port, client.trusted) == (
        "203.0.113.7",
        "https",
        "www.example:8443",
        8443,
        True,
    )


async def test_sane_request_id_and_traceparent_are_kept(echoing: Rig) -> None:
    headers = await seen(echoing, b"X-Request-ID: abc-1.2\r\ntraceparent: 00-a-b-01\r\n")
    assert headers[b"x-request-id"] == b"abc-1.2"
    assert headers[b"traceparent"] == b"00-a-b-01"


@pytest.mark.parametrize("told", [b"a b", b"<script>", b"x" * 129, b""])
async def test_request_id_that_is_not_sane_is_replaced(echoing: Rig, told: bytes) -> None:
    headers = await seen(echoing, b"X-Request-ID: %b\r\n" % told)
    assert headers[b"x-request-id"] != told
    assert len(headers[b"x-request-id"]) >= 16


async def test_each_request_has_an_id_of_its_own(echoing: Rig) -> None:
    first, second = await seen(echoing, b""), await seen(echoing, b"")
    assert first[b"x-request-id"] != second[b"x-request-id"]


async def test_accept_encoding_and_encoded_bodies_are_untouched(
    proxy: Rig, upstream: Upstream
) -> None:
    async with await proxy.connect() as client:
        await client.send(b"GET / HTTP/1.1\r\nHost: h\r\nAccept-Encoding: gzip, br\r\n\r\n")
        server = await upstream.take()
        assert (await server.request()).one(b"accept-encoding") == b"gzip, br"
        body = b"\x1f\x8b\x08\x00not really gzip"
        await server.send(
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b"
            % (len(body), body)
        )
        answer = await client.response()
    assert (answer.one(b"content-encoding"), answer.body) == (b"gzip", body)


async def test_http_10_client_without_host_is_served(echoing: Rig) -> None:
    answer = await echoing.ask(b"GET /x HTTP/1.0\r\n\r\n")
    message = parsed(answer.body)
    assert message.start == b"GET /x HTTP/1.1"
    assert message.one(b"host") is not None
    assert answer.one(b"connection") == b"close"


async def test_http_10_client_can_keep_its_connection(echoing: Rig) -> None:
    async with await echoing.connect() as client:
        for _ in range(2):
            await client.send(b"GET /x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            answer = await client.response()
            assert answer.one(b"connection") == b"keep-alive"


async def test_empty_lines_before_a_request_are_skipped(echoing: Rig) -> None:
    answer = await echoing.ask(b"\r\n\r\nGET /x HTTP/1.1\r\nHost: h\r\n\r\n")
    assert parsed(answer.body).target == b"/x"


async def test_flood_of_empty_lines_is_skipped_in_linear_time(echoing: Rig) -> None:
    async with await echoing.connect() as client:
        await client.send(b"\r\n" * 500_000 + b"GET /x HTTP/1.1\r\nHost: h\r\n\r\n")
        assert parsed((await client.response()).body).target == b"/x"


async def test_head_in_single_bytes_is_read(echoing: Rig) -> None:
    async with await echoing.connect() as client:
        for byte in b"GET /slow HTTP/1.1\r\nHost: h\r\n\r\n":
            await client.send(bytes([byte]))
        assert parsed((await client.response()).body).target == b"/slow"
