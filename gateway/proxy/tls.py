"""The public listener's certificate: loaded, told about when it cannot be used, and renewed.

One context is given to the listener and stays. At each handshake it hands over to the context
that holds the newest pair (`SSLContext.sni_callback`, which is called without SNI too), so a pair
is in use whole or not at all. Loading a pair into a live context would not do: OpenSSL keeps one
certificate per kind of key there, so the old RSA one would outlive a change to ECDSA.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NoReturn

from gateway.errors import InvalidInput

logger = logging.getLogger(__name__)

_WATCH_SECONDS = 3.0

Mark = tuple[tuple[int, ...] | None, ...]
Sleep = Callable[[float], Awaitable[None]]


class _Encrypted(Exception):
    """The key file asks for a passphrase."""


class Certificate:
    """A certificate and its key in files, and the context that serves them.

    Args:
        cert: PEM file, the certificate first, then its chain.
        key: PEM file with its private key, not encrypted.

    Attributes:
        context: for the listener; new handshakes get the pair that was loaded last.

    Raises:
        InvalidInput: the pair cannot be used; one line that names file and remedy.
    """

    def __init__(self, cert: Path, key: Path) -> None:
        self._cert, self._key = cert, key
        self._seen = self._mark()
        self._current = self.context = load_pair(cert, key)
        self.context.sni_callback = self._choose

    def refresh(self) -> bool:
        """Load the files if they have changed; return whether that brought a new pair.

        What cannot be used is told once, and the pair in use stays.
        """
        mark = self._mark()
        if mark == self._seen:
            return False
        self._seen = mark
        try:
            self._current = load_pair(self._cert, self._key)
        except InvalidInput as error:
            logger.warning("the new TLS certificate is not used, the old one stays: %s", error)
            return False
        logger.info("TLS certificate renewed cert=%s", self._cert)
        return True

    def _choose(
        self, connection: ssl.SSLObject | ssl.SSLSocket, name: str | None, context: ssl.SSLContext
    ) -> None:
        connection.context = self._current

    def _mark(self) -> Mark:
        return _mark_of(self._cert), _mark_of(self._key)


async def watch(
    certificate: Certificate, sleep: Sleep = asyncio.sleep, seconds: float = _WATCH_SECONDS
) -> None:
    """Look after the files, for ever."""
    while True:
        await sleep(seconds)
        await asyncio.to_thread(certificate.refresh)


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
    certificate = Certificate(cert, key)
    chore = asyncio.create_task(watch(certificate), name="watch certificate")
    stack.push_async_callback(_ended, chore)
    return certificate.context


async def _ended(chore: asyncio.Task[None]) -> None:
    chore.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await chore


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


def _mark_of(path: Path) -> tuple[int, ...] | None:
    """Return what changes when a file, or what a link leads to, does; None when it is not there."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
