"""Who the client is: X-Forwarded-* and Forwarded (RFC 7239), believed from trusted peers only.

Pure. What is told to upstreams is made here too, from the result alone, so that nothing a client
made up can be left in it.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from typing import Final, cast

from gateway.proxy.head import list_tokens
from gateway.proxy.interface import Client
from gateway.proxy.messages import RequestHead

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_HOST: Final = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+;=%\-]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5}))?")
_PAIR: Final = re.compile(r'\s*([A-Za-z]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s;,"]*))\s*')
_ELEMENTS: Final = re.compile(r'(?:"(?:[^"\\]|\\.)*"|[^,"])+')
_PAIRS: Final = re.compile(r'(?:"(?:[^"\\]|\\.)*"|[^;"])+')
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_MOST_KNOWN: Final = 4096
# httpd writes the second for a variable that is not set.
_NOBODY: Final = (None, b"", b"(null)", b"-")


def parse_node(text: str) -> Address | None:
    """Return the address in `1.2.3.4`, `1.2.3.4:80`, `::1`, `[::1]` or `[::1]:80`, or None.

    IPv4 mapped into IPv6 comes back as IPv4, a zone is dropped.
    """
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = getattr(address, "ipv4_mapped", None)
    return mapped if isinstance(mapped, ipaddress.IPv4Address) else address


class Forwarding:
    """The rule which peers are proxies of ours.

    Args:
        trusted: networks whose word on the client is taken.
        user_headers: lower-case names of the headers in which they tell whom they have
            authenticated, and what that person is called; none, one or both.
    """

    def __init__(self, trusted: Sequence[Network] = (), user_headers: Sequence[bytes] = ()) -> None:
        self._trusted = tuple(trusted)
        self._user_headers = tuple(user_headers)
        self._known: dict[str, tuple[str, bool]] = {}

    def peer(self, address: str) -> tuple[str, bool]:
        """Return a peer's address in its usual form, "" for none, and whether it is trusted.

        It is remembered: a browser opens several connections, a proxy in front many.
        """
        known = self._known.get(address)
        if known is None:
            node = parse_node(address)
            known = ("", False) if node is None else (str(node), self._in_trusted(node))
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[address] = known
        return known

    def trusts(self, address: str) -> bool:
        """Whether `address` lies in a trusted network; False for what is no address."""
        node = parse_node(address)
        return node is not None and self._in_trusted(node)

    def client(self, head: RequestHead, peer: str, *, trusted: bool, scheme: str) -> Client:
        """Return who sent `head`.

        Args:
            head: the request.
            peer: the address the connection comes from; "" for a Unix socket.
            trusted: `trusts(peer)`, which a connection asks for once.
            scheme: what the connection itself speaks.
        """
        host = head.host.decode("latin-1")
        if not trusted:
            return Client(peer, scheme, host, _port_of(host, scheme))
        told = _Told(head)
        address = self._client_address(peer, told.hops())
        scheme = told.scheme() or scheme
        host = told.host() or host
        port = told.port() or _port_of(host, scheme)
        if not self._user_headers:
            return Client(address, scheme, host, port, trusted=True)
        user, name = self._told(head)
        return Client(address, scheme, host, port, True, _user(user), _user(name) or "")

    def _told(self, head: RequestHead) -> tuple[bytes | None, bytes | None]:
        """Return the values of the headers about a person.

        Several of one are joined by what is in no person's name: one may be the client's own.
        """
        found: list[bytes | None] = []
        for name in self._user_headers:
            values = [value for key, value in head.headers if key.lower() == name]
            found.append(b"/".join(values) if values else None)
        return found[0], found[1] if len(found) > 1 else None

    def lines(self, head: RequestHead, client: Client, peer: str) -> bytes:
        """Return the header lines that tell an upstream who sent `head`."""
        return forwarding_lines(client, peer)

    def _in_trusted(self, node: Address) -> bool:
        return any(node in network for network in self._trusted)

    def _client_address(self, peer: str, hops: list[str]) -> str:
        """Return the rightmost address that is not a trusted proxy's; garbage ends the walk."""
        last = peer
        for hop in reversed(hops):
            node = parse_node(hop)
            if node is None:
                break
            last = str(node)
            if not self._in_trusted(node):
                break
        return last


