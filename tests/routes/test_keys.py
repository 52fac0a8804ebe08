from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from routes.keys import (
    InvalidKey,
    InvalidTarget,
    Target,
    canonical_host,
    canonical_key,
    canonical_path,
    checked_text,
    parse_target,
)


@pytest.mark.parametrize(
    ("given_key", "stored"),
    [
        ("/", "/"),
        ("//", "/"),
        ("/nb/alice", "/nb/alice"),
        ("/nb/alice/", "/nb/alice"),
        (b"/nb/alice", "/nb/alice"),
        ("/nb/%61lice", "/nb/alice"),
        ("/nb/a%2fb", "/nb/a%2Fb"),
        ("/user/jos%c3%a9", "/user/jos%C3%A9"),
        ("/user/a%20b", "/user/a%20b"),
        ("/a//b", "/a//b"),
        ("/a%25b", "/a%25b"),
        ("/a|b", "/a%7Cb"),
        ("/a;b=c,d@e:f", "/a;b=c,d@e:f"),
        ("/a%7eb", "/a~b"),
        ("/CamelCase", "/CamelCase"),
        ("Alice.NB.Test", "alice.nb.test"),
        ("alice.nb.test:8000", "alice.nb.test"),
        ("alice.nb.test.", "alice.nb.test"),
        ("a_b", "a_b"),
        ("127.0.0.1", "127.0.0.1"),
        ("[::1]", "[::1]"),
        ("[0:0:0:0:0:0:0:1]:8888", "[::1]"),
    ],
)
def test_key_is_stored_in_canonical_form(given_key: str | bytes, stored: str) -> None:
    assert canonical_key(given_key) == stored


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("", "is empty"),
        (b"", "is empty"),
        ("/user/josé", "is not ASCII"),
        ("/user/josé".encode(), "is not ASCII"),
        ("/a b", "has a blank"),
        (" /a", "has a blank"),
        ("/a\tb", "has a control character"),
        ("/a\n", "has a control character"),
        ("/a\x7f", "has a control character"),
        ("/a\0", "has a control character"),
        ("/a?b", "has a query"),
        ("/a#b", "has a query or fragment"),
        ("/a%", "begins no escape"),
        ("/a%zz", "begins no escape"),
        ("/a/../b", ". or .. segment"),
        ("/a/%2e%2E/b", ". or .. segment"),
        ("/" + "a" * 8000, "is longer than 8000 bytes"),
        ("http://alice.nb.test/", "is a URL"),
        ("alice.nb.test/path", "neither a host name nor a path"),
        ("-alice", "neither a host name"),
        ("a..b", "neither a host name"),
        ("*.nb.test", "neither a host name"),
        ("a" * 64, "neither a host name"),
        (".".join(["a" * 60] * 5), "neither a host name"),
        ("[::g]", "neither a host name"),
        ("[fe80::1%25eth0]", "neither a host name"),
        ("!nbgate", "neither a host name"),
    ],
)
def test_what_can_be_no_key_is_refused_in_one_line_that_says_why(
    key: str | bytes, reason: str
) -> None:
    with pytest.raises(InvalidKey) as caught:
        canonical_key(key)
    assert reason in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert str(caught.value).isprintable()


@given(st.binary(max_size=60))
@example(b"%2525")
@example(b"%%41")
@example(b"%4%31")
def test_canonical_path_is_idempotent_printable_and_never_raises(raw: bytes) -> None:
    once = canonical_path(b"/" + raw)
    assert canonical_path(once.encode("ascii")) == once
    assert once.isascii()
    assert once.isprintable()
    assert " " not in once


@given(st.binary(max_size=60))
def test_canonical_path_keeps_every_segment_boundary(raw: bytes) -> None:
    path = b"/" + raw.replace(b"?", b"")
    assert canonical_path(path).count("/") == path.count(b"/")


@given(st.text(alphabet=st.characters(min_codepoint=1, max_codepoint=126), max_size=30))
def test_canonical_key_is_a_fixed_point_or_refused(text: str) -> None:
    try:
        key = canonical_key(text)
    except InvalidKey:
        return
    assert canonical_key(key) == key
    if key.startswith("/"):
        assert canonical_path(key.encode()) == key
    else:
        assert canonical_host(key.encode()) == key


@pytest.mark.parametrize(
    ("raw", "canonical"),
    [
        ("/user/josé".encode(), "/user/jos%C3%A9"),
        ("/user/josé".encode("latin-1"), "/user/jos%E9"),
        (b"/a b", "/a%20b"),
        (b"/a%2fb", "/a%2Fb"),
        (b"/a%41?x=%41", "/aA"),
        (b"/100%", "/100%25"),
        (b"/a/", "/a/"),
        (b"", ""),
    ],
)
def test_path_of_a_request_gets_the_form_of_keys(raw: bytes, canonical: str) -> None:
    assert canonical_path(raw) == canonical


@pytest.mark.parametrize(
    ("raw", "canonical"),
    [
        (b"Alice.NB.test", "alice.nb.test"),
        (b"alice.nb.test:8000", "alice.nb.test"),
        (b"alice.nb.test.:8000", "alice.nb.test"),
        (b"alice.nb.test:", "alice.nb.test"),
        (b"[::1]:8000", "[::1]"),
        (b"[0::1]", "[::1]"),
        (b"[nonsense", "[nonsense"),
        (b"\xff\xfe", "ÿþ"),
        (b"", ""),
    ],
)
def test_host_of_a_request_gets_the_form_of_keys(raw: bytes, canonical: str) -> None:
    assert canonical_host(raw) == canonical


@given(st.binary(max_size=40))
def test_canonical_host_never_raises(raw: bytes) -> None:
    assert isinstance(canonical_host(raw), str)


