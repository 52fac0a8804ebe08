"""Whether the proxy in this container answers: `python -m gateway.chp.health`, for its image.

What it was told is read off its own command line, so that no port has to be said twice.
"""

from __future__ import annotations

import argparse
import os
import socket
import ssl
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from gateway.chp.flags import add_options
from gateway.chp.options import Options, options_of
from gateway.errors import InvalidInput

PROGRAMS = frozenset({"nbgate-proxy", "configurable-http-proxy"})
_SECONDS = 4.0
_REQUEST = b"GET /_chp_healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


def flags_in(words: Sequence[str]) -> list[str] | None:
    """Return what the proxy was told on a command line; None where that is another program's."""
    for number, word in enumerate(words):
        if word.rpartition("/")[2] in PROGRAMS:
            return list(words[number + 1 :])
    return None


def running_flags(proc: Path = Path("/proc")) -> list[str] | None:
    """Return what the first proxy that runs here was told; None where none runs."""
    for entry in sorted(proc.glob("[0-9]*"), key=lambda entry: int(entry.name)):
        try:
            words = (entry / "cmdline").read_bytes().decode(errors="surrogateescape").split("\0")
        except OSError:
            continue  # it has ended
        flags = flags_in(words[:-1])
        if flags is not None:
            return flags
    return None


def told(flags: Sequence[str], environ: Mapping[str, str]) -> Options:
    """Return what a proxy that runs was told.

    Raises:
        InvalidInput: none can run with it.
    """
    parser = argparse.ArgumentParser(allow_abbrev=False, exit_on_error=False)
    add_options(parser)
    return options_of(parser.parse_known_args(flags)[0], environ)


def answers(options: Options, seconds: float = _SECONDS) -> bool:
    """Tell whether it answers on its public address.

    Where it wants certificates of its clients, that it accepts connections must do.
    """
    try:
        with _connected(options, seconds) as plain:
            if options.tls.ask:
                return True
            if not options.tls.given:
                return _is_well(plain)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            with context.wrap_socket(plain) as secured:
                return _is_well(secured)
    except OSError:
        return False


def _connected(options: Options, seconds: float) -> socket.socket:
    place = options.public
    if not place.path:
        return socket.create_connection((place.host or "localhost", place.port), seconds)
    plain = socket.socket(socket.AF_UNIX)
    plain.settimeout(seconds)
    try:
        plain.connect(place.path)
    except OSError:
        plain.close()
        raise
    return plain


def _is_well(connection: socket.socket) -> bool:
    connection.sendall(_REQUEST)
    with connection.makefile("rb") as answer:
        return answer.readline(1000).split(b" ")[1:2] == [b"200"]


def main() -> int:
    """Return 0 when it answers."""
    flags = running_flags()
    try:
        return 0 if flags is not None and answers(told(flags, os.environ)) else 1
    except (InvalidInput, argparse.ArgumentError):
        return 1


if __name__ == "__main__":
    sys.exit(main())
