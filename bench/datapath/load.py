"""Load generators: wrk, and client.py for what wrk cannot do; both on the load core."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Mapping
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


def client(kind: str, core: int, seconds: float, **options: object) -> dict[str, float]:
    """Run one kind of load of client.py; return the numbers that it printed."""
    words = [sys.executable, "-m", "bench.datapath.client", kind, json.dumps(options)]
    numbers: dict[str, float] = json.loads(_output(words, core, seconds))
    return numbers


def _output(words: list[str], core: int, seconds: float) -> str:
    with pinned({core}):
        done = subprocess.run(
            words, capture_output=True, text=True, timeout=seconds + _GRACE_SECONDS, check=False
        )
    if done.returncode != 0:
        raise LoadFailed(f"{words[0]} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout
