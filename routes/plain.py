"""The plainest percent-encoding of a path: what a path may hold raw is raw. Pure.

JupyterHub's proxy compares decoded paths, so `@` and `%40`, `+` and `%2B`, `/` and `%2F` are one
there. This form makes them one too, and stays text of ASCII without ambiguity. keys.py has the
stricter form of the route file; what is in this one is in that one as well.
"""

from __future__ import annotations

import re
from urllib.parse import quote, unquote_to_bytes

_PCHAR = "/!$&'()*+,;=:@"
# The escapes of _PCHAR in canonical form, without the slash.
_ESCAPED = re.compile(rb"%(2[146789ABC]|3[ABD]|40)")


def plain_path(raw: bytes) -> bytes:
    """Return a raw path in the plainest encoding; a `%` that begins no escape becomes `%25`."""
    return plainly(unquote_to_bytes(raw)).encode("ascii")


def plain_segment(canonical: bytes) -> bytes:
    """Return a segment, in canonical form, in the plainest encoding; `%2F` stays within it."""
    return _ESCAPED.sub(_decoded, canonical)


def plainly(decoded: bytes) -> str:
    """Return a decoded path in the plainest encoding."""
    return quote(decoded, safe=_PCHAR)


def _decoded(escape: re.Match[bytes]) -> bytes:
    return bytes((int(escape[1], 16),))
