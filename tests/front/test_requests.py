"""What reaches an upstream is what the client sent, and nothing that it must not say."""

import re

import pytest

from gateway.launch.cookies import GATEWAY_COOKIES
from tests.front.conftest import StartFront
from tests.front.upstream import Upstream, told
from tests.support.front import HTTPD, RouteFiles

pytestmark = pytest.mark.asyncio(loop_scope="package")

RAW = [
    "/nb/alice/a%2Fb",
    "/nb/alice/100%25",
    "/nb/alice/what%3F",
    "/nb/alice/what%3F?really%3F",
    "/nb/alice/a%20b;c=d",
    "/nb/alice//empty///segments/",
    "/nb/alice/%E2%82%AC",
    "/nb/alice/~%7E!$&'()*+,=:@",
    "/nb/alice/?a=1&b=%26&c=;&d=?",
    "/nb/alice/$1${routes:x}$0",
    "/nb/alice/../bob/",
    "/nb/alice/./x/%2e%2e/y",
]


@pytest.mark.parametrize("target", [*RAW, "/elsewhere/../x%2F?"])
@pytest.mark.parametrize("key", ["/nb/alice", "/nb/other"])
async def test_target_is_kept_byte_for_byte(
    start_front: StartFront, routes: RouteFiles, notebook: Upstream, key: str, target: str
) -> None:
    routes.write({key: notebook.address})
    front = await start_front()
    answer = told(await front.ask(target))
    direct = key == "/nb/alice" and target.startswith("/nb/alice")
    assert (answer.by, answer.target) == ("notebook" if direct else "gateway", target)


@pytest.mark.parametrize("target", ["/%%30", "/%{ENV:PATH}", "/%zz", "/%2", "/a%00b", "/../x"])
async def test_targets_that_cannot_be_decoded_are_refused(
    start_front: StartFront, gateway: Upstream, target: str
) -> None:
    front = await start_front()
    assert (await front.ask(target)).status in (400, 404)
    assert gateway.seen == []


async def test_absolute_url_is_taken_apart(
    start_front: StartFront, routes: RouteFiles, notebook: Upstream
) -> None:
    routes.write({"docs.example.org": notebook.address})
    front = await start_front()
    answer = told(await front.ask("http://docs.example.org/a%2Fb?c", host="other.example.org"))
    assert (answer.by, answer.target) == ("notebook", "/a%2Fb?c")
    assert answer.one("Host") == "docs.example.org"


async def test_front_is_no_open_proxy(start_front: StartFront, notebook: Upstream) -> None:
    front = await start_front()
    assert told(await front.ask(f"http://{notebook.address}/")).by == "gateway"
    assert notebook.seen == []


@pytest.mark.parametrize(
    "request_line",
    [
        "CONNECT 127.0.0.1:9 HTTP/1.1",
        "TRACE / HTTP/1.1",
        "GET relative HTTP/1.1",
        "GET ftp://127.0.0.1/ HTTP/1.1",
        "GET  / HTTP/1.1",
        "GET /a b HTTP/1.1",
        "GET /",
    ],
)
async def test_odd_request_lines_are_refused(
    start_front: StartFront, gateway: Upstream, request_line: str
) -> None:
    front = await start_front()
    request = f"{request_line}\r\nHost: x.example.org\r\nConnection: close\r\n\r\n"
    assert (await front.send(request.encode())).status in (400, 405)
    assert gateway.seen == []


@pytest.mark.parametrize(
    "fields",
    [
        "Content-Length: 3\r\nContent-Length: 5",
        "Content-Length: +3",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: xchunked",
        "Bad Name: x",
        "Name : x",
        "X: a\r\n folded\x01",
        "Host: second.example.org",
    ],
)
async def test_ambiguous_requests_are_refused(
    start_front: StartFront, gateway: Upstream, fields: str
) -> None:
    front = await start_front()
    head = f"POST / HTTP/1.1\r\nHost: x.example.org\r\nConnection: close\r\n{fields}\r\n\r\n"
    answer = await front.send(head.encode() + b"abcde")
    assert answer.status in (400, 501)
    assert gateway.seen == []


