"""TLS contexts from PEM files that flags name."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

from gateway.chp.options import TlsFiles
from gateway.errors import InvalidInput
from gateway.proxy.renewal import Renewed

_ANY_VERSION = frozenset({"", "SSLv23", "TLS"})
_VERSIONS = {
    "TLSv1": ssl.TLSVersion.TLSv1,
    "TLSv1_1": ssl.TLSVersion.TLSv1_1,
    "TLSv1_2": ssl.TLSVersion.TLSv1_2,
    "TLSv1_3": ssl.TLSVersion.TLSv1_3,
}

Make = Callable[[TlsFiles], ssl.SSLContext]


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


def renewing(files: TlsFiles, make: Make) -> Renewed:
    """Return a context that follows its files. Raises InvalidInput."""
    paths = [Path(path) for path in (files.key, files.cert, files.ca) if path]
    return Renewed(f"TLS context of {files.flags}-…", paths, lambda: make(files))


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
