"""TLS contexts from PEM files that flags name; renewed files are used without a restart.

How a listener changes to a new context at each handshake is gateway.proxy.tls's way, see there.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

from gateway.chp.options import TlsFiles
from gateway.errors import InvalidInput

logger = logging.getLogger(__name__)

_WATCH_SECONDS = 3.0
_ANY_VERSION = frozenset({"", "SSLv23", "TLS"})
_VERSIONS = {
    "TLSv1": ssl.TLSVersion.TLSv1,
    "TLSv1_1": ssl.TLSVersion.TLSv1_1,
    "TLSv1_2": ssl.TLSVersion.TLSv1_2,
    "TLSv1_3": ssl.TLSVersion.TLSv1_3,
}

Make = Callable[[TlsFiles], ssl.SSLContext]
Sleep = Callable[[float], Awaitable[None]]


def server_context(files: TlsFiles) -> ssl.SSLContext:
    """Return what speaks TLS with clients. Raises InvalidInput."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.set_alpn_protocols(["http/1.1"])
    _load(context, files)
    if files.dhparam:
        with _told("--ssl-dhparam", files.dhparam):
            context.load_dh_params(files.dhparam)
    if files.ask:
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_context(files: TlsFiles) -> ssl.SSLContext:
    """Return what speaks TLS with targets. Raises InvalidInput."""
    context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=None)
    if files.ca:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # these authorities alone
    context.set_alpn_protocols(["http/1.1"])
    _load(context, files)
    if not files.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


class Renewed:
    """A context that follows its files.

    Args:
        files: the files; usable now.
        make: makes a context of them.

    Attributes:
        current: made of the newest usable files.

    Raises:
        InvalidInput: they cannot be used.
    """

    def __init__(self, files: TlsFiles, make: Make) -> None:
        self._files, self._make = files, make
        self._seen = self._marks()
        self.current = make(files)

    def for_listener(self) -> ssl.SSLContext:
        """Return a context that hands over to `current` at each handshake."""
        context = self._make(self._files)
        context.sni_callback = self._choose
        return context

    def refresh(self) -> bool:
        """Load the files again if they have changed; return whether there is a new context."""
        marks = self._marks()
        if marks == self._seen:
            return False
        self._seen = marks
        try:
            self.current = self._make(self._files)
        except InvalidInput as error:
            logger.warning("The new TLS files are not used, the old ones stay: %s", error)
            return False
        logger.info("TLS files of %s renewed", self._files.flags)
        return True

    def _choose(
        self, connection: ssl.SSLObject | ssl.SSLSocket, name: str | None, context: ssl.SSLContext
    ) -> None:
        connection.context = self.current

    def _marks(self) -> list[tuple[int, ...] | None]:
        files = self._files
        return [_mark_of(path) for path in (files.key, files.cert, files.ca) if path]


async def watch(
    renewed: Renewed,
    then: Callable[[], None] = lambda: None,
    sleep: Sleep = asyncio.sleep,
) -> None:
    """Look after the files, for ever; do `then` after each renewal."""
    while True:
        await sleep(_WATCH_SECONDS)
        if await asyncio.to_thread(renewed.refresh):
            then()


def _load(context: ssl.SSLContext, files: TlsFiles) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if files.protocol not in _ANY_VERSION:
        version = _VERSIONS.get(files.protocol)
        if version is None:
            raise InvalidInput(
                f"--ssl-protocol {files.protocol} is not offered; it is one of "
                f"{', '.join(_VERSIONS)}"
            )
        context.minimum_version = context.maximum_version = version
    if files.ciphers:
        with _told("--ssl-ciphers", files.ciphers):
            context.set_ciphers(files.ciphers)
    if files.given:
        flag = f"{files.flags}-key and {files.flags}-cert"
        with _told(flag, f"{files.key} and {files.cert}"):
            context.load_cert_chain(files.cert, files.key or None, password=files.passphrase)
    if files.ca:
        with _told(f"{files.flags}-ca", files.ca):
            context.load_verify_locations(cafile=files.ca)


@contextlib.contextmanager
def _told(flag: str, what: str) -> Iterator[None]:
    """Turn what OpenSSL or the file system says into one line."""
    try:
        yield
    except ssl.SSLError as error:
        reason = getattr(error, "reason", None) or error.args[0]
        raise InvalidInput(f"{flag}: {what} cannot be used: {reason}") from error
    except OSError as error:
        raise InvalidInput(f"{flag}: cannot read {what}: {error.strerror}") from error


def _mark_of(path: str) -> tuple[int, ...] | None:
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
