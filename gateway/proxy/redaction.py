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
# One-time links; gateway/web/signin.py serves them.
_LINK_PATH = re.compile(rb"(/gateway/(?:login|enter)/).+")


def redacted(url: bytes) -> bytes:
    """Return a request target, or a Referer, without what could be used by a reader of the log.

    Values of parameters with telling names are replaced, in query and fragment, however name and
    value are percent-encoded; so is what follows the path of a one-time link.
    """
    path, *rest = _SEPARATORS.split(url)
    parts = [_LINK_PATH.sub(rb"\1" + REDACTED, path)]
    for separator, pair in zip(rest[::2], rest[1::2], strict=True):
        name, equals, value = pair.partition(b"=")
        if equals and value and _is_secret(name, value):
            value = REDACTED
        parts += [separator, name, equals, value]
    return b"".join(parts)


def _is_secret(name: bytes, value: bytes) -> bool:
    name = _decoded(name).strip()
    return bool(_SECRET_NAME.fullmatch(name) or _SECRET_INSIDE.search(_decoded(value)))


def _decoded(text: bytes) -> bytes:
    """Undo what encodings there are: one inside the other too."""
    for _ in range(3):
        if b"%" not in text:
            break
        text = unquote_to_bytes(text)
    return text.replace(b"+", b" ")