@pytest.mark.parametrize(
    ("text", "target", "shown"),
    [
        ("localhost:8888", Target("localhost", 8888), "localhost:8888"),
        (b"container:8888", Target("container", 8888), "container:8888"),
        ("Container_1:8888", Target("container_1", 8888), "container_1:8888"),
        ("[::1]:8888", Target("::1", 8888), "[::1]:8888"),
        ("[2001:DB8::0001]:80", Target("2001:db8::1", 80), "[2001:db8::1]:80"),
        ("http://localhost:8888", Target("localhost", 8888), "localhost:8888"),
        ("http://localhost:8888/", Target("localhost", 8888), "localhost:8888"),
        ("HTTP://localhost/a/", Target("localhost", 80, path="/a"), "http://localhost:80/a"),
        (
            "http://[::1]:8888/x%2Fy",
            Target("::1", 8888, path="/x%2Fy"),
            "http://[::1]:8888/x%2Fy",
        ),
        (
            "http+unix://%2Frun%2Fwiki.sock",
            Target("localhost", 80, socket="/run/wiki.sock"),
            "http+unix://%2Frun%2Fwiki.sock",
        ),
        (
            "UNIX+HTTP://%2frun%2f%77iki.sock/a%2Fb/",
            Target("localhost", 80, path="/a%2Fb", socket="/run/wiki.sock"),
            "http+unix://%2Frun%2Fwiki.sock/a%2Fb",
        ),
        (
            "http+unix://%2Frun%2FBig%20one%3A%40~.sock",
            Target("localhost", 80, socket="/run/Big one:@~.sock"),
            "http+unix://%2Frun%2FBig%20one%3A%40~.sock",
        ),
        (
            "http+unix://%2frun%2fa.sock:80/b",  # as JupyterHub writes it
            Target("localhost", 80, path="/b", socket="/run/a.sock"),
            "http+unix://%2Frun%2Fa.sock/b",
        ),
    ],
)
def test_target_is_parsed_and_shown(text: str | bytes, target: Target, shown: str) -> None:
    assert parse_target(text) == target
    assert str(target) == shown
    assert parse_target(shown) == target


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is empty"),
        ("localhost", "has no port"),
        ("localhost:", "has no port"),
        ("localhost:0", "no number from 1 to 65535"),
        ("localhost:65536", "no number from 1 to 65535"),
        ("localhost:-1", "no number from 1 to 65535"),
        ("localhost:http", "no number from 1 to 65535"),
        (":8888", "has no valid host"),
        ("http://", "has no valid host"),
        ("::1:8888", "without brackets"),
        ("[::g]:8888", "no valid IPv6 address"),
        ("999.1.1.1:80", "has no valid host"),
        ("a b:80", "has a blank"),
        ("a\n:80", "has a control character"),
        ("josé:80", "is not ASCII"),
        ("https://localhost:8443", "has scheme https"),
        ("ws://localhost:8888", "has scheme ws"),
        ("http://alice:secret@localhost:80", "has credentials"),
        ("http://localhost:80/?a=b", "has a query"),
        ("http://localhost:80?a=b", "has a query"),
        ("http://localhost:80/#a", "has a query or fragment"),
        ("http://localhost:80/%zz", "must be percent-encoded"),
        ("localhost:8888/path", "has a path but no scheme"),
        ("/path", "has a path but no scheme"),
        ("http+unix:///run/wiki.sock", "no absolute socket path"),
        ("http+unix://run%2Fwiki.sock", "no absolute socket path"),
        ("http+unix://%2F", "empty, . or .. segment"),
        ("http+unix://%2Frun%2F%2Fwiki.sock", "empty, . or .. segment"),
        ("http+unix://%2Frun%2F..%2Fwiki.sock", "empty, . or .. segment"),
        ("http+unix://%2Frun%2F%2e%2fwiki.sock", "empty, . or .. segment"),
        ("http+unix://%2Frun%2Fwiki.sock%2F", "empty, . or .. segment"),
        ("http+unix://%2Frun%2Fa%00b", "not printable ASCII"),
        ("http+unix://%2Frun%2Fa%0Ab", "not printable ASCII"),
        ("http+unix://%2Frun%2Fjos%C3%A9", "not printable ASCII"),
        ("http+unix://%2Frun%2Fa%2", "no percent-encoded socket path"),
        ("http+unix://%2Frun%2Fa:80:80", "no percent-encoded socket path"),
        ("http+unix://%2Frun%2Fa:b", "no percent-encoded socket path"),
        ("http+unix://me@%2Frun%2Fa", "no percent-encoded socket path"),
        ("http+unix://%2Frun%2Fa?b", "no percent-encoded socket path"),
        ("http+unix://%2Frun%2Fa/b?c", "has a query"),
        ("http+unix://%2F" + "a" * 107, "longer than 107 bytes"),
        ("unix:/run/wiki.sock|http://localhost/", "has a path but no scheme"),
    ],
)
def test_what_can_be_no_target_is_refused_in_one_line_that_says_why(text: str, reason: str) -> None:
    with pytest.raises(InvalidTarget) as caught:
        parse_target(text)
    assert reason in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_target_on_a_unix_socket_is_never_plain() -> None:
    assert parse_target("localhost:80").plain
    assert not parse_target("http+unix://%2Frun%2Fwiki.sock").plain
    assert parse_target("http+unix://%2F" + "a" * 106).socket == "/" + "a" * 106


_SOCKETS = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30)


@given(_SOCKETS)
def test_socket_target_is_a_fixed_point_or_refused(path: str) -> None:
    try:
        target = parse_target(f"unix+http://{quote('/' + path, safe='')}")
    except InvalidTarget:
        return
    assert target.socket == "/" + path
    assert parse_target(str(target)) == target


def test_credentials_in_a_target_are_not_repeated_in_the_error() -> None:
    with pytest.raises(InvalidTarget) as caught:
        parse_target("http://alice:hunter2@localhost:80")
    assert "hunter2" not in str(caught.value)


@given(st.text(max_size=30))
def test_parsed_target_is_a_fixed_point_or_refused(text: str) -> None:
    try:
        target = parse_target(text)
    except InvalidTarget:
        return
    assert parse_target(str(target)) == target


def test_text_of_a_map_without_targets_is_kept_unless_httpd_could_not_use_it() -> None:
    assert checked_text('{"a": 1}') == '{"a": 1}'
    for unusable in ("", "é", "a\nb", "a\0"):
        with pytest.raises(InvalidTarget):
            checked_text(unusable)
