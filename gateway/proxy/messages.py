"""HTTP/1.1 heads as the data path holds them. Parsing lives in head.py; no I/O here.

No dataclasses: each request makes two of these, and compiled a plain class is quicker.
"""

from __future__ import annotations

import enum
from typing import Any, Final


class Framing(enum.Enum):
    """How the end of a body is known (RFC 9112, section 6)."""

    NONE = "none"
    LENGTH = "length"
    CHUNKED = "chunked"
    UNTIL_CLOSE = "until-close"


class Standing:
    """What was found out about a header block, for the next request of the connection with it.

    A client repeats its headers, and little but the request line changes. Each module keeps in
    its attribute what follows from the block alone, or from the block and what stands beside it.

    Attributes:
        values: lower-case name → first value.
        introduction: forwarded.py's: who the client is, and the lines that tell an upstream.
        host: the gate's: the host in the form of keys; None while unknown.
        tokens: the gate's: SHA-256 of the session tokens; None while unknown.
        verdict: the gate's: (entry, principal, method, decision) of the latest request.
        lines: headers.py's: the header lines for the latest upstream, and for which they are good.
        person: exchange.py's: (method, whether such a request shows a person).
    """

    __slots__ = ("host", "introduction", "lines", "person", "tokens", "values", "verdict")

    def __init__(self, headers: list[tuple[bytes, bytes]]) -> None:
        self.values: dict[bytes, bytes] = {}
        for name, value in headers:
            self.values.setdefault(name.lower(), value)
        self.introduction: Any = None
        self.host: str | None = None
        self.tokens: Any = None
        self.verdict: Any = None
        self.lines: Any = None
        self.person: Any = None


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
        standing: shared by the connection's requests with the same headers; None where the
            headers say anything about a body or an upgrade.
    """

    __slots__ = (
        "expect_continue",
        "framing",
        "headers",
        "keep_alive",
        "length",
        "method",
        "standing",
        "target",
        "upgrade",
        "version",
    )

    def __init__(
        self,
        method: bytes,
        target: bytes,
        version: int,
        headers: list[tuple[bytes, bytes]],
        *,
        keep_alive: bool = True,
        upgrade: bytes = b"",
        standing: Standing | None = None,
    ) -> None:
        self.method = method
        self.target = target
        self.version = version
        self.headers = headers
        self.framing = Framing.NONE
        self.length = 0
        self.keep_alive = keep_alive
        self.upgrade = upgrade
        self.expect_continue = False
        self.standing = standing

    def get(self, name: bytes) -> bytes | None:
        """Return the first value of the header `name` (lower case), or None."""
        if self.standing is not None:
            return self.standing.values.get(name)
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


COUNTED: Final = (Framing.LENGTH, Framing.NONE)
"""Framings whose end is known from the head."""


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
        plain: the head as it may go on, without its end, where no line of it is for us to touch;
            `headers` is empty then. Else None.
        policy: the one line in `plain` that says who may show it in a frame; b"" for none.
    """

    __slots__ = (
        "framing",
        "headers",
        "keep_alive",
        "length",
        "plain",
        "policy",
        "reason",
        "status",
        "version",
    )

    def __init__(
        self,
        status: int,
        reason: bytes,
        version: int,
        headers: list[tuple[bytes, bytes]],
        *,
        framing: Framing = Framing.NONE,
        length: int = 0,
        plain: bytes | None = None,
    ) -> None:
        self.status = status
        self.reason = reason
        self.version = version
        self.headers = headers
        self.framing = framing
        self.length = length
        self.keep_alive = True
        self.plain = plain
        self.policy = b""
