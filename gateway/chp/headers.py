"""What upstreams and clients are told: all headers as they came, X-Forwarded-*, and little else.

Hop-by-hop headers end here (RFC 9110, 7.6.1). What the client says about itself passes: whatever
stands in front of this proxy may have said it, and JupyterHub reads it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from gateway.chp.paths import prefix_length, without_prefix
from gateway.proxy.forwarded import Forwarding
from gateway.proxy.headers import HOP_BY_HOP, Field, HeaderRules, named_by_connection
from gateway.proxy.interface import Client, Relay, RouteEntry
from gateway.proxy.messages import Framing, RequestHead, ResponseHead
from routes.keys import Target

_FORWARDED = (b"x-forwarded-for", b"x-forwarded-port", b"x-forwarded-proto")
_REDIRECTS = frozenset({201, 301, 302, 307, 308})
_PORTS = {"http": 80, "https": 443}
_PORT = re.compile(rb":([0-9]+)\Z")
_LOCATION = re.compile(rb"(?mi)^(location:[ \t]*)([^\r\n]*)")


class Appending(Forwarding):
    """Adds this hop to what X-Forwarded-* say already.

    Args:
        enabled: False to leave them alone.
    """

    def __init__(self, *, enabled: bool = True) -> None:
        super().__init__()
        self._enabled = enabled

    def trusts(self, address: str) -> bool:
        """Let each head be looked at by itself: what it says passes."""
        return True

    def client(self, head: RequestHead, peer: str, *, trusted: bool, scheme: str) -> Client:
        """Return who is at the other end of the connection."""
        return Client(peer, scheme, head.host.decode("latin-1"), _port_of(head.host, scheme))

    def lines(self, head: RequestHead, client: Client, peer: str) -> bytes:
        """Return the X-Forwarded-* lines for an upstream."""
        if not self._enabled:
            return b""
        scheme = client.scheme
        if head.upgrade:
            scheme = "wss" if scheme == "https" else "ws"
        ours = (peer.encode(), b"%d" % client.port, scheme.encode())
        lines = []
        for name, own in zip(_FORWARDED, ours, strict=True):
            values = [value for key, value in head.headers if key.lower() == name and value]
            values += [own] if own else []
            if values:
                lines.append(b"%b: %b\r\n" % (name.title(), b",".join(values)))
        if head.get(b"x-forwarded-host") is None and head.host:
            lines.append(b"X-Forwarded-Host: %b\r\n" % head.host)
        return b"".join(lines)


@dataclass(frozen=True, slots=True)
class Rewriting:
    """What is changed on the way.

    Attributes:
        x_forward: X-Forwarded-* are ours to write.
        include_prefix: the route's prefix goes upstream with the path.
        by_host: the first segment of keys is a host.
        change_origin: upstreams get their own name as Host.
        custom: header fields for upstreams, in place of the client's.
        auto_rewrite: the host in a Location that names the upstream becomes the client's.
        protocol: and its scheme this one; "" to leave it.
    """

    x_forward: bool = True
    include_prefix: bool = True
    by_host: bool = False
    change_origin: bool = False
    custom: Sequence[Field] = ()
    auto_rewrite: bool = False
    protocol: str = ""


class PlainRules(HeaderRules):
    """The header rules.

    Args:
        rewriting: what is changed.
    """

    def __init__(self, rewriting: Rewriting) -> None:
        super().__init__(frozenset())
        self._rewriting = rewriting
        self._removed = HOP_BY_HOP | {name.lower() for name, _ in rewriting.custom}
        if rewriting.x_forward:
            self._removed |= set(_FORWARDED)
        if rewriting.change_origin:
            self._removed |= {b"host"}
        self._custom = b"".join(b"%b: %b\r\n" % field for field in rewriting.custom)

    @property
    def rewrites_location(self) -> bool:
        """Whether the Location of an answer may have to be changed."""
        return self._rewriting.auto_rewrite or bool(self._rewriting.protocol)

    def to_route(
        self, head: RequestHead, relay: Relay, forwarding: bytes, request_id: bytes
    ) -> bytes:
        """Return the head that goes upstream; see HeaderRules."""
        standing = head.standing
        made = None if standing is None else standing.lines
        if made is None or made[0] is not relay:
            made = (relay, self._lines(head, relay, forwarding))
            if standing is not None:
                standing.lines = made
        entry, path = relay.entry, head.target
        if not self._rewriting.include_prefix:
            length = prefix_length(entry.key, by_host=self._rewriting.by_host)
            path = without_prefix(path, length)
        if entry.target is not None and entry.target.path:
            path = entry.target.path.encode() + path
        return b"%b %b HTTP/1.1\r\n%b\r\n" % (head.method, path, made[1])

    def to_client(
        self,
        head: ResponseHead,
        request: RequestHead,
        request_id: bytes,
        *,
        notebook: bool,
        keep_alive: bool,
    ) -> bytes:
        """Return the head that goes to the client; see HeaderRules."""
        ending = _connection_lines(head, request, keep_alive=keep_alive)
        if head.plain is not None:
            return b"%b%b\r\n" % (head.plain, ending)
        removed = HOP_BY_HOP | named_by_connection(head.headers)
        if head.status < 200 or head.status == 204:
            removed |= {b"content-length"}  # RFC 9110, 8.6
        lines = [b"%b: %b\r\n" % field for field in head.headers if field[0].lower() not in removed]
        return b"HTTP/1.1 %d %b\r\n%b%b\r\n" % (head.status, head.reason, b"".join(lines), ending)

    def with_location(self, made: bytes, status: int, entry: RouteEntry, host: bytes) -> bytes:
        """Return the head of an answer with its Location as the client has to see it.

        Args:
            made: from to_client.
            status: of the answer.
            entry: the route that it came by.
            host: the client's Host.
        """
        if status not in _REDIRECTS or entry.target is None:
            return made
        place = entry.target
        return _LOCATION.sub(lambda found: found[1] + self._moved(found[2], place, host), made, 1)

    def _moved(self, location: bytes, target: Target, host: bytes) -> bytes:
        try:
            url = urlsplit(location.decode("latin-1"))
            named = (url.hostname, url.port or _PORTS.get(url.scheme))
        except ValueError:
            return location
        if not url.netloc or named != (target.host, target.port):
            return location
        if self._rewriting.protocol and url.scheme:
            url = url._replace(scheme=self._rewriting.protocol)
        if self._rewriting.auto_rewrite and host:
            url = url._replace(netloc=host.decode("latin-1"))
        return url.geturl().encode("latin-1")

    def _lines(self, head: RequestHead, relay: Relay, forwarding: bytes) -> bytes:
        removed = self._removed | named_by_connection(head.headers)
        if not head.expect_continue:
            removed |= {b"expect"}
        fields = [field for field in head.headers if field[0].lower() not in removed]
        lines = [b"%b: %b\r\n" % field for field in fields]
        if self._rewriting.change_origin or not head.host:
            lines.insert(0, b"Host: %b\r\n" % _authority(relay.entry.target))
        if head.framing is Framing.CHUNKED:
            lines.append(b"Transfer-Encoding: chunked\r\n")
        if head.upgrade:
            lines.append(b"Connection: Upgrade\r\nUpgrade: %b\r\n" % head.upgrade)
        return b"".join((*lines, forwarding, self._custom))


def _port_of(host: bytes, scheme: str) -> int:
    named = _PORT.search(host)
    return int(named[1]) if named else _PORTS[scheme]


def _authority(target: Target | None) -> bytes:
    if target is None:
        return b"localhost"
    host = f"[{target.host}]" if ":" in target.host else target.host
    return (
        host.encode() if _PORTS[target.scheme] == target.port else f"{host}:{target.port}".encode()
    )


def _connection_lines(head: ResponseHead, request: RequestHead, *, keep_alive: bool) -> bytes:
    if head.status == 101:
        return b"Connection: Upgrade\r\nUpgrade: %b\r\n" % request.upgrade
    if head.status < 200:
        return b""
    chunked = head.framing in (Framing.CHUNKED, Framing.UNTIL_CLOSE) and request.version == 11
    framing = b"Transfer-Encoding: chunked\r\n" if chunked else b""
    return framing + (b"Connection: keep-alive\r\n" if keep_alive else b"Connection: close\r\n")