class _Told:
    """What a trusted peer told. X-Forwarded-For wins over Forwarded.

    httpd and nginx set the first and pass the second on from the client as it is; a proxy that
    speaks the second alone must remove the first.
    """

    def __init__(self, head: RequestHead) -> None:
        self._values: dict[bytes, list[bytes]] = {}
        for name, value in head.headers:
            low = name.lower()
            if low == b"forwarded" or low.startswith(b"x-forwarded-"):
                self._values.setdefault(low, []).append(value)
        self._elements: list[dict[str, str]] = []
        if b"x-forwarded-for" not in self._values:
            joined = b",".join(self._values.get(b"forwarded", [])).decode("latin-1")
            self._elements = parse_forwarded(joined)

    def hops(self) -> list[str]:
        if self._elements:
            return [element.get("for", "") for element in self._elements]
        return [hop.decode("latin-1") for hop in self._list(b"x-forwarded-for")]

    def scheme(self) -> str | None:
        told = self._last(b"x-forwarded-proto", "proto").lower()
        return told if told in _DEFAULT_PORTS else None

    def host(self) -> str | None:
        told = self._last(b"x-forwarded-host", "host")
        return told if _HOST.fullmatch(told) else None

    def port(self) -> int | None:
        told = self._last(b"x-forwarded-port", "")
        valid = told.isascii() and told.isdigit() and len(told) <= 5 and 0 < int(told) <= 65535
        return int(told) if valid else None

    def _list(self, name: bytes) -> list[bytes]:
        return list_tokens(self._values.get(name, []))

    def _last(self, name: bytes, member: str) -> str:
        """Return the last value told: the one that the peer itself set or let stand."""
        values = self._list(name)
        if values:
            return values[-1].decode("latin-1")
        return self._elements[-1].get(member, "") if self._elements else ""


def parse_forwarded(value: str) -> list[dict[str, str]]:
    """Return the elements of a Forwarded value, oldest first; malformed pairs are left out."""
    elements = []
    for part in _ELEMENTS.findall(value):
        element: dict[str, str] = {}
        for item in _PAIRS.findall(part):
            pair = _PAIR.fullmatch(item)
            if pair is not None:
                element[pair[1].lower()] = re.sub(r"\\(.)", r"\1", pair[2] or pair[3] or "")
        if element:
            elements.append(element)
    return elements


def _user(value: bytes | None) -> str | None:
    """Return what a proxy says of a person; None where it says that there is none."""
    if value in _NOBODY:
        return None
    try:
        return value.decode() if value else None
    except UnicodeDecodeError:
        return value.decode("latin-1") if value else None


def _port_of(host: str, scheme: str) -> int:
    match = _HOST.fullmatch(host)
    if match is not None and match[1] and 0 < int(match[1]) <= 65535:
        return int(match[1])
    return _DEFAULT_PORTS[scheme]


class Peer:
    """Who is at the other end of one connection, and the clients it speaks for.

    Args:
        forwarding: the rule.
        address: as text; "" for a Unix socket.
        scheme: `http` or `https`, as the connection speaks.
    """

    __slots__ = ("_address", "_client", "_forwarding", "_host", "_lines", "_scheme", "_trusted")

    def __init__(self, forwarding: Forwarding, address: str, scheme: str) -> None:
        self._forwarding = forwarding
        self._address, self._trusted = forwarding.peer(address)
        self._scheme = scheme
        self._host: bytes | None = None
        self._client = Client("", scheme, "", 0)
        self._lines = b""

    def introduce(self, head: RequestHead) -> tuple[Client, bytes]:
        """Return who sent `head`, and the header lines that tell an upstream.

        They are the same objects while an untrusted peer names the same host.
        """
        standing = head.standing
        if standing is None:
            return self._introduce(head)
        if standing.introduction is None:
            standing.introduction = self._introduce(head)
        return cast("tuple[Client, bytes]", standing.introduction)

    def _introduce(self, head: RequestHead) -> tuple[Client, bytes]:
        host = head.host
        if self._trusted or self._host != host:
            self._host = host
            self._client = self._forwarding.client(
                head, self._address, trusted=self._trusted, scheme=self._scheme
            )
            self._lines = self._forwarding.lines(head, self._client, self._address)
        return self._client, self._lines


def forwarding_lines(client: Client, peer: str) -> bytes:
    """Return the header lines that tell an upstream about `client` and the `peer` in between."""
    hops = [hop for hop in dict.fromkeys((client.address, peer)) if hop]
    node = client.address or "unknown"
    node = f'"[{node}]"' if ":" in node else node
    lines = [
        *([f"X-Forwarded-For: {', '.join(hops)}"] if hops else []),
        f"X-Forwarded-Proto: {client.scheme}",
        *([f"X-Forwarded-Host: {client.host}"] if client.host else []),
        f"X-Forwarded-Port: {client.port}",
        f'Forwarded: for={node};host="{client.host}";proto={client.scheme}',
    ]
    return "".join(f"{line}\r\n" for line in lines).encode("latin-1")
