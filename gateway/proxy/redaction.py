"""What of a URL may be logged: everything but values that open something. Pure."""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

REDACTED = b"[redacted]"

_NAMES = (
    rb"(?:[a-z0-9_.\-]*(?:token|ticket|secret|passwd|password|signature|assertion|apikey|api_key|"
    rb"credential)s?|code|state|sig|hmac|jwt|auth|key|session|sessionid|nonce|_xsrf|lti_message_hint)"
)
_SECRET_NAME = re.compile(_NAMES + rb"(?:\[\])?", re.IGNORECASE)
# In a value: a URL with a query of its own, e.g. `next=/gateway/login?ticket=…`.
_SECRET_INSIDE = re.compile(rb"(?:^|[^a-z0-9_.\-])" + _NAMES + rb"\s*=", re.IGNORECASE)
_SEPARATORS = re.compile(rb"([?&;#])")
# One-time links, which gateway/web/signin.py serves, and copies, whose address is all it takes.
_LINK_PATH = re.compile(rb"(/gateway/(?:login|enter|shared)/).+", re.DOTALL)


def redacted(url: bytes) -> bytes:
    """Return a request target, or a Referer, without what could be used by a reader of the log.

    Values of parameters with telling names are replaced, in query and fragment, however name and
    value are percent-encoded; so is what follows the path of a one-time link, or of a shared copy.
    """
    path, *rest = _SEPARATORS.split(url)
    parts = [_redacted_path(path)]
    for separator, pair in zip(rest[::2], rest[1::2], strict=True):
        name, equals, value = pair.partition(b"=")
        if equals and value and _is_secret(name, value):
            value = REDACTED
        elif not equals and _has_secret(_decoded(name)):
            # `next=https://…/x?token%3D…`: the inner URL is encoded in part.
            name = REDACTED
        parts += [separator, name, equals, value]
    return b"".join(parts)


def _redacted_path(path: bytes) -> bytes:
    if b"%" in path and (hidden := _LINK_PATH.search(_decoded(path))):
        return hidden[1] + REDACTED
    return _LINK_PATH.sub(rb"\1" + REDACTED, path)


def _is_secret(name: bytes, value: bytes) -> bool:
    return bool(_SECRET_NAME.fullmatch(_decoded(name).strip())) or _has_secret(_decoded(value))


def _has_secret(inner: bytes) -> bool:
    """Whether a value, decoded, is or has an address with something secret."""
    return bool(_SECRET_INSIDE.search(inner) or _LINK_PATH.search(inner))


def _decoded(text: bytes) -> bytes:
    """Undo what encodings there are: one inside the other too."""
    for _ in range(3):
        if b"%" not in text:
            break
        text = unquote_to_bytes(text)
    return text.replace(b"+", b" ")