@pytest.mark.parametrize("path", ["/nb/alice/", "/elsewhere"])
async def test_claims_of_the_client_are_replaced(
    start_front: StartFront, routes: RouteFiles, notebook: Upstream, path: str
) -> None:
    routes.write({"/nb/alice": notebook.address})
    front = await start_front()
    claims = {
        "X-Forwarded-For": "192.0.2.1",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "evil.example.org",
        "X-Forwarded-Port": "1",
        "X-Forwarded-Prefix": "/x",
        "Forwarded": "for=192.0.2.1",
        "X-Nbgate-Client": "192.0.2.1",
        "X-Nbgate-Scheme": "https",
        "X-Nbgate-Reason": "waiting",
        "X-Nbgate-Slug": "bob",
        "X-Nbgate-User": "root",
        "X-Nbgate-User-Name": "Root",
        "X-Request-ID": "mine",
    }
    answer = told(await front.ask(path, host="me.example.org:81", headers=claims))
    assert answer.one("X-Forwarded-For") == "127.0.0.1"
    assert answer.one("X-Forwarded-Proto") == "http"
    assert answer.one("X-Forwarded-Host") == answer.one("Host") == "me.example.org:81"
    assert answer.one("X-Request-ID") == "mine"
    for name in claims.keys() - {
        "X-Forwarded-For",
        "X-Forwarded-Proto",
        "X-Forwarded-Host",
        "X-Request-ID",
    }:
        assert answer.one(name) is None, name


async def test_trusted_proxy_in_front_tells_address_and_scheme(start_front: StartFront) -> None:
    front = await start_front(NBGATE_TRUSTED_PROXY="127.0.0.0/8")
    claims = {"X-Forwarded-For": "198.51.100.9, 192.0.2.1", "X-Forwarded-Proto": "https"}
    answer = told(await front.ask("/", headers=claims))
    assert (answer.one("X-Forwarded-For") or "").endswith("192.0.2.1")
    assert answer.one("X-Forwarded-Proto") == "https"
    assert told(await front.ask("/")).one("X-Forwarded-Proto") == "http"


@pytest.mark.parametrize(
    ("trusted", "heard"), [("", False), ("192.0.2.7", False), ("127.0.0.1", True)]
)
async def test_who_somebody_is_is_told_by_a_trusted_proxy_alone(
    start_front: StartFront, trusted: str, heard: bool
) -> None:
    names = {"NBGATE_USER_HEADER": "X-Remote-User", "NBGATE_USER_NAME_HEADER": "X-Remote-Name"}
    front = await start_front(NBGATE_TRUSTED_PROXY=trusted, **names)
    said = {"X-Remote-User": "the-teacher", "x-remote-name": "The Teacher"}
    seen = told(await front.ask("/nb/alice/lab", headers=said))
    assert seen.by == "gateway"
    assert seen.one("X-Remote-User") == ("the-teacher" if heard else None)
    assert seen.one("X-Remote-Name") == ("The Teacher" if heard else None)


async def test_untrusted_client_beside_a_trusted_proxy_tells_nothing(
    start_front: StartFront,
) -> None:
    front = await start_front(NBGATE_TRUSTED_PROXY="192.0.2.0/24")
    claims = {"X-Forwarded-For": "192.0.2.1", "X-Forwarded-Proto": "https"}
    answer = told(await front.ask("/", headers=claims))
    assert answer.one("X-Forwarded-For") == "127.0.0.1"
    assert answer.one("X-Forwarded-Proto") == "http"


