"""Programs of the benchmark: started on a core, waited for, and ended by their own ids."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from bench.datapath.cores import pinned

_UP_SECONDS = 30.0
_DOWN_SECONDS = 20.0
_LOOK_SECONDS = 0.02


class ProgramMissing(Exception):
    """A program that the benchmark needs is not installed; the text says what to install."""


class ProgramFailed(Exception):
    """A program ended, or did not come up; the text has the end of its output."""


def find_program(name: str, package: str) -> str:
    """Return the path of a program. Raises ProgramMissing."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if found is None:
        raise ProgramMissing(f"{name} is missing: install the package {package}")
    return found


def free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@contextlib.contextmanager
def program(
    command: Sequence[str],
    cores: Collection[int],
    log: Path,
    *,
    port: int | None = None,
    environment: Mapping[str, str] | None = None,
    spoken: bool = True,
) -> Iterator[subprocess.Popen[str]]:
    """Run a program on `cores`; it is ended, with all its children, when the context is left.

    Args:
        command: program and arguments.
        cores: numbers of the cores that it and its children may use.
        log: gets its standard error.
        port: wait until somebody listens there; None waits for nothing.
        environment: variables added to our own.
        spoken: its standard output is a pipe, which somebody has to read; else it goes to the log.

    Raises:
        ProgramFailed: it did not come up.
    """
    with log.open("ab") as stderr, pinned(cores):
        # A session of its own: Ctrl-C reaches us alone, and children can be found.
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE if spoken else stderr,
            stderr=stderr,
            text=True,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
        )
    try:
        if port is not None:
            _await_listening(process, port, log)
        yield process
    finally:
        _end(process)


def tail(log: Path, lines: int = 15) -> str:
    """Return the end of a log."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:]) if log.exists() else ""


def _await_listening(process: subprocess.Popen[str], port: int, log: Path) -> None:
    deadline = time.monotonic() + _UP_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(_LOOK_SECONDS)
    raise ProgramFailed(f"{process.args!r} did not come up:\n{tail(log)}")


def _end(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_DOWN_SECONDS)
    # The group is of this one program: whatever of it is left goes too.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()
