"""What is told to whom: headers, cookies and tokens of clients, notebooks and plain routes."""

from __future__ import annotations

import pytest

from gateway.proxy.interface import Relay
from tests.proxy.harness import Rig, forwarded
from tests.proxy.upstreams import Upstream, parsed
from tests.proxy.wire import get


async def test_hop_secret_and_user_are_injected(echoing: Rig) -> None:
    echoing.notebook()
    echoing.gate.rule = lambda head, client: Relay(echoing.entry, "alice é/\r\nX: y")
    answer = await echoing.ask(get(b"Authorization: token mine\r\nX-Nbgate-User: root\r\n"))
    message = parsed(answer.body)
    assert message.all(b"authorization") == [b"token s3cret"]
    assert message.all(b"x-nbgate-user") == [b"alice%20%C3%A9%2F%0D%0AX%3A%20y"]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("Ada Lovelace", b"Ada%20Lovelace"),
        ("Zoë <b>\r\nX: y", b"Zo%C3%AB%20%3Cb%3E%0D%0AX%3A%20y"),
        ("\u202eada\ud800", b"%E2%80%AEada%3F"),
        ("x" * 10_000, b"x" * 100),
        ("alice", None),
        ("", None),
    ],
)
async def test_what_a_person_is_called_is_told(echoing: Rig, name: str, told: bytes | None) -> None:
    echoing.notebook()
    echoing.gate.rule = lambda head, client: Relay(echoing.entry, "alice", user_name=name)
    answer = await echoing.ask(get(b"X-Nbgate-User-Name: root\r\nX_Nbgate_User_Name: root\r\n"))
    message = parsed(answer.body)
    assert message.all(b"x-nbgate-user") == [b"alice"]
    assert message.one(b"x-nbgate-user-name") == told
    assert b"x_nbgate_user_name" not in message.names()


async def test_authorization_never_reaches_a_notebook_even_without_a_secret(
    echoing: Rig,
) -> None:
    echoing.notebook(secret=None)
    message = parsed((await echoing.ask(get(b"Authorization: token mine\r\n"))).body)
    assert b"authorization" not in message.names()


async def test_plain_route_gets_authorization_and_token_but_no_user(echoing: Rig) -> None:
    answer = await echoing.ask(get(b"Authorization: token mine\r\n", b"/?token=x"))
    message = parsed(answer.body)
    assert message.one(b"authorization") == b"token mine"
    assert message.target == b"/?token=x"
    assert b"x-nbgate-user" not in message.names()


@pytest.mark.parametrize(
    "name", [b"X-Nbgate-User", b"X-Nbgate-User-Name", b"x-nbgate-scheme", b"X_Nbgate_User"]
)
async def test_clients_cannot_speak_in_our_name(echoing: Rig, name: bytes) -> None:
    message = parsed((await echoing.ask(get(b"%b: root\r\n" % name))).body)
    assert not [key for key in message.names() if b"nbgate" in key]


@pytest.mark.parametrize(
    ("sent", "arrives"),
    [
        (b"nbgate-session=s", None),
        (b"a=1; nbgate-session=s; b=2", b"a=1; b=2"),
        (b"nbgate-session=s; b=2", b"b=2"),
        (b"a=1;nbgate-session=s", b"a=1"),
        (b"__Host-nbgate=s; __Host-nbgate-state=t; nbgate-state=u; _xsrf=x", b"_xsrf=x"),
        (b"nbgate-session=s; nbgate-session=t", None),
        (b"nbgate-session =s; a=1", b"a=1"),
        (b"nbgate-session~flotpython=s; __Host-nbgate~flotbioinfo=t; a=1", b"a=1"),
        (b"a~nbgate-session=1", b"a~nbgate-session=1"),
        (b"nbgate-session; a=1", b"a=1"),
        (b"my-nbgate-session=1; nbgate-sessions=2", b"my-nbgate-session=1; nbgate-sessions=2"),
        (b'a="b c";  d', b'a="b c";  d'),
    ],
)
@pytest.mark.parametrize("notebook", [True, False])
async def test_gateway_cookies_never_reach_an_upstream(
    echoing: Rig, sent: bytes, arrives: bytes | None, notebook: bool
) -> None:
    if notebook:
        echoing.notebook()
    message = parsed((await echoing.ask(get(b"Cookie: %b\r\n" % sent))).body)
    assert message.one(b"cookie") == arrives


async def test_gateway_cookies_are_removed_from_each_cookie_header(echoing: Rig) -> None:
    lines = b"Cookie: a=1\r\nCookie: nbgate-session=s\r\ncookie: __Host-nbgate=t; b=2\r\n"
    message = parsed((await echoing.ask(get(lines))).body)
    assert message.all(b"cookie") == [b"a=1", b"b=2"]


