"""What upstreams and clients are told: headers in both directions."""

from __future__ import annotations

import pytest

from tests.chp.harness import SWITCH, UPGRADE, Rig, get, rig, url
from tests.proxy.upstreams import Upstream, parsed
from tests.proxy.wire import Message


async def seen(proxy: Rig, data: bytes) -> Message:
    """Return the request that the upstream saw."""
    answer = await proxy.ask(data)
    assert answer.status == 200, answer
    return parsed(answer.body)


async def test_headers_pass_as_written_repeated_and_in_order(proxy: Rig) -> None:
    lines = (
        b"X-MiXeD: One", b"x-mixed:two", b"COOKIE: a=1", b"Cookie: b=2; _xsrf=x",
        b"Authorization: token abc", b"X-Real-IP: 9.9.9.9", b"X-Scheme: https",
        b"Forwarded: for=9.9.9.9", b"X-Request-ID: mine", b"X-Empty:", b"X-Nbgate-User: x",
    )  # fmt: skip
    message = await seen(proxy, get("/x", *lines, host=b"Hub.Example:99"))
    forwarded = [field for field in message.headers if field[0].startswith(b"X-Forwarded-")]
    assert [field for field in message.headers if field not in forwarded] == [
        (b"Host", b"Hub.Example:99"), (b"X-MiXeD", b"One"), (b"x-mixed", b"two"),
        (b"COOKIE", b"a=1"), (b"Cookie", b"b=2; _xsrf=x"), (b"Authorization", b"token abc"),
        (b"X-Real-IP", b"9.9.9.9"), (b"X-Scheme", b"https"), (b"Forwarded", b"for=9.9.9.9"),
        (b"X-Request-ID", b"mine"), (b"X-Empty", b""), (b"X-Nbgate-User", b"x"),
    ]  # fmt: skip


async def test_forwarded_headers_tell_the_client(proxy: Rig) -> None:
    message = await seen(proxy, get("/", host=b"hub.example:99"))
    assert message.one(b"x-forwarded-for") == b"127.0.0.1"
    assert message.one(b"x-forwarded-proto") == b"http"
    assert message.one(b"x-forwarded-port") == b"99"
    assert message.one(b"x-forwarded-host") == b"hub.example:99"
    assert (await seen(proxy, get("/", host=b"hub"))).one(b"x-forwarded-port") == b"80"


async def test_forwarded_headers_are_appended_to_and_host_is_left(proxy: Rig) -> None:
    told = (
        b"X-Forwarded-For: 1.1.1.1", b"x-forwarded-for: 2.2.2.2", b"X-Forwarded-Proto: https",
        b"X-Forwarded-Port: 443", b"X-Forwarded-Host: real.example",
    )  # fmt: skip
    for _ in range(2):  # also when the headers were seen before
        message = await seen(proxy, get("/", *told, host=b"hub:1"))
        assert message.one(b"x-forwarded-for") == b"1.1.1.1,2.2.2.2,127.0.0.1"
        assert message.one(b"x-forwarded-proto") == b"https,http"
        assert message.one(b"x-forwarded-port") == b"443,1"
        assert message.one(b"x-forwarded-host") == b"real.example"


async def test_forwarded_headers_follow_each_request_of_a_connection(proxy: Rig) -> None:
    async with await proxy.connect() as client:
        for number in (b"1", b"2", b"2", b"3"):
            await client.send(get("/", b"X-Forwarded-For: 9.9.9." + number, host=b"h:" + number))
            message = parsed((await client.response()).body)
            assert message.one(b"x-forwarded-for") == b"9.9.9.%b,127.0.0.1" % number
            assert message.one(b"x-forwarded-port") == number


async def test_forwarded_headers_can_be_left_alone(echoing: Upstream) -> None:
    async with rig("--no-x-forward", "--default-target", url(echoing.port)) as proxy:
        assert not [n for n in (await seen(proxy, get("/"))).names() if n.startswith(b"x-")]
        message = await seen(proxy, get("/", b"X-Forwarded-For: 1.1.1.1"))
        assert message.one(b"x-forwarded-for") == b"1.1.1.1"


