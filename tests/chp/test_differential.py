"""What passes through: the same bytes to configurable-http-proxy and to nbgate-proxy.

What the upstream sees and what the client gets must be the same, but for how headers are written
and for what ends at each hop. What differs on purpose is in test_known_faults.py.
"""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import pytest

from tests.chp.harness import SWITCH, UPGRADE, get
from tests.chp.pair import Exchange, Start, paired
from tests.proxy.upstreams import UnixUpstream, parsed

ROUTES = [("/", ""), ("/user/foo", "/t1"), ("/user/foo/bar/", "/t2/"), ("/user/a%40b", "/t3"),
          ("/%C3%A9", "/t4"), ("/@/space%20word/", "/t5/sub"), ("/a;b", "/t6")]  # fmt: skip
PATHS = [
    b"/", b"/a/b/", b"/%40/space%20word/x", b"/@/space%20word", b"/a%2Fb", b"/a//b///", b"/..;/x",
    b"/a;p=1/b", b"/a;b/x", b"/?q=%20&r=a+b//", b"/x?a=http://b/%zz", b"/x?a=1&&b", b"/x?a?b",
    b"/x??", b"/x?a|b{}^`", b"/|", b"/[x]", b"/~!$&()*+,=:@-._", b"/a%00b", b"/%0a", b"/...",
    b"/.x/..y", b"/user/foo", b"/user/foo/", b"/user/foobar", b"/user/fo", b"/user/foo?x=1",
    b"/user/foo//", b"/user//foo", b"/user%2Ffoo", b"/user/f%6Fo/x", b"/user/foo%2Fbar",
    b"/user/a%40b", b"/user/a@b/", b"/user/%61@b/x", b"/user/a%2540b", b"/USER/foo", b"/user/foo;x",
    b"/user/foo%3Fx", b"/user/foo/bar", b"/user/foo/bar/x/y", b"/%C3%A9/x", b"/%c3%a9", b"/;x",
    b"http://h/user/foo/x", b"/_chp_healthz?x", b"/_chp_healthz/",
]  # fmt: skip


async def routed(chp: Start, path: bytes, *flags: str) -> Exchange:
    async with paired(chp, *flags) as pair:
        for key, target in ROUTES:
            await pair.add(key, target)
        return await pair.agree(get(path))


@pytest.mark.parametrize("path", PATHS)
async def test_path(chp: Start, path: bytes) -> None:
    assert (await routed(chp, path)).status == 200


@pytest.mark.parametrize("path", [path for path in PATHS if b"?" not in path])
async def test_path_where_targets_have_none_to_prepend(chp: Start, path: bytes) -> None:
    assert (await routed(chp, path, "--no-prepend-path")).status == 200


STRIPPED = [b"/", b"/a/b/", b"/user/foo", b"/user/foo/", b"/user/foo?x=1", b"/user/foo//",
            b"/user/foo/x%20y?z", b"/user/a@b", b"/user/a@b/x", b"/user/foobar", b"/user/foo;x",
            b"/user/foo/bar/x", b"/user/a%2540b/x"]  # fmt: skip


@pytest.mark.parametrize("flags", [(), ("--no-prepend-path",)])
@pytest.mark.parametrize("path", STRIPPED)
async def test_path_without_its_prefix(chp: Start, path: bytes, flags: tuple[str, ...]) -> None:
    assert (await routed(chp, path, "--no-include-prefix", *flags)).status == 200


SEGMENTS = ["user", "foo", "a@b", "é", "x y", "100%", "q?x", "a;b", "~", "=:+,!$&'()*", "日本"]


@pytest.mark.parametrize("flags", [(), ("--host-routing",), ("--no-prepend-path",)])
async def test_routes_that_come_and_go_by_chance(chp: Start, flags: tuple[str, ...]) -> None:
    seed = 20
    random = Random(seed)
    hosts = ["a.example", "b.example:8000"]

    def drawn(longest: int, *, key: bool) -> str:
        parts = [quoted(random, random.choice(SEGMENTS)) for _ in range(random.randint(0, longest))]
        if key and flags == ("--host-routing",):
            parts.insert(0, random.choice(hosts).partition(":")[0])
        return "/" + "/".join(parts) + random.choice(["", "/"] if parts else [""])

    async with paired(chp, *flags) as pair:
        for number in range(120):
            key, path = drawn(2, key=True), drawn(4, key=False)
            if random.random() < 0.6:
                await pair.add(key, f"/t{number}")
            else:
                theirs, ours = await pair.api("DELETE", f"/api/routes{key}")
                assert theirs.status == ours.status, (seed, number, key)
            data = get(path.replace("'", "%27"), host=random.choice(hosts).encode())
            theirs_got, ours_got = await pair.ask(data)
            assert ours_got.status == theirs_got.status, (seed, number, path)
            assert ours_got.target == theirs_got.target, (seed, number, path)


