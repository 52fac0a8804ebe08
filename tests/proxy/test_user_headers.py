"""A proxy in front names a person: whose word counts, and where it ends."""

from __future__ import annotations

import ipaddress

import pytest

from gateway.proxy.forwarded import Forwarding, Peer
from gateway.proxy.headers import HeaderRules
from gateway.proxy.interface import Client, Local, Relay, RouteEntry
from gateway.proxy.messages import RequestHead
from routes.keys import parse_target

NAMED = (b"x-remote-user", b"x-remote-name")
RULES = HeaderRules(frozenset(), NAMED)
TRUSTED = [ipaddress.ip_network("10.0.0.0/8")]


def asked(*headers: tuple[str, bytes]) -> RequestHead:
    pairs = [(name.encode(), value) for name, value in headers]
    return RequestHead(b"GET", b"/", 11, [(b"Host", b"h"), *pairs])


def told(head: RequestHead, peer: str = "10.0.0.1") -> Client:
    return Peer(Forwarding(TRUSTED, NAMED), peer, "http").introduce(head)[0]


@pytest.mark.parametrize(
    ("value", "user"),
    [
        (b"alice", "alice"),
        ("zoë".encode(), "zoë"),
        ("zoë".encode("latin-1"), "zoë"),
        (b"", None),
        (b"(null)", None),
        (b"-", None),
    ],
)
def test_trusted_proxy_names_a_person(value: bytes, user: str | None) -> None:
    client = told(asked(("x-REMOTE-user", value), ("X-Remote-Name", b"Alice")))
    assert (client.user, client.user_name) == (user, "Alice")


def test_nobody_else_does() -> None:
    assert told(asked(("X-Remote-User", b"alice")), "192.0.2.1").user is None
    assert told(asked(("X_Remote_User", b"alice"))).user is None
    assert told(asked()).user is None


def test_two_names_are_no_name_of_a_person() -> None:
    client = told(asked(("X-Remote-User", b"alice"), ("X-Remote-User", b"bob")))
    assert client.user == "alice/bob"


@pytest.mark.parametrize("name", ["X-Remote-User", "x-remote-name", "X_Remote_User"])
@pytest.mark.parametrize("slug", ["a", None])
def test_no_upstream_gets_the_header(name: str, slug: str | None) -> None:
    entry = RouteEntry("/nb/a", parse_target("127.0.0.1:1"), slug=slug)
    sent = RULES.to_route(asked((name, b"alice")), Relay(entry, "bob"), b"", b"1")
    assert b"alice" not in sent
    pages = RULES.to_pages(asked((name, b"alice")), Local(), told(asked()), b"", b"1")
    assert b"alice" not in pages


@pytest.mark.parametrize("name", [b"X-Remote-User", b"x_remote_name"])
def test_it_goes_no_further_as_a_trailer(name: bytes) -> None:
    assert RULES.request_trailers([(name, b"alice"), (b"X-Sum", b"1")]) == [(b"X-Sum", b"1")]


def test_pages_are_told_in_a_header_of_ours() -> None:
    head = asked(("X-Remote-User", "zoë\x00\n".encode()), ("X-Nbgate-Told-User", b"mallory"))
    sent = RULES.to_pages(head, Local(), told(head), b"", b"1")
    assert b"X-Nbgate-Told-User: zo%C3%AB%00%0A\r\n" in sent
    assert b"mallory" not in sent
