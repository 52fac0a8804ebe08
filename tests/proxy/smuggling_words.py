"""What crafted messages are made of."""

from __future__ import annotations


def asked(start: bytes) -> bytes:
    """Return a whole request without a body: `start` is its method and target."""
    return start + b" HTTP/1.1\r\nHost: h\r\n\r\n"


def at_host(value: bytes) -> bytes:
    """Return a whole request whose Host is `value`."""
    return b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % value


# Heads whose last lines are still to come.
POST = b"POST / HTTP/1.1\r\nHost: h\r\n"
GET = b"GET / HTTP/1.1\r\nHost: h\r\n"
# A head whose body is still to come, and such a body.
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
HELLO = b"5\r\nhello\r\n0\r\n\r\n"
# What must never be taken for a request, and what must.
SMUGGLED = asked(b"GET /smuggled")
NEXT = asked(b"GET /next")
