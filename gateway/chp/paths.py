"""How a path of the API, a route's key and a request's path go together. Pure.

A key is what JupyterHub sees: decoded text with a leading `/`. The table (routes/table.py) holds
it in one percent-encoding, the plainest, and a request's path is brought into the same form, so
that `@` and `%40` are one. What is forwarded is never touched, but for a prefix that is cut off
and a target's query that is put in.
"""

from __future__ import annotations

import re
from dataclasses import replace
from urllib.parse import quote, unquote_to_bytes

from routes.keys import InvalidKey, Target, canonical_key, parse_target
from routes.plain import plain_path, plainly

_BROKEN_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_PORT = re.compile(rb":[0-9]*\Z")
_OF_QUERIES = "!$%&()*+,-./:;=?@[\\]^_`{|}~"  # what a URL's query holds as it is


class BrokenEscape(ValueError):
    """A path with a `%` that begins no escape."""


def key_of(raw: str) -> str:
    """Return the key that the API means by what follows `/api/routes` in its raw path.

    Raises:
        InvalidKey: a broken escape, or bytes that are no UTF-8.
    """
    encoded = raw.encode("utf-8", "surrogateescape")
    if _BROKEN_ESCAPE.search(encoded):
        raise InvalidKey(raw, "has a % that begins no escape; write %25 for a percent sign")
    try:
        key = unquote_to_bytes(encoded).decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidKey(raw, "is not UTF-8 when its escapes are decoded") from error
    return shortened(key if key.startswith("/") else "/" + key)


def shortened(key: str) -> str:
    """Return a key without a slash at its end.

    One is cut off where a route is removed, and two where it is set or asked for, as
    configurable-http-proxy does: `/x//` sets `/x`.
    """
    return key[:-1] if len(key) > 1 and key.endswith("/") else key


def table_key(key: str, *, by_host: bool) -> str:
    """Return the form of a key that the table holds; with host routing its host is lower case.

    Raises:
        InvalidKey: too long, or with `.` or `..` segments.
    """
    if by_host and key != "/":
        host, slash, rest = key[1:].partition("/")
        key = f"/{host.lower()}{slash}{rest}"
    return canonical_key(plainly(key.encode()))


def target_of(text: str) -> Target:
    """Return the target that a URL stands for: its query goes before each request's.

    Raises:
        InvalidTarget: it cannot be one.
    """
    address, _, query = text.partition("#")[0].partition("?")
    target = parse_target(address, tls=True)
    return replace(target, query=quote(query, safe=_OF_QUERIES)) if query else target


def with_query(target: bytes, query: str) -> bytes:
    """Return a raw request target with `query` before its own."""
    path, _, own = target.partition(b"?")
    joined = b"&" + own if own else b""
    return b"%b?%b%b" % (path, query.encode(), joined)


def lookup_path(raw: bytes) -> bytes:
    """Return a request's raw target as the table compares it: without query, plainly encoded.

    Raises:
        BrokenEscape: it has a `%` that begins no escape.
    """
    path = raw.partition(b"?")[0]
    if b"%" not in path:
        return path
    if _BROKEN_ESCAPE.search(path):
        raise BrokenEscape
    return plain_path(path)


def host_segment(host: bytes) -> bytes:
    """Return the first segment of a path under host routing: the host without its port."""
    return _PORT.sub(b"", host.strip().lower())


def without_prefix(target: bytes, length: int, *, rooted: bool = True) -> bytes:
    """Return a raw request target without its first `length` decoded bytes.

    Args:
        target: its decoded path begins with a route's key.
        length: of that key, decoded; 0 for the key `/`.
        rooted: the rest begins with `/`, even where nothing was behind the key.
    """
    end = 0
    for _ in range(length):
        end += 3 if target[end : end + 1] == b"%" else 1
    rest = target[end:]
    return b"/" + rest if rooted and not rest.startswith(b"/") else rest


def prefix_length(key: str, *, by_host: bool) -> int:
    """Return how many decoded bytes of a request's path the key in the table's form stands for."""
    if by_host:
        key = "/" + key[1:].partition("/")[2]
    return 0 if key == "/" else len(unquote_to_bytes(key))