def quoted(random: Random, text: str) -> str:
    """Percent-encode what must be, and some of what need not."""
    plain = "abcdefghijklmnopqrstuvwxyz0123456789@;~=:+,!$&()*"
    return "".join(
        char
        if char in plain and random.random() < 0.8
        else "".join(f"%{byte:02{random.choice('xX')}}" for byte in char.encode())
        for char in text
    )


HEADERS: list[tuple[bytes, ...]] = [
    (b"X-Forwarded-For: 1.1.1.1", b"x-forwarded-for: 2.2.2.2"),
    (b"X-Forwarded-For: 1.1.1.1, 2.2.2.2",),
    (b"X-Forwarded-Proto: https", b"X-Forwarded-Port: 443", b"X-Forwarded-Host: real.example"),
    (b"X-Forwarded-For:",),
    (b"Connection: close",),
    (b"Connection: keep-alive",),
    (b"Keep-Alive: timeout=9",),
    (b"Accept: a", b"accept: b"),
    (b"X-MiXeD: One", b"x-mixed:two"),
    (b"X-Empty:",),
    (b"X-Odd: \xe9",),
    (b"X_Under: 1",),
    (b"Cookie: a=1; b=2", b"COOKIE: c=3"),
    (b"Authorization: token abc",),
    (b"Via: 1.1 x", b"Forwarded: for=9.9.9.9", b"X-Real-IP: 9.9.9.9", b"X-Scheme: https"),
    (b"Content-Length: 0",),
    (b"Range: bytes=0-1", b"If-None-Match: x", b"Accept-Encoding: gzip, br"),
    (b"Origin: http://h", b"Referer: http://h/x", b"Sec-Fetch-Mode: navigate"),
]


@pytest.mark.parametrize("lines", HEADERS, ids=lambda lines: lines[0].decode("latin-1"))
@pytest.mark.parametrize("flags", [(), ("--no-x-forward",)])
async def test_headers_of_requests(
    chp: Start, lines: tuple[bytes, ...], flags: tuple[str, ...]
) -> None:
    async with paired(chp, *flags) as pair:
        await pair.add("/")
        await pair.agree(get("/x", *lines, host=b"Hub.Example:99"))


@pytest.mark.parametrize("lines", [b"", b"Connection: keep-alive\r\n"])
async def test_old_clients(chp: Start, lines: bytes) -> None:
    async with paired(chp) as pair:
        await pair.add("/")
        told = await pair.agree(b"GET /x HTTP/1.0\r\nHost: h:1\r\n" + lines + b"\r\n")
        assert told.alive == bool(lines)


BODIES = [
    b"Content-Length: 5\r\n\r\nhello",
    b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    b"Transfer-Encoding: chunked\r\n\r\n2;a=b\r\nhe\r\n3\r\nllo\r\n0\r\nX-Trailer: 1\r\n\r\n",
    b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\nhello",
]


@pytest.mark.parametrize("method", [b"POST", b"PUT", b"PATCH", b"GET"])
@pytest.mark.parametrize("rest", BODIES, ids=["length", "chunked", "extended", "expect"])
async def test_bodies_of_requests(chp: Start, method: bytes, rest: bytes) -> None:
    async with paired(chp) as pair:
        await pair.add("/")
        told = await pair.agree(b"%b /x HTTP/1.1\r\nHost: h\r\n%b" % (method, rest))
        assert told.payload == b"hello"


@pytest.mark.parametrize("method", [b"DELETE", b"OPTIONS"])
async def test_bodies_of_known_length_where_none_is_usual(chp: Start, method: bytes) -> None:
    async with paired(chp) as pair:
        await pair.add("/")
        told = await pair.agree(b"%b /x HTTP/1.1\r\nHost: h\r\n%b" % (method, BODIES[0]))
        assert told.payload == b"hello"


