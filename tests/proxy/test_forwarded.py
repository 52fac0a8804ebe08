"""Who the client is, from what trusted proxies say."""

from __future__ import annotations

import ipaddress

import pytest

from gateway.proxy.forwarded import Forwarding, Peer, parse_forwarded, parse_node
from gateway.proxy.interface import Client
from gateway.proxy.messages import RequestHead

TRUSTED = [ipaddress.ip_network(net) for net in ("10.0.0.0/8", "127.0.0.1/32", "fd00::/8")]


def introduced(peer: str, *headers: tuple[str, str], host: str = "h:81") -> tuple[Client, str]:
    """Return the client and the header lines for a request from `peer`."""
    fields = [("Host", host), *headers]
    pairs = [(name.encode(), value.encode("latin-1")) for name, value in fields]
    head = RequestHead(b"GET", b"/", 11, pairs)
    client, lines = Peer(Forwarding(TRUSTED), peer, "http").introduce(head)
    return client, lines.decode()


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("1.2.3.4", "1.2.3.4"),
        ("1.2.3.4:80", "1.2.3.4"),
        ("::1", "::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:db8::1]:4711", "2001:db8::1"),
        ("::ffff:1.2.3.4", "1.2.3.4"),
        ("fe80::1%eth0", "fe80::1"),
        ("unknown", None),
        ("_hidden", None),
        ("", None),
        ("1.2.3", None),
        ("999.1.1.1", None),
    ],
)
def test_node_is_read(text: str, address: str | None) -> None:
    node = parse_node(text)
    assert (None if node is None else str(node)) == address


@pytest.mark.parametrize(
    ("chain", "address"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("6.6.6.6, 203.0.113.7", "203.0.113.7"),
        ("6.6.6.6, 203.0.113.7, 10.1.1.1, 10.2.2.2", "203.0.113.7"),
        ("10.1.1.1, 10.2.2.2", "10.1.1.1"),
        ("2001:db8::7, fd00::1", "2001:db8::7"),
        ("203.0.113.7, garbage", "10.0.0.1"),
        ("203.0.113.7, garbage, 10.3.3.3", "10.3.3.3"),
        ("", "10.0.0.1"),
        (",,,", "10.0.0.1"),
    ],
)
def test_client_is_the_rightmost_untrusted_address(chain: str, address: str) -> None:
    client, _ = introduced("10.0.0.1", ("X-Forwarded-For", chain))
    assert client.address == address


def test_chain_over_several_lines_is_one_chain() -> None:
    lines = [("X-Forwarded-For", "203.0.113.7"), ("x-forwarded-for", "10.9.9.9")]
    assert introduced("10.0.0.1", *lines)[0].address == "203.0.113.7"


@pytest.mark.parametrize("peer", ["203.0.113.1", "::ffff:203.0.113.1", "2001:db8::1", ""])
def test_untrusted_peer_is_not_believed(peer: str) -> None:
    client, lines = introduced(
        peer, ("X-Forwarded-For", "1.1.1.1"), ("X-Forwarded-Proto", "https"), ("Forwarded", "for=x")
    )
    address = "203.0.113.1" if peer.startswith("::ffff") else peer
    assert client == Client(address, "http", "h:81", 81, trusted=False)
    assert "1.1.1.1" not in lines


def test_forwarded_is_read_where_no_x_forwarded_for_is() -> None:
    value = 'for=6.6.6.6;proto=http, For="[2001:db8::7]:4711";Proto=HTTPS;host="w.example:8443"'
    client, lines = introduced("10.0.0.1", ("Forwarded", value))
    assert client == Client("2001:db8::7", "https", "w.example:8443", 8443, trusted=True)
    assert 'Forwarded: for="[2001:db8::7]";host="w.example:8443";proto=https\r\n' in lines
    assert "X-Forwarded-For: 2001:db8::7, 10.0.0.1\r\n" in lines


def test_x_forwarded_for_wins_over_forwarded() -> None:
    client, _ = introduced(
        "10.0.0.1", ("X-Forwarded-For", "203.0.113.7"), ("Forwarded", "for=6.6.6.6;proto=https")
    )
    assert (client.address, client.scheme) == ("203.0.113.7", "http")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X-Forwarded-Proto", "gopher"),
        ("X-Forwarded-Host", "evil/path"),
        ("X-Forwarded-Host", "a b"),
        ("X-Forwarded-Host", 'x";proto=https'),
        ("X-Forwarded-Port", "0"),
        ("X-Forwarded-Port", "99999"),
        ("X-Forwarded-Port", "80x"),
        ("X-Forwarded-Port", "²"),
        ("Forwarded", "for=unknown"),
        ("Forwarded", 'for="1.2.3.4'),
        ("Forwarded", ";;;=,"),
        ("Forwarded", "host=a/b;proto=x"),
    ],
)
def test_garbage_of_a_trusted_proxy_is_ignored(name: str, value: str) -> None:
    client, _ = introduced("10.0.0.1", (name, value))
    assert client == Client("10.0.0.1", "http", "h:81", 81, trusted=True)


def test_last_value_of_a_list_is_the_peers_own() -> None:
    client, _ = introduced(
        "10.0.0.1",
        ("X-Forwarded-Proto", "http, https"),
        ("X-Forwarded-Host", "evil, w.example"),
        ("X-Forwarded-Port", "1, 8443"),
    )
    assert (client.scheme, client.host, client.port) == ("https", "w.example", 8443)


@pytest.mark.parametrize(
    ("host", "scheme", "port"),
    [("h", "http", 80), ("h", "https", 443), ("[::1]:9", "http", 9), ("h:", "http", 80)],
)
def test_port_is_that_of_the_origin(host: str, scheme: str, port: int) -> None:
    client, _ = introduced("10.0.0.1", ("X-Forwarded-Proto", scheme), host=host)
    assert client.port == port


def test_quoted_commas_and_escapes_of_forwarded_are_read() -> None:
    assert parse_forwarded(r'for="a,b;c";host="x\"y", by=z') == [
        {"for": "a,b;c", "host": 'x"y'},
        {"by": "z"},
    ]


def test_long_garbage_is_read_in_linear_time() -> None:
    for value in ('"' * 30000, 'for="' + "\\" * 30000, "a=b;" * 8000, "," * 30000):
        introduced("10.0.0.1", ("Forwarded", value))


def test_a_peer_is_the_same_however_often_and_beside_whom_it_comes() -> None:
    rule = Forwarding([ipaddress.ip_network("10.0.0.0/8")])
    seen = {
        "10.0.0.1": ("10.0.0.1", True),
        "::ffff:192.0.2.1": ("192.0.2.1", False),
        "": ("", False),
    }
    for number in range(5000):  # more than are remembered
        rule.peer(f"192.0.{number // 250}.{number % 250}")
        for address, known in seen.items():
            assert rule.peer(address) == known