async def test_upgrades_are_told_as_ws(upstream: Upstream) -> None:
    async with rig("--default-target", url(upstream.port)) as proxy:
        client = await proxy.connect()
        await client.send(UPGRADE % b"/ws")
        server = await upstream.take()
        message = await server.head()
        assert message.one(b"x-forwarded-proto") == b"ws"
        assert message.one(b"upgrade") == b"websocket"
        assert message.one(b"connection") == b"Upgrade"
        await server.send(SWITCH)
        assert (await client.head()).status == 101


async def test_hop_by_hop_headers_end_here(proxy: Rig) -> None:
    lines = (
        b"Connection: close, X-Hop", b"X-Hop: 1", b"Keep-Alive: timeout=9", b"TE: trailers",
        b"Proxy-Authorization: Basic eA==", b"Proxy-Connection: keep-alive", b"Upgrade: h2c",
        b"HTTP2-Settings: x",
    )  # fmt: skip
    message = await seen(proxy, get("/", *lines))
    assert {name for name in message.names() if not name.startswith(b"x-forwarded-")} == {b"host"}


async def test_custom_headers_replace_the_clients(echoing: Upstream) -> None:
    flags = ("--custom-header", "X-One: 1", "--custom-header", " x-two:a:b ")
    async with rig(*flags, "--default-target", url(echoing.port)) as proxy:
        message = await seen(proxy, get("/", b"X-ONE: client", b"X-Two: client"))
        assert message.one(b"x-one") == b"1"
        assert message.one(b"x-two") == b"a:b"


async def test_last_of_custom_headers_with_one_name_is_sent(echoing: Upstream) -> None:
    flags = ("--custom-header=X-One: 1", "--custom-header=x-one: 2", "--custom-header=Host: other")
    async with rig(*flags, "--change-origin", "--default-target", url(echoing.port)) as proxy:
        message = await seen(proxy, get("/"))
        assert message.one(b"x-one") == b"2"
        assert message.one(b"host") == b"other"
        assert (await seen(proxy, b"GET / HTTP/1.0\r\n\r\n")).one(b"host") == b"other"


async def test_forwarded_headers_can_be_set(echoing: Upstream) -> None:
    flags = ("--custom-header=X-Forwarded-Proto: https", "--custom-header=X-Forwarded-Host: pub")
    async with rig(*flags, "--default-target", url(echoing.port)) as proxy:
        message = await seen(proxy, get("/", b"X-Forwarded-Proto: http"))
        assert message.one(b"x-forwarded-proto") == b"https"
        assert message.one(b"x-forwarded-host") == b"pub"
        assert message.one(b"x-forwarded-for") == b"127.0.0.1"


async def test_origin_can_be_changed(echoing: Upstream) -> None:
    async with rig("--change-origin", "--default-target", url(echoing.port)) as proxy:
        message = await seen(proxy, get("/", host=b"hub.example"))
        assert message.one(b"host") == b"127.0.0.1:%d" % echoing.port
        assert message.one(b"x-forwarded-host") == b"hub.example"


async def test_client_without_a_host_is_given_one(proxy: Rig, echoing: Upstream) -> None:
    message = await seen(proxy, b"GET / HTTP/1.0\r\n\r\n")
    assert message.one(b"host") == b"127.0.0.1:%d" % echoing.port


ANSWER = (
    b"HTTP/1.1 %b\r\nContent-Length: 0\r\nSeT-CooKie: a=1; Domain=example.org\r\n"
    b"Set-Cookie: b=2\r\nX-Request-ID: theirs\r\nKeep-Alive: timeout=5\r\n"
    b"Connection: keep-alive\r\nAccess-Control-Allow-Origin: *\r\nX-UP: 1\r\n%b\r\n"
)


