"""The real configurable-http-proxy: installed once outside the tree, run as a process."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.support.npm import await_listener, installed
from tests.support.places import free_ports

# With the library that decides what it forwards, which another release would change.
PACKAGES = ("configurable-http-proxy@5.3.0", "http-proxy-3@1.23.3")
TOKEN = "of-these-tests"


@dataclass(frozen=True, slots=True)
class Peer:
    """A running proxy.

    Attributes:
        port, api_port: on 127.0.0.1.
        process: its process.
        log: what it has printed.
    """

    port: int
    api_port: int
    process: subprocess.Popen[bytes]
    log: Path


def command() -> tuple[str, ...]:
    """Return the words that start it; install it first if need be."""
    node, modules = installed("chp", PACKAGES)
    return node, str(modules / "configurable-http-proxy" / "bin" / "configurable-http-proxy")


@contextlib.contextmanager
def started(folder: Path, *flags: str, environ: Mapping[str, str] = {}) -> Iterator[Peer]:
    """Run it until left.

    Args:
        folder: of its own, for its log.
        flags: besides where it listens.
        environ: besides the token.
    """
    port, api_port = free_ports(2)
    places = ["--ip=127.0.0.1", f"--port={port}", f"--api-port={api_port}", "--api-ip=127.0.0.1"]
    clean = {name: text for name, text in os.environ.items() if "CONFIGPROXY" not in name}
    log = folder / "chp.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command(), *places, *flags],
            env={**clean, "CONFIGPROXY_AUTH_TOKEN": TOKEN, "NODE_ENV": "production", **environ},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        for place in (port, api_port):
            await_listener(place, process, log)
        yield Peer(port, api_port, process, log)
    finally:
        process.kill()
        process.wait()
