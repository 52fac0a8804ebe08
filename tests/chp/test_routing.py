"""Which route a request takes, and what of its path goes on."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.chp.paths import lookup_path, prefix_length, table_key, without_prefix
from tests.chp.harness import Rig, get, rig, url
from tests.proxy.upstreams import UnixUpstream, Upstream, echo, parsed


async def marked(proxy: Rig, upstream: Upstream, *keys: str) -> None:
    """Add routes, each with its key's number as the target's path."""
    for number, key in enumerate(keys):
        await proxy.add(key, url(upstream.port, f"/t{number}"))


async def went(proxy: Rig, path: bytes, host: bytes = b"h") -> bytes:
    """Return the target that the upstream saw."""
    answer = await proxy.ask(get(path, host=host))
    assert answer.status == 200, answer
    return parsed(answer.body).target


RAW = [
    b"/%40/space%20word/x",
    b"/a%2Fb",
    b"/a//b///",
    b"/a/./b/../c",
    b"/..;/x",
    b"/a;p=1/b",
    b"/%2e%2E/",
    b"/?q=%20&r=a+b//",
    b"/x?",
    b"/x?a=http://b/%zz",
    b'/\xc3\xa9|{}"<>^`',
    b"/~!$&'()*+,=:@-._",
    b"//host/x",
    b"/%E2%82",
]


@pytest.mark.parametrize("path", RAW)
async def test_path_and_query_are_forwarded_byte_for_byte(proxy: Rig, path: bytes) -> None:
    assert await went(proxy, path) == path


@pytest.mark.parametrize("path", [path for path in RAW if path.startswith(b"/%40/")])
async def test_encoded_base_of_a_hub_is_routed_and_left_as_it_was(
    proxy: Rig, echoing: Upstream, path: bytes
) -> None:
    await marked(proxy, echoing, "/@/space%20word/")
    assert await went(proxy, path) == b"/t0" + path
    assert await went(proxy, b"/@/space%20word/") == b"/t0/@/space%20word/"


@pytest.mark.parametrize(
    ("path", "number"),
    [
        (b"/user/foo", 1),
        (b"/user/foo/", 1),
        (b"/user/foo?x=1", 1),
        (b"/user/foo/bar/x", 2),
        (b"/user/foobar", 0),
        (b"/user/fo", 0),
        (b"/user/", 0),
        (b"/user/f%6Fo/x", 1),
        (b"/user%2Ffoo/x", 1),
        (b"/user/foo%2Fbar", 2),
        (b"/user/a@b/x", 3),
        (b"/user/a%40b/x", 3),
        (b"/user/%61%40b", 3),
        (b"/user/a%2540b", 0),
        (b"/%C3%A9/x", 4),
        (b"/\xc3\xa9/x", 4),
        (b"/a%3Bb/x", 5),
        (b"/a;b/x", 5),
        (b"/?/user/foo", 0),
        (b"/USER/foo", 0),
    ],
)
async def test_longest_prefix_by_segments_of_the_decoded_path(
    proxy: Rig, echoing: Upstream, path: bytes, number: int
) -> None:
    keys = ("/", "/user/foo", "/user/foo/bar/", "/user/a%40b", "/%C3%A9", "/a;b")
    await marked(proxy, echoing, *keys)
    assert await went(proxy, path) == b"/t%d" % number + path


async def test_two_slashes_in_front_are_no_host(proxy: Rig, echoing: Upstream) -> None:
    await marked(proxy, echoing, "/", "/x")
    assert await went(proxy, b"//host/x") == b"/t0//host/x"


async def test_removed_route_falls_back_to_the_next(proxy: Rig, echoing: Upstream) -> None:
    await marked(proxy, echoing, "/", "/user", "/user/foo")
    await proxy.api("DELETE", "/api/routes/user/foo")
    assert await went(proxy, b"/user/foo/x") == b"/t1/user/foo/x"
    await proxy.api("DELETE", "/api/routes/user")
    assert await went(proxy, b"/user/foo/x") == b"/t0/user/foo/x"


async def test_path_of_the_target_comes_first_and_no_slash_is_doubled(
    proxy: Rig, echoing: Upstream
) -> None:
    await proxy.add("/x", url(echoing.port, "/base/"))
    assert await went(proxy, b"/x/y") == b"/base/x/y"
    await proxy.add("/x", url(echoing.port, "/"))
    assert await went(proxy, b"/x/y") == b"/x/y"


async def test_path_of_the_target_can_be_left_out(echoing: Upstream) -> None:
    async with rig("--no-prepend-path") as proxy:
        await proxy.add("/x", url(echoing.port, "/base"))
        assert await went(proxy, b"/x/y%20") == b"/x/y%20"
        assert (await proxy.routes())["/x"]["target"] == url(echoing.port, "/base")


@pytest.mark.parametrize(
    ("path", "seen"),
    [
        (b"/user/a@b/x/y?q=1", b"/x/y?q=1"),
        (b"/user/a%40b/x%20y", b"/x%20y"),
        (b"/%75ser/%61@b//x", b"//x"),
        (b"/user/a@b", b"/"),
        (b"/user/a@b/", b"/"),
        (b"/user/a@b?q", b"/?q"),
        (b"/other/x", b"/other/x"),
    ],
)
async def test_prefix_is_cut_as_it_was_written(echoing: Upstream, path: bytes, seen: bytes) -> None:
    async with rig("--no-include-prefix", "--default-target", url(echoing.port)) as proxy:
        await proxy.add("/user/a@b", url(echoing.port))
        assert await went(proxy, path) == seen


async def test_prefix_is_cut_behind_the_path_of_the_target(echoing: Upstream) -> None:
    async with rig("--no-include-prefix") as proxy:
        await proxy.add("/x", url(echoing.port, "/base"))
        assert await went(proxy, b"/x/y") == b"/base/y"
        assert await went(proxy, b"/x") == b"/base"
        assert await went(proxy, b"/x?q") == b"/base?q"
        assert await went(proxy, b"/x/") == b"/base/"


async def test_malformed_escape_is_500(proxy: Rig) -> None:
    for path in (b"/%zz", b"/a%", b"/a%2"):
        assert (await proxy.ask(get(path))).status == 500


class TestHosts:
    """With host routing, the host is the first segment."""

    async def test_host_chooses_and_slash_is_the_fallback(self, echoing: Upstream) -> None:
        async with rig("--host-routing", "--default-target", url(echoing.port, "/d")) as proxy:
            await marked(proxy, echoing, "/a.example", "/a.example/deep", "/B.Example/x")
            assert await went(proxy, b"/x", b"a.example:8000") == b"/t0/x"
            assert await went(proxy, b"/deep/x", b"A.EXAMPLE") == b"/t1/deep/x"
            assert await went(proxy, b"/x/y", b"b.example") == b"/t2/x/y"
            assert await went(proxy, b"/y", b"b.example") == b"/d/y"
            assert await went(proxy, b"/a.example/x", b"other") == b"/d/a.example/x"
            assert await went(proxy, b"/x", b"[::1]:8000") == b"/d/x"
            told = await proxy.routes()
            assert told["/a.example/deep"]["host"] == "a.example"
            assert "host" not in told["/"]

    async def test_prefix_to_cut_is_without_the_host(self, echoing: Upstream) -> None:
        async with rig("--host-routing", "--no-include-prefix") as proxy:
            await marked(proxy, echoing, "/a.example", "/a.example/deep")
            assert await went(proxy, b"/x/y", b"a.example") == b"/t0/x/y"
            assert await went(proxy, b"/deep/y", b"a.example") == b"/t1/y"


async def test_unix_socket_targets(tmp_path: Path) -> None:
    async with UnixUpstream(tmp_path / "dir" / "s") as behind, rig() as proxy:
        await proxy.add("/x", f"{behind.target}/base")
        assert await went(proxy, b"/x/y%20") == b"/base/x/y%20"
        await proxy.add("/x", str(behind.target).replace("http+unix", "unix+http"))
        assert await went(proxy, b"/x") == b"/x"


async def test_connections_to_a_removed_target_are_not_used_again(proxy: Rig) -> None:
    async with Upstream(echo) as first:
        await proxy.add("/x", url(first.port))
        await went(proxy, b"/x")
        await proxy.api("DELETE", "/api/routes/x")
        await proxy.add("/x", url(first.port))
        await went(proxy, b"/x")
        assert first.accepted == 2


@pytest.mark.parametrize(
    ("key", "path"),
    [("/a b", b"/a%20b"), ("/%41", b"/%2541"), ("/é", b"/%C3%A9"), ("/a%2Fb", b"/a%252Fb")],
)
def test_key_and_path_meet_in_one_form(key: str, path: bytes) -> None:
    assert table_key(key, by_host=False).encode() == lookup_path(path)


def test_prefix_is_counted_in_decoded_bytes() -> None:
    key = table_key("/é%/x", by_host=False)
    length = prefix_length(key, by_host=False)
    assert without_prefix(b"/%C3%A9%25/x/y%20?z", length) == b"/y%20?z"
    assert prefix_length("/", by_host=False) == 0
