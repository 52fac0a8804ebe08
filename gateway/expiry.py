"""When a certificate ends. Pure: reads the one field out of its DER form (RFC 5280, 4.1)."""

from __future__ import annotations

import re
import ssl
from datetime import UTC, datetime

_FIRST = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)
_VERSION = 0xA0
_UTC_TIME, _GENERALIZED_TIME = 0x17, 0x18


def expiry_of(pem: str) -> float:
    """Return the `notAfter` of the first certificate in `pem`, as seconds since the epoch.

    Raises:
        ValueError: there is none, or it is damaged.
    """
    first = _FIRST.search(pem)
    if first is None:
        raise ValueError("there is no certificate in PEM form")
    try:
        return _not_after(ssl.PEM_cert_to_DER_cert(first[0]))
    except IndexError as error:
        raise ValueError("the certificate is damaged") from error


def _not_after(der: bytes) -> float:
    _, certificate, _ = _element(der, 0)
    _, at, _ = _element(der, certificate)
    if der[at] == _VERSION:
        at = _element(der, at)[2]
    for _ in ("serialNumber", "signature", "issuer"):
        at = _element(der, at)[2]
    _, validity, _ = _element(der, at)
    _, _, after = _element(der, validity)
    tag, start, end = _element(der, after)
    return _time(tag, der[start:end].decode("ascii"))


def _element(der: bytes, at: int) -> tuple[int, int, int]:
    """Return tag, start and end of the content of the element at `at` (X.690, 8.1)."""
    tag, length, start = der[at], der[at + 1], at + 2
    if length & 0x80:
        start += length & 0x7F
        length = int.from_bytes(der[at + 2 : start])
    return tag, start, start + length


def _time(tag: int, text: str) -> float:
    if tag == _UTC_TIME:
        text = ("19" if text >= "5" else "20") + text  # RFC 5280, 4.1.2.5.1
    elif tag != _GENERALIZED_TIME:
        raise ValueError("the certificate has no end")
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp()
