"""The public listener's certificate: loaded, and told about when it cannot be used.

How it is renewed is renewal.py's.
"""

from __future__ import annotations

import contextlib
import ssl
from pathlib import Path
from typing import NoReturn

from gateway.errors import InvalidInput
from gateway.proxy.renewal import Renewed, follow


class _Encrypted(Exception):
    """The key file asks for a passphrase."""


def renewing(cert: Path, key: Path) -> Renewed:
    """Return what serves a certificate and its key, and follows them.

    Args:
        cert: PEM file, the certificate first, then its chain.
        key: PEM file with its private key, not encrypted.

    Raises:
        InvalidInput: the pair cannot be used; one line that names file and remedy.
    """
    return Renewed(f"TLS certificate {cert}", (cert, key), lambda: load_pair(cert, key))


async def open_tls(
    cert: Path | None, key: Path | None, stack: contextlib.AsyncExitStack
) -> ssl.SSLContext | None:
    """Return the context for a listener, and keep its certificate fresh until `stack` is left.

    Args:
        cert: PEM file; None for no TLS.
        key: PEM file; None for no TLS.
        stack: ends the watch.

    Raises:
        InvalidInput: the pair cannot be used.
    """
    if cert is None or key is None:
        return None
    certificate = renewing(cert, key)
    follow(certificate, stack)
    return certificate.for_listener()


def load_pair(cert: Path, key: Path) -> ssl.SSLContext:
    """Return a server's context with this pair: TLS 1.2 or newer, HTTP/1.1.

    Raises:
        InvalidInput: the pair cannot be used; one line that names file and remedy.
    """
    _check(cert, "certificate", "NBGATE_TLS_CERT", b"-----BEGIN CERTIFICATE-----")
    _check(key, "private key", "NBGATE_TLS_KEY", b"PRIVATE KEY-----")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(cert, key, password=_asked)
    except _Encrypted as error:
        raise InvalidInput(
            f"the private key {key} is encrypted; write it without a passphrase "
            f"(openssl pkey -in {key.name} -out …), readable by the gateway alone"
        ) from error
    except ssl.SSLError as error:
        raise InvalidInput(_reason(cert, key, error)) from error
    except OSError as error:  # gone since it was checked
        raise InvalidInput(f"cannot read {cert} or {key}: {error.strerror}") from error
    return context


def _check(path: Path, what: str, name: str, begin: bytes) -> None:
    try:
        text = path.read_bytes()
    except OSError as error:
        raise InvalidInput(
            f"cannot read the {what} {path}: {error.strerror}; {name} names a PEM file that the "
            f"gateway's user can read"
        ) from error
    if begin not in text:
        raise InvalidInput(f"{path} holds no {what} in PEM form; {name} must name one that does")


def _asked() -> NoReturn:
    raise _Encrypted


def _reason(cert: Path, key: Path, error: ssl.SSLError) -> str:
    if error.reason == "KEY_VALUES_MISMATCH":
        return f"the private key {key} is not that of the certificate {cert}; give a matching pair"
    return (
        f"the certificate {cert} and the key {key} cannot be used: "
        f"{error.reason or 'they are damaged'}; give a matching pair of PEM files"
    )
