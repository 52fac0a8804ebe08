"""Signatures of links: the text that is signed, and HMAC-SHA-256 over it. Pure.

docs/links.md tells the form to whoever signs; docs/signers/ has it in three languages. It covers
the path and every parameter, as plain text in one order, so re-encoding or sorting changes nothing
and an alteration of anything else does.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass

from gateway.launch.targets import BadLink, Target

SIGNATURE = "sig"
KEY = "kid"
EXPIRES = "exp"
NONCE = "nonce"
NAME = "name"
OURS = frozenset((SIGNATURE, KEY, EXPIRES, NONCE, NAME))
"""What a signature adds to a link; none of it is passed on."""

_VERSION = "nbgate-link-1"
_PARAMETER = re.compile(r"[A-Za-z0-9._~-]{1,64}")
_KEY_ID = re.compile(r"[a-z0-9]{1,32}")
_SECONDS = re.compile(r"[1-9][0-9]{0,10}")
_NONCE = re.compile(r"[A-Za-z0-9_-]{16,64}")
_HEX = re.compile(r"[0-9a-f]{64}")
_LONGEST_NAME = 100


@dataclass(frozen=True, slots=True)
class Claim:
    """What a link says about its signature; nothing of it has been checked but its form.

    Attributes:
        kid: which key.
        expires: seconds since the epoch.
        nonce: makes it good for one use; None for any number.
        name: what pages call the person; "" for nothing.
        signature: 64 hexadecimal digits.
        text: what was to be signed.
    """

    kid: str
    expires: int
    nonce: str | None
    name: str
    signature: str
    text: bytes


def is_signed(target: Target) -> bool:
    """Whether the link claims to be signed: also one that lost a part of its signature."""
    return any(name in (SIGNATURE, KEY) for name, _ in target.parameters)


def signed_text(path: str, parameters: Mapping[str, str]) -> bytes:
    """Return what is signed: the version, the path, and each `name=value` by name, in lines.

    No value holds a line end, and no name a `=` or a character besides ASCII, so two links never
    have the same text.

    Args:
        path: of the URL, in plain text.
        parameters: of the query, in plain text; `sig` is left out.
    """
    lines = [_VERSION, path]
    lines += [f"{name}={parameters[name]}" for name in sorted(parameters) if name != SIGNATURE]
    return "\n".join(lines).encode()


def signature(secret: str, text: bytes) -> str:
    """Return the HMAC-SHA-256 (RFC 2104) of `text` in 64 hexadecimal digits."""
    return hmac.new(secret.encode(), text, hashlib.sha256).hexdigest()


def claim_of(target: Target) -> Claim:
    """Return what a signed link says.

    Raises:
        BadLink: a parameter is there twice, is missing, or has another form.
    """
    parameters = dict(target.parameters)
    if len(parameters) != len(target.parameters):
        raise BadLink("a parameter that is there twice")
    if not all(_PARAMETER.fullmatch(name) for name in parameters):
        raise BadLink("a parameter's name")
    kid, expires, nonce = (parameters.get(name) for name in (KEY, EXPIRES, NONCE))
    given = parameters.get(SIGNATURE, "")
    if not (_fits(_KEY_ID, kid) and _fits(_SECONDS, expires) and _HEX.fullmatch(given)):
        raise BadLink("a part of the signature")
    if nonce is not None and not _NONCE.fullmatch(nonce):
        raise BadLink("a nonce")
    name = parameters.get(NAME, "")
    if len(name) > _LONGEST_NAME or name != name.strip():
        raise BadLink("a name")
    text = signed_text(target.path, parameters)
    return Claim(kid or "", int(expires or 0), nonce, name, given, text)


def _fits(form: re.Pattern[str], text: str | None) -> bool:
    return text is not None and form.fullmatch(text) is not None


def is_good(claim: Claim, secret: str) -> bool:
    """Whether `secret` has signed the link; takes as long for each wrong signature."""
    return hmac.compare_digest(signature(secret, claim.text), claim.signature)
