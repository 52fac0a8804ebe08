"""The real configurable-http-proxy: installed once outside the tree, run as a process."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.chp.test_process import free_ports
from tests.support.waiting import PATIENCE

# With the library that decides what it forwards, which another release would change.
PACKAGES = ("configurable-http-proxy@5.3.0", "http-proxy-3@1.23.3")
TOKEN = "of-these-tests"
_CACHE = Path.home() / ".cache" / "nbgate"
_POLL_SECONDS = 0.01
_OLDEST_NODE = 20


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


@functools.cache
def command() -> tuple[str, ...]:
    """Return the words that start it; install it first if need be.

    Skips the test where there is no Node.js, but not in CI.
    """
    node, npm = shutil.which("node"), shutil.which("npm")
    version = ""
    if node is not None:
        done = subprocess.run([node, "--version"], check=True, capture_output=True, text=True)
        version = done.stdout.strip().removeprefix("v")
    if node is None or npm is None or int(version.partition(".")[0]) < _OLDEST_NODE:
        lacking = f"comparing with configurable-http-proxy needs npm and Node.js {_OLDEST_NODE}"
        if os.environ.get("CI") == "true":
            pytest.fail(lacking)
        pytest.skip(lacking)
    digest = hashlib.sha256(repr((PACKAGES, version)).encode()).hexdigest()[:12]
    home = _CACHE / f"chp-{digest}"
    with _locked(_CACHE / f"chp-{digest}.lock"):
        if not home.exists():
            _install(npm, home)
    folder = home / "node_modules" / "configurable-http-proxy"
    return (node, str(folder / "bin" / "configurable-http-proxy"))


def _install(npm: str, home: Path) -> None:
    with tempfile.TemporaryDirectory(dir=home.parent, prefix="chp-") as folder:
        words = ["--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts"]
        done = subprocess.run(
            [npm, "install", "--prefix", folder, *words, *PACKAGES],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        made = home.with_suffix(".new")
        shutil.rmtree(made, ignore_errors=True)
        shutil.copytree(folder, made, symlinks=True)
        made.rename(home)


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
            _await_listener(place, process, log)
        yield Peer(port, api_port, process, log)
    finally:
        process.kill()
        process.wait()


def _await_listener(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(int(PATIENCE / _POLL_SECONDS)):
        with contextlib.suppress(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=PATIENCE).close()
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_POLL_SECONDS)
            break
    raise AssertionError(f"configurable-http-proxy does not listen:\n{log.read_text()}")


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
