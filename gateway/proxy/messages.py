"""HTTP/1.1 heads as the data path holds them. Parsing lives in head.py; no I/O here."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Framing(enum.Enum):
    """How the end of a body is known (RFC 9112, section 6)."""

    NONE = "none"
    LENGTH = "length"
    CHUNKED = "chunked"
    UNTIL_CLOSE = "until-close"


@dataclass(slots=True)
class RequestHead:
    """A request head that passed the strict grammar.

    Attributes:
        method: as sent, e.g. b"GET".
        target: the raw request target in origin-form, byte for byte.
        version: 10 or 11.
        headers: (name as sent, value without surrounding blanks), in order.
        framing: NONE, LENGTH or CHUNKED.
        length: bytes of the body when framing is LENGTH, else 0.
        keep_alive: whether the client lets the connection live on.
        upgrade: the lower-case protocol it asks to upgrade to (b"websocket"); b"" for none.
        expect_continue: whether it waits for `100 Continue`.
    """

    method: bytes
    target: bytes
    version: int
    headers: list[tuple[bytes, bytes]]
    framing: Framing = Framing.NONE
    length: int = 0
    keep_alive: bool = True
    upgrade: bytes = b""
    expect_continue: bool = False

    def get(self, name: bytes) -> bytes | None:
        """Return the first value of the header `name` (lower case), or None."""
        for key, value in self.headers:
            if key.lower() == name:
                return value
        return None

    @property
    def path(self) -> bytes:
        """The raw path, without the query."""
        return self.target.partition(b"?")[0]

    @property
    def query(self) -> bytes:
        """The raw query without its question mark; b"" when there is none."""
        return self.target.partition(b"?")[2]

    @property
    def host(self) -> bytes:
        """The Host header as sent; b"" for HTTP/1.0 without one."""
        return self.get(b"host") or b""


@dataclass(slots=True)
class ResponseHead:
    """A response head of an upstream.

    Attributes:
        status: 100–599.
        reason: as sent; may be b"".
        version: 10 or 11.
        headers: (name as sent, value), in order.
        framing: how its body ends, the request's method considered.
        length: bytes of the body when framing is LENGTH, else 0.
        keep_alive: whether the upstream connection can be used again.
    """

    status: int
    reason: bytes
    version: int
    headers: list[tuple[bytes, bytes]]
    framing: Framing = Framing.NONE
    length: int = 0
    keep_alive: bool = True