async def answered(proxy: Rig, upstream: Upstream, answer: bytes, *headers: bytes) -> Message:
    """Return what a client gets of an upstream's answer."""
    async with await proxy.connect() as client:
        await client.send(get("/x", *headers, host=b"hub.example:8000"))
        server = await upstream.take()
        await server.request()
        await server.send(answer)
        told = await client.response()
        await server.close()
        return told


async def test_answers_pass_as_written_and_say_keep_alive(upstream: Upstream) -> None:
    async with rig("--default-target", url(upstream.port)) as proxy:
        told = await answered(proxy, upstream, ANSWER % (b"404 Not There", b""))
        assert told.start == b"HTTP/1.1 404 Not There"
        assert told.headers == [
            (b"Content-Length", b"0"), (b"SeT-CooKie", b"a=1; Domain=example.org"),
            (b"Set-Cookie", b"b=2"), (b"X-Request-ID", b"theirs"),
            (b"Access-Control-Allow-Origin", b"*"), (b"X-UP", b"1"),
            (b"Connection", b"keep-alive"),
        ]  # fmt: skip
        plain = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-A: b\r\n\r\n"
        told = await answered(proxy, upstream, plain)
        assert told.one(b"connection") == b"keep-alive"
        told = await answered(proxy, upstream, plain, b"Connection: close")
        assert told.one(b"connection") == b"close"


LOCATIONS = [
    ((), b"http://127.0.0.1:{up}/a?b#c", b"http://127.0.0.1:{up}/a?b#c"),
    (("--auto-rewrite",), b"http://127.0.0.1:{up}/a%20?b#c", b"http://hub.example:8000/a%20?b#c"),
    (("--auto-rewrite",), b"http://other:{up}/a", b"http://other:{up}/a"),
    (("--auto-rewrite",), b"/a", b"/a"),
    (("--auto-rewrite",), b"http://127.0.0.1:1/a", b"http://127.0.0.1:1/a"),
    (("--protocol-rewrite", "https"), b"http://127.0.0.1:{up}/a", b"https://127.0.0.1:{up}/a"),
    (
        ("--auto-rewrite", "--protocol-rewrite=https"),
        b"http://127.0.0.1:{up}/a",
        b"https://hub.example:8000/a",
    ),
]


@pytest.mark.parametrize(("flags", "sent", "told"), LOCATIONS)
@pytest.mark.parametrize("status", [b"201 Created", b"302 Found", b"308 Permanent Redirect"])
async def test_location_is_rewritten_where_asked_and_where_it_names_the_target(
    upstream: Upstream, flags: tuple[str, ...], sent: bytes, told: bytes, status: bytes
) -> None:
    port = b"%d" % upstream.port
    async with rig(*flags, "--default-target", url(upstream.port)) as proxy:
        line = b"location: " + sent.replace(b"{up}", port) + b"\r\n"
        answer = await answered(proxy, upstream, ANSWER % (status, line))
        assert answer.one(b"location") == told.replace(b"{up}", port)


async def test_location_of_other_answers_is_left(upstream: Upstream) -> None:
    async with rig("--auto-rewrite", "--default-target", url(upstream.port)) as proxy:
        line = b"Location: http://127.0.0.1:%d/a\r\n" % upstream.port
        answer = await answered(proxy, upstream, ANSWER % (b"200 OK", line))
        assert answer.one(b"location") == b"http://127.0.0.1:%d/a" % upstream.port


async def test_chunked_delete_is_forwarded_with_its_framing(upstream: Upstream) -> None:
    """A known fault of configurable-http-proxy: it sends `content-length: 0` and then the body."""
    async with rig("--default-target", url(upstream.port)) as proxy:
        client = await proxy.connect()
        await client.send(
            b"DELETE /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"5\r\nGET /\r\n0\r\n\r\n"
        )
        server = await upstream.take()
        message = await server.request()
        assert message.one(b"content-length") is None
        assert message.one(b"transfer-encoding") == b"chunked"
        assert message.body == b"GET /"


async def test_ambiguous_framing_is_refused(proxy: Rig) -> None:
    data = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert (await proxy.ask(data + b"0\r\n\r\n")).status == 400
