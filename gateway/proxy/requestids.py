"""What each request is called, in X-Request-ID and in the log."""

from __future__ import annotations

import re
import secrets
from typing import Final

from gateway.proxy.messages import RequestHead

_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._~+/=:@\-]{1,128}")
# Formatting a number for each request costs more than looking its end up.
_LAST_DIGITS: Final = [b"%03x" % number for number in range(4096)]


class RequestIds:
    """Names requests: the client's X-Request-ID if it is sane, else one of our own."""

    def __init__(self) -> None:
        self._random = secrets.token_hex(10).encode()
        self._prefix = b""
        self._count = -1

    def of(self, head: RequestHead) -> bytes:
        """Return the id of a request."""
        standing = head.standing
        if standing is None or b"x-request-id" in standing.values:
            told = head.get(b"x-request-id")
            if told is not None and _REQUEST_ID.fullmatch(told):
                return told
        return self.next()

    def next(self) -> bytes:
        """Return an id that no other request has: random per process, then counted."""
        self._count += 1
        last = self._count % len(_LAST_DIGITS)
        if not last:
            self._prefix = b"%b%09x" % (self._random, self._count // len(_LAST_DIGITS))
        return self._prefix + _LAST_DIGITS[last]
