"""Load generators: wrk, and client.py for what wrk cannot do; both on the load core."""

from __future__ import annotations

import contextlib
import json
import re
import select
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from bench.datapath.cores import pinned
from bench.datapath.processes import find_program

_GRACE_SECONDS = 60.0
_DONE = re.compile(r"^\s*(\d+) requests in ", re.MULTILINE)
_RATE = re.compile(r"^Requests/sec:\s+([\d.]+)", re.MULTILINE)
_ERRORS = re.compile(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)")
_REFUSED = re.compile(r"Non-2xx or 3xx responses: (\d+)")
_LATENCY = re.compile(r"^\s*(50|99)%\s+([\d.]+)(us|ms|s|m)$", re.MULTILINE)
_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}


class LoadFailed(Exception):
    """A load generator saw what must not be; the text says what."""


@dataclass(frozen=True, slots=True)
class WrkResult:
    """What wrk printed.

    Attributes:
        requests: answered.
        rate: requests per second.
        p50, p99: seconds (closed loop, so for orientation only).
        errors: answers that were not 2xx or 3xx, and socket errors.
    """

    requests: int
    rate: float
    p50: float
    p99: float
    errors: int


def parse_wrk(text: str) -> WrkResult:
    """Return the numbers in wrk's output (`--latency`). Raises LoadFailed when there are none."""
    done, rate = _DONE.search(text), _RATE.search(text)
    if done is None or rate is None:
        raise LoadFailed(f"wrk said:\n{text}")
    socket_errors, refused = _ERRORS.search(text), _REFUSED.search(text)
    errors = sum(map(int, socket_errors.groups())) if socket_errors else 0
    errors += int(refused[1]) if refused else 0
    latency = {name: float(value) * _UNITS[unit] for name, value, unit in _LATENCY.findall(text)}
    return WrkResult(
        int(done[1]), float(rate[1]), latency.get("50", 0.0), latency.get("99", 0.0), errors
    )


def wrk(
    url: str,
    headers: Mapping[str, str],
    connections: int,
    seconds: float,
    core: int,
    script: str | None = None,
) -> WrkResult:
    """Run wrk with one thread.

    Args:
        url: what is requested.
        headers: of each request.
        connections: kept busy, each with one request at a time.
        seconds: whole ones; at least 1.
        core: the load core.
        script: path of a Lua script; None for none.

    Raises:
        LoadFailed: an answer was not 2xx, or a connection failed.
    """
    words = [find_program("wrk", "wrk"), "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s"]
    words += ["--latency", "--timeout", "30s"]
    for name, value in headers.items():
        words += ["-H", f"{name}: {value}"]
    words += ["-s", script] if script is not None else []
    result = parse_wrk(_output([*words, url], core, seconds))
    if result.errors:
        raise LoadFailed(f"{url}: {result.errors} errors in {result.requests} requests")
    return result


def client(kind: str, core: int, patience: float, **options: object) -> dict[str, float]:
    """Run one kind of load of client.py, at most `patience` seconds; return its numbers."""
    numbers: dict[str, float] = json.loads(_output(_client_words(kind, options), core, patience))
    return numbers


class Conversation:
    """A client process that takes turns with us; see turns.py."""

    def __init__(self, process: subprocess.Popen[str], kind: str) -> None:
        self._process = process
        self._kind = kind

    def await_turn(self, seconds: float) -> None:
        """Wait until it is ready. Raises LoadFailed."""
        said = self._line(seconds)
        if said != "ready":
            raise LoadFailed(f"{self._kind} said {said!r}")

    def go_on(self) -> None:
        """Give it the turn."""
        assert self._process.stdin is not None
        self._process.stdin.write("go on\n")
        self._process.stdin.flush()

    def numbers(self, seconds: float) -> dict[str, float]:
        """Wait for its numbers. Raises LoadFailed."""
        numbers: dict[str, float] = json.loads(self._line(seconds))
        return numbers

    def _line(self, seconds: float) -> str:
        """Return its next line; nothing of it is ever left in the buffer, for it waits then."""
        stdout, stderr = self._process.stdout, self._process.stderr
        assert stdout is not None
        assert stderr is not None
        if not select.select([stdout], [], [], seconds)[0]:
            raise LoadFailed(f"{self._kind} said nothing for {seconds:.0f} s")
        line = stdout.readline()
        if not line:
            raise LoadFailed(f"{self._kind} failed:\n{stderr.read()[-2000:]}")
        return line.strip()


@contextlib.contextmanager
def conversation(kind: str, core: int, **options: object) -> Iterator[Conversation]:
    """Run one kind of load of client.py that takes turns with us; it is ended at the end."""
    pipe = subprocess.PIPE
    with pinned({core}):
        process = subprocess.Popen(
            _client_words(kind, options), stdin=pipe, stdout=pipe, stderr=pipe, text=True
        )
    with process:
        try:
            yield Conversation(process, kind)
        finally:
            if process.poll() is None:
                process.kill()


def _client_words(kind: str, options: Mapping[str, object]) -> list[str]:
    return [sys.executable, "-m", "bench.datapath.client", kind, json.dumps(options)]


def _output(words: list[str], core: int, seconds: float) -> str:
    with pinned({core}):
        done = subprocess.run(
            words, capture_output=True, text=True, timeout=seconds + _GRACE_SECONDS, check=False
        )
    if done.returncode != 0:
        raise LoadFailed(f"{words[0]} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout
