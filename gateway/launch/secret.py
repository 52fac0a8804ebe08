"""Tokens and tickets: 256 random bits for the browser, their SHA-256 for us."""

from __future__ import annotations

import hashlib
import secrets


def fresh() -> str:
    """Return a new secret of 256 random bits, 43 characters that any URL or cookie can hold."""
    return secrets.token_urlsafe(32)


def digest(secret: str | bytes) -> str:
    """Return what is stored in place of `secret`: hexadecimal SHA-256.

    No salt and no slow hash: what has 256 random bits cannot be guessed from it.
    """
    raw = secret.encode("utf-8", "surrogatepass") if isinstance(secret, str) else secret
    return hashlib.sha256(raw).hexdigest()