CUSTOM = [
    ("--custom-header=X-One: 1", "--custom-header", " x-two : a:b ", "--custom-header=X-Empty:"),
    ("--custom-header=X-One:1", "--custom-header=X-One:2"),
    ("--custom-header=X-Forwarded-Proto: https", "--custom-header=X-Forwarded-Host: pub.example"),
    ("--custom-header=X-Forwarded-For: 8.8.8.8", "--no-x-forward"),
    ("--custom-header=Host: other.example",),
]


@pytest.mark.parametrize("flags", CUSTOM)
async def test_custom_headers(chp: Start, flags: tuple[str, ...]) -> None:
    async with paired(chp, *flags) as pair:
        await pair.add("/")
        await pair.agree(get("/x"))
        await pair.agree(get("/x", b"x-ONE: c", b"X-Empty: q", b"X-Forwarded-Proto: http"))
        for version in (b"HTTP/1.0\r\nHost: h", b"HTTP/1.1\r\nHost: h:1"):
            await pair.agree(b"GET / %b\r\nX-Forwarded-For: 1.1.1.1\r\n\r\n" % version)


async def test_changed_origin(chp: Start) -> None:
    async with paired(chp, "--change-origin") as pair:
        await pair.add("/")
        await pair.lead("/l", f"http://localhost:{pair.upstream.port}/t")
        for path in ("/x", "/l/x"):
            await pair.agree(get(path, host=b"hub.example"))
        pair.upstream.answer = SWITCH
        theirs, ours = await pair.ask(UPGRADE % b"/ws")
        assert ours.sent["host"] == theirs.sent["host"] == [f"127.0.0.1:{pair.upstream.port}"]


@pytest.mark.parametrize("host", [b"a.example:8000", b"a.example", b"other", b"B.Example"])
@pytest.mark.parametrize("path", ["/x", "/deep/x", "/deepx", "/a.example/x", "/"])
async def test_host_routing(chp: Start, host: bytes, path: str) -> None:
    async with paired(chp, "--host-routing") as pair:
        for key in ("/", "/a.example", "/a.example/deep", "/B.Example/x"):
            await pair.add(key, "/t" + key.replace("/", "-"))
        assert (await pair.agree(get(path, host=host))).status == 200
        theirs, ours = await pair.api("GET", "/api/routes/a.example/deep")
        assert b'"host"' in theirs.body
        assert b'"host"' in ours.body


async def test_unix_sockets(chp: Start, tmp_path: Path) -> None:
    async with UnixUpstream(tmp_path / "dir" / "s") as behind, paired(chp) as pair:
        for scheme in ("http+unix", "unix+http"):
            place = str(behind.target).replace("http+unix", scheme)
            await pair.lead("/u", f"{place}/base")
            theirs, ours = await pair.ask(get("/u/x%20y?z"))
            told = [parsed(answer.body) for answer in (theirs, ours)]
            assert [message.target for message in told] == [b"/base/u/x%20y?z"] * 2
            assert [message.one(b"host") for message in told] == [b"h"] * 2


QUERIES = [
    "/x?y=1",
    "?y=1",
    "/?y=1",
    "/x?",
    "/x#f",
    "/x?a=1&b#f",
    "/x?y=/1/",
    "/x?é 'ü'<\">",
    "/x??#?",
]
OF_PATHS = [(), ("--no-include-prefix",), ("--no-prepend-path",)]


@pytest.mark.parametrize("flags", OF_PATHS, ids=" ".join)
@pytest.mark.parametrize("target", QUERIES)
async def test_query_of_a_target_comes_before_the_requests(
    chp: Start, target: str, flags: tuple[str, ...]
) -> None:
    async with paired(chp, *flags) as pair:
        await pair.add("/k", target)
        for path in (b"/k", b"/k/", b"/k/a", b"/k?q=2", b"/k/a?q=2&r"):
            await pair.agree(get(path))
        answers = await pair.api("GET", "/api/routes/k")
        theirs, ours = [json.loads(answer.body)["target"] for answer in answers]
        assert ours == theirs, "it is told as it was set"