@pytest.mark.parametrize(
    ("sent", "arrives"),
    [
        (b"/lab?token=x", b"/lab"),
        (b"/lab?token=x&a=%2F", b"/lab?a=%2F"),
        (b"/lab?a=1&token=x", b"/lab?a=1"),
        (b"/lab?a=1&token=x&b=2&&token=y&c", b"/lab?a=1&b=2&&c"),
        (b"/lab?tok%65n=x&a=1", b"/lab?a=1"),
        (b"/lab?token", b"/lab"),
        (b"/lab?tokens=1&xtoken=2&Token=3", b"/lab?tokens=1&xtoken=2&Token=3"),
        (b"/lab?a=token=x", b"/lab?a=token=x"),
        (b"/lab?", b"/lab?"),
        (b"/token=x?b", b"/token=x?b"),
    ],
)
async def test_token_never_reaches_a_notebook(echoing: Rig, sent: bytes, arrives: bytes) -> None:
    echoing.notebook()
    assert parsed((await echoing.ask(get(b"", sent))).body).target == arrives


NOTEBOOK_ANSWER = (
    b"HTTP/1.1 200 OK\r\nSet-Cookie: username-h-8888=x; Path=/\r\nSet-Cookie: _xsrf=1; Path=/\r\n"
    b"Access-Control-Allow-Origin: *\r\naccess-control-allow-credentials: true\r\n"
    b"Set-Cookie: nbgate-session=evil\r\nSet-Cookie: __Host-nbgate=evil; Secure\r\n"
    b"Set-Cookie: nbgate-session~demo=evil\r\n"
    b"Set-Cookie: kept=2\r\nSet-Cookie: =nbgate-session=nameless\r\n"
    b"Set-Cookie: wide=1; Path=/lab; Domain=nb.example.org\r\nX-A: 1\r\nContent-Length: 0\r\n\r\n"
)
FOR_ORIGIN = {
    b"service-worker-allowed": b"/",
    b"clear-site-data": b'"cookies"',
    b"nel": b'{"report_to": "evil", "max_age": 9999, "success_fraction": 1}',
    b"report-to": b'{"group": "evil", "endpoints": [{"url": "https://evil.example/"}]}',
    b"strict-transport-security": b"max-age=9999; includeSubDomains",
    b"alt-svc": b'h2=":8443"',
}


async def test_notebooks_login_cookies_and_cors_do_not_reach_the_client(
    proxy: Rig, upstream: Upstream
) -> None:
    proxy.notebook()
    client, server = await forwarded(proxy, upstream)
    await server.send(NOTEBOOK_ANSWER)
    answer = await client.response()
    assert answer.all(b"set-cookie") == [b"_xsrf=1; Path=/", b"kept=2"]
    assert answer.names() == {b"set-cookie", b"x-a", b"content-length", b"x-request-id"}


@pytest.mark.parametrize("name", FOR_ORIGIN)
async def test_notebook_tells_browsers_nothing_about_the_whole_origin(
    proxy: Rig, upstream: Upstream, name: bytes
) -> None:
    """In path routing the origin is the gateway's, and every notebook's."""
    proxy.notebook()
    client, server = await forwarded(proxy, upstream)
    line = b"%b: %b\r\n" % (name.title(), FOR_ORIGIN[name])
    await server.send(b"HTTP/1.1 200 OK\r\nX-A: 1\r\n%bContent-Length: 0\r\n\r\n" % line)
    assert (await client.response()).names() == {b"x-a", b"content-length", b"x-request-id"}


async def test_no_trailer_says_what_a_header_may_not(proxy: Rig, upstream: Upstream) -> None:
    proxy.notebook()
    client, server = await forwarded(proxy, upstream)
    unsaid = FOR_ORIGIN | {
        b"set-cookie": b"a=b",
        b"content-security-policy": b"frame-ancestors *",
        b"x-frame-options": b"ALLOWALL",
        b"access-control-allow-origin": b"*",
        b"x-request-id": b"mine",
        b"connection": b"close",
    }
    lines = b"".join(b"%b: %b\r\n" % (name.title(), value) for name, value in unsaid.items())
    await server.send(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Sum: 1\r\n%b\r\n" % lines
    )
    assert (await client.response()).trailers == [(b"X-Sum", b"1")]


async def test_plain_routes_cookies_but_the_gateways_and_cors_reach_the_client(
    proxy: Rig, upstream: Upstream
) -> None:
    client, server = await forwarded(proxy, upstream)
    await server.send(NOTEBOOK_ANSWER)
    answer = await client.response()
    kept = [cookie.partition(b"=")[0] for cookie in answer.all(b"set-cookie")]
    assert kept == [b"username-h-8888", b"_xsrf", b"kept", b"wide"]
    assert answer.one(b"access-control-allow-origin") == b"*"
