"""What every kind of header rules is made of: hop-by-hop headers, and how a head is written. Pure.

Which headers pass besides, and which are added, is headers.py's and other kinds' of gateways.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from gateway.proxy.head import list_tokens
from gateway.proxy.messages import Framing, RequestHead, ResponseHead
from routes.keys import Target

Field = tuple[bytes, bytes]

HOP_BY_HOP: Final = frozenset(
    b"connection proxy-connection keep-alive te transfer-encoding upgrade "
    b"proxy-authenticate proxy-authorization http2-settings".split()
)
# What a browser takes as said for the whole origin, often for good. In path routing that is not a
# notebook's: a service worker of one would rewrite all pages, of the gateway too.
FOR_ORIGIN: Final = frozenset(
    b"service-worker-allowed clear-site-data nel report-to "
    b"strict-transport-security alt-svc".split()
)
# What says who may show a page in a frame; of a notebook that is rewritten.
FRAMING: Final = frozenset((b"content-security-policy", b"x-frame-options"))
# Connection may not name these away: the message would mean something else without them.
_UNTOUCHABLE: Final = frozenset(b"host content-length content-type cookie authorization".split())
_PORTS: Final = {"http": 80, "https": 443}


def named_by_connection(headers: Iterable[Field]) -> frozenset[bytes]:
    """Return the lower-case header names that Connection declares hop-by-hop."""
    values = [value for name, value in headers if name.lower() == b"connection"]
    return frozenset(list_tokens(values)) - _UNTOUCHABLE if values else frozenset()


def ending_here(head: RequestHead, removed: frozenset[bytes]) -> frozenset[bytes]:
    """Return the lower-case names of a request's headers that go no further, `removed` among them.

    The others are those that Connection names, and an Expect that nobody waits for.
    """
    removed |= named_by_connection(head.headers)
    return removed if head.expect_continue else removed | {b"expect"}


def request_lines(head: RequestHead, fields: list[Field], host: bytes, lines: list[bytes]) -> bytes:
    """Return the header lines of a request.

    Args:
        head: the client's.
        fields: what passes of it.
        host: stands in where HTTP/1.0 sent none; b"" where Host is written elsewhere.
        lines: come last.
    """
    rendered = [b"%b: %b\r\n" % field for field in fields]
    if host and not head.host:
        rendered.insert(0, b"Host: %b\r\n" % host)
    if head.framing is Framing.CHUNKED:
        rendered.append(b"Transfer-Encoding: chunked\r\n")
    if head.upgrade:
        rendered.append(b"Connection: Upgrade\r\nUpgrade: %b\r\n" % head.upgrade)
    rendered.extend(lines)
    return b"".join(rendered)


def passing(head: ResponseHead, removed: frozenset[bytes] = HOP_BY_HOP) -> list[Field]:
    """Return the header fields of a response that go on to the client."""
    removed |= named_by_connection(head.headers)
    if head.status < 200 or head.status == 204:
        removed |= {b"content-length"}  # RFC 9110, 8.6
    return [field for field in head.headers if field[0].lower() not in removed]


def response_head(head: ResponseHead, fields: list[Field], ending: bytes) -> bytes:
    """Return the head of a response with these fields, and then these lines."""
    lines = b"".join([b"%b: %b\r\n" % field for field in fields])
    return b"HTTP/1.1 %d %b\r\n%b%b\r\n" % (head.status, head.reason, lines, ending)


def connection_lines(
    head: ResponseHead, request: RequestHead, *, keep_alive: bool, always: bool = False
) -> bytes:
    """Return what says how the client's connection goes on and how the body is framed.

    Args:
        head: the upstream's.
        request: what it answers.
        keep_alive: whether the client's connection lives on.
        always: say that it does to clients, too, that expect it: those of HTTP/1.1.
    """
    if head.status == 101:
        return b"Connection: Upgrade\r\nUpgrade: %b\r\n" % request.upgrade
    if head.status < 200:
        return b""
    chunked = head.framing in (Framing.CHUNKED, Framing.UNTIL_CLOSE) and request.version == 11
    framing = b"Transfer-Encoding: chunked\r\n" if chunked else b""
    if not keep_alive:
        return framing + b"Connection: close\r\n"
    tell = always or request.version == 10
    return framing + (b"Connection: keep-alive\r\n" if tell else b"")


def authority(target: Target | None) -> bytes:
    """Return the Host by which a target knows itself."""
    if target is None:
        return b"localhost"
    host = f"[{target.host}]" if ":" in target.host else target.host
    return (host if _PORTS[target.scheme] == target.port else f"{host}:{target.port}").encode()


def beneath(target: Target | None, path: bytes) -> bytes:
    """Return the raw path that is asked for at `target`: its own path comes first."""
    return target.path.encode() + path if target is not None and target.path else path