@pytest.mark.parametrize(
    ("sent", "left"),
    [
        ("nbgate-session=s", None),
        ("a=1; nbgate-session=s; b=2", "a=1; b=2"),
        ("nbgate-session=s; b=2", "b=2"),
        ("a=1;__Host-nbgate=s", "a=1"),
        ("nbgate-session~demo=s; a=1; __Host-nbgate~demo=t", "a=1"),
        ("__Host-nbgate-state=s; nbgate-state=t; nbgate-session=u", None),
        ("xnbgate-session=s; nbgate-sessions=t", "xnbgate-session=s; nbgate-sessions=t"),
    ],
)
async def test_cookies_of_the_gateway_reach_the_gateway_alone(
    start_front: StartFront, routes: RouteFiles, notebook: Upstream, sent: str, left: str | None
) -> None:
    routes.write({"/nb/alice": notebook.address})
    front = await start_front()
    headers = {"Cookie": sent}
    assert told(await front.ask("/nb/alice/", headers=headers)).one("Cookie") == left
    assert told(await front.ask("/elsewhere", headers=headers)).one("Cookie") == sent


async def test_gateway_cookies_in_a_second_cookie_header_do_not_pass(
    start_front: StartFront, routes: RouteFiles, notebook: Upstream
) -> None:
    routes.write({"/nb/alice": notebook.address})
    front = await start_front()
    answer = await front.send(
        b"GET /nb/alice/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        b"Cookie: a=1\r\nCookie: nbgate-session=secret\r\n\r\n"
    )
    assert b"secret" not in answer.body


async def test_every_cookie_of_the_gateway_is_named_in_the_configuration() -> None:
    conf = (HTTPD / "httpd.conf").read_text()
    patterns = re.findall(
        r'^\S*Header edit\*? (?:Set-)?Cookie "(.*nbgate-.*?)" ""', conf, re.MULTILINE
    )
    assert len(patterns) == 2
    for name in GATEWAY_COOKIES:
        for cookie in (f"{name.decode()}=x", f"{name.decode()}~flotpython=x"):
            assert all(re.search(pattern, cookie) for pattern in patterns), cookie
    assert not any(re.search(pattern, "nbgate-other=x") for pattern in patterns)


async def test_plain_route_gets_the_clients_own_credentials(
    start_front: StartFront, routes: RouteFiles, notebook: Upstream
) -> None:
    routes.write({"/nb/alice": notebook.address})
    front = await start_front()
    answer = await front.ask("/nb/alice/?token=t", headers={"Authorization": "Bearer mine"})
    assert told(answer).one("Authorization") == "Bearer mine"
    assert told(answer).target == "/nb/alice/?token=t"
    assert answer.all("Access-Control-Allow-Origin") == ["*"]


async def test_upload_goes_through_whole(
    start_front: StartFront, routes: RouteFiles, notebook: Upstream
) -> None:
    routes.write({"/nb/alice": notebook.address})
    front = await start_front()
    body = b"0123456789abcdef" * 2**16
    for path in ("/nb/alice/api/contents/x", "/elsewhere"):
        answer = told(await front.ask(path, method="PUT", body=body))
        assert (answer.method, answer.body) == ("PUT", body.decode())


async def test_no_secret_is_logged(
    start_front: StartFront, routes: RouteFiles, notebook: Upstream
) -> None:
    routes.write({"/nb/alice": notebook.address})
    front = await start_front()
    headers = {"Referer": "http://x/?token=hidden", "Cookie": "nbgate-session=hidden"}
    await front.ask("/nb/alice/shown?token=hidden", headers=headers)
    while "/nb/alice/shown" not in (log := front.log.read_text()):
        await front.ask("/.nbgate-httpd")
    assert "hidden" not in log


async def test_address_of_a_shared_copy_is_in_no_log(
    start_front: StartFront, routes: RouteFiles, notebook: Upstream
) -> None:
    """Neither where the gateway ends while it answers: that is logged with the path."""
    routes.write({"/nb/alice": notebook.address})
    front = await start_front()
    assert (await front.ask("/gateway/shared/hidden?break")).status == 502
    assert (await front.ask("/nb/alice/told?break")).status == 502
    while "returned by /nb/alice/told" not in (log := front.log.read_text()):
        await front.ask("/.nbgate-httpd")
    assert "hidden" not in log
