"""Programs from npm that tests run: installed once, outside the tree, by what they are; awaited."""

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
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.waiting import PATIENCE

_CACHE = Path.home() / ".cache" / "nbgate"
_OLDEST_NODE = 20
_POLL_SECONDS = 0.01


@functools.cache
def installed(name: str, packages: tuple[str, ...]) -> tuple[str, Path]:
    """Return the path of Node.js and the `node_modules` with these packages.

    Skips the test where there is no Node.js, but not in CI.

    Args:
        name: what the folder is called, with a digest behind it.
        packages: with their versions.
    """
    node, npm = shutil.which("node"), shutil.which("npm")
    version = ""
    if node is not None:
        done = subprocess.run([node, "--version"], check=True, capture_output=True, text=True)
        version = done.stdout.strip().removeprefix("v")
    if node is None or npm is None or int(version.partition(".")[0]) < _OLDEST_NODE:
        lacking = f"{packages[0]} needs npm and Node.js {_OLDEST_NODE}"
        if os.environ.get("CI") == "true":
            pytest.fail(lacking)
        pytest.skip(lacking)
    digest = hashlib.sha256(repr((packages, version)).encode()).hexdigest()[:12]
    home = _CACHE / f"{name}-{digest}"
    with _locked(_CACHE / f"{name}-{digest}.lock"):
        if not home.exists():
            _install(npm, packages, home)
    return node, home / "node_modules"


def await_listener(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Return when a program listens on a port of 127.0.0.1; fails with its log if it ends."""
    for _ in range(int(PATIENCE / _POLL_SECONDS)):
        with contextlib.suppress(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=PATIENCE).close()
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_POLL_SECONDS)
            break
    raise AssertionError(f"nobody listens on port {port}:\n{log.read_text()}")


def _install(npm: str, packages: tuple[str, ...], home: Path) -> None:
    with tempfile.TemporaryDirectory(dir=home.parent, prefix="npm-") as folder:
        words = ["--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts"]
        done = subprocess.run(
            [npm, "install", "--prefix", folder, *words, *packages],
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
def _locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
