"""What upstreams and clients are told: all headers as they came, X-Forwarded-*, and little else.

Hop-by-hop headers end here (RFC 9110, 7.6.1). What the client says about itself passes: whatever
stands in front of this proxy may have said it, and JupyterHub reads it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, cast
from urllib.parse import urlsplit

from gateway.chp.paths import prefix_length, with_query, without_prefix
from gateway.proxy.fields import (
    HOP_BY_HOP,
    Field,
    authority,
    beneath,
    connection_lines,
    ending_here,
    passing,
    request_lines,
    response_head,
)
from gateway.proxy.forwarded import Forwarding
from gateway.proxy.headers import HeaderRules
from gateway.proxy.interface import Client, Relay
from gateway.proxy.messages import RequestHead, ResponseHead
from routes.keys import Target

_FORWARDED: Final = (b"x-forwarded-for", b"x-forwarded-port", b"x-forwarded-proto")
_REDIRECTS: Final = frozenset({201, 301, 302, 307, 308})
_PORTS: Final = {"http": 80, "https": 443}
_PORT: Final = re.compile(rb":([0-9]+)\Z")
_LOCATION: Final = re.compile(rb"(?mi)^(location:[ \t]*)([^\r\n]*)")


class Appending(Forwarding):
    """Adds this hop to what X-Forwarded-* say already.

    Args:
        enabled: False to leave them alone.
        custom: header fields for upstreams, which are in place of ours.
    """

    def __init__(self, *, enabled: bool = True, custom: Sequence[Field] = ()) -> None:
        super().__init__()
        self._enabled = enabled
        self._given = frozenset(name.lower() for name, _ in custom)

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
            if name in self._given:
                continue
            values = [value for key, value in head.headers if key.lower() == name and value]
            values += [own] if own else []
            if values:
                lines.append(b"%b: %b\r\n" % (name.title(), b",".join(values)))
        named = b"x-forwarded-host" in self._given or head.get(b"x-forwarded-host") is not None
        if head.host and not named:
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
        self._include_prefix = rewriting.include_prefix
        self._by_host = rewriting.by_host
        custom = {name.lower() for name, _ in rewriting.custom}
        self._change_origin = rewriting.change_origin and b"host" not in custom
        self._names_host = rewriting.change_origin or b"host" in custom
        self._rewrites_location = rewriting.auto_rewrite or bool(rewriting.protocol)
        self._auto_rewrite, self._protocol = rewriting.auto_rewrite, rewriting.protocol
        self._removed = HOP_BY_HOP | custom
        if rewriting.x_forward:
            self._removed |= set(_FORWARDED)
        if rewriting.change_origin:
            self._removed |= {b"host"}
        self._custom = b"".join(b"%b: %b\r\n" % field for field in rewriting.custom)

    def to_route(
        self, head: RequestHead, relay: Relay, forwarding: bytes, request_id: bytes
    ) -> bytes:
        """Return the head that goes upstream; see HeaderRules."""
        target, path = relay.entry.target, head.target
        if not self._include_prefix:
            length = prefix_length(relay.entry.key, by_host=self._by_host)
            rooted = target is None or not target.path
            path = without_prefix(path, length, rooted=rooted)
        path = beneath(target, path)
        if target is not None and target.query:
            path = with_query(path, target.query)
        host = b"Host: %b\r\n" % authority(target) if self._change_origin else b""
        lines = self._known_lines(head, target, forwarding)
        return b"%b %b HTTP/1.1\r\n%b%b\r\n" % (head.method, path, host, lines)

    def to_client(
        self,
        head: ResponseHead,
        request: RequestHead,
        request_id: bytes,
        *,
        relay: Relay | None,
        keep_alive: bool,
    ) -> bytes:
        """Return the head that goes to the client; see HeaderRules."""
        if head.plain is not None:  # of known length, as are all of that kind
            if keep_alive:
                made = b"%bConnection: keep-alive\r\n\r\n" % head.plain
            else:
                made = b"%bConnection: close\r\n\r\n" % head.plain
        else:
            ending = connection_lines(head, request, keep_alive=keep_alive, always=True)
            made = response_head(head, passing(head), ending)
        if self._rewrites_location and head.status in _REDIRECTS and relay is not None:
            return self._with_location(made, relay.entry.target, request.host)
        return made

    def _known_lines(self, head: RequestHead, target: Target | None, forwarding: bytes) -> bytes:
        """Return the header lines of a request; they follow from its own, so are made once."""
        standing = head.standing
        if standing is not None and standing.lines is not None:
            return cast("bytes", standing.lines)
        host = b"" if self._names_host else authority(target)
        removed = ending_here(head, self._removed)
        fields = [field for field in head.headers if field[0].lower() not in removed]
        lines = request_lines(head, fields, host, [forwarding, self._custom])
        if standing is not None:
            standing.lines = lines
        return lines

    def _with_location(self, made: bytes, target: Target | None, host: bytes) -> bytes:
        """Return the head of an answer with its Location as the client has to see it."""
        if target is None:
            return made
        return _LOCATION.sub(lambda found: found[1] + self._moved(found[2], target, host), made, 1)

    def _moved(self, location: bytes, target: Target, host: bytes) -> bytes:
        try:
            url = urlsplit(location.decode("latin-1"))
            named = (url.hostname, url.port or _PORTS.get(url.scheme))
        except ValueError:
            return location
        if not url.netloc or named != (target.host, target.port):
            return location
        if self._protocol and url.scheme:
            url = url._replace(scheme=self._protocol)
        if self._auto_rewrite and host:
            url = url._replace(netloc=host.decode("latin-1"))
        return url.geturl().encode("latin-1")


def _port_of(host: bytes, scheme: str) -> int:
    named = _PORT.search(host)
    return int(named[1]) if named else _PORTS[scheme]
