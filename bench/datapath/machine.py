"""What a result was measured on and with; no names of hosts or people, no paths."""

from __future__ import annotations

import contextlib
import datetime
import os
import platform
import re
import subprocess
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from bench.datapath import installed
from bench.datapath.measures import RATE_SECONDS
from bench.datapath.peers import chp_program
from bench.datapath.processes import ProgramMissing, find_program

_VERSION = re.compile(r"\d+\.\d+(?:\.\d+)?")
_MIB = 2**20


def facts(rounds: int, seconds: float, cores: str) -> dict[str, str]:
    """Return what to say about the machine and a run, by what it is called."""
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "run": f"{rounds} rounds of {seconds:g} s, at a fixed rate {max(seconds, RATE_SECONDS):g} s"
        f"; cores (proxy, load): {cores}",
        "processor": f"{_processor()}, {os.cpu_count()} cores",
        "memory": f"{_memory() // _MIB:,} MiB",
        "system": f"{platform.system()} {platform.release()}",
        "Python": installed.described("python", "uvloop", "aiohttp"),
        "nbgate": installed.described("nbgate") + ", compiled",
        "nginx": _said("nginx", "nginx", "-v"),
        "haproxy": _said("haproxy", "haproxy", "-v"),
        "httpd": _said("apache2", "apache2-bin", "-v"),
        "chp": _tried(lambda: _output([_node(), str(chp_program()), "--version"]))
        + f" on Node.js {_said('node', 'nodejs', '--version')}",
        "wrk": _said("wrk", "wrk", "-v"),
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


def _memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _package(name: str) -> str:
    with contextlib.suppress(PackageNotFoundError):
        return version(name)
    return "not installed"


def _node() -> str:
    return find_program("node", "nodejs")


def _said(program: str, package: str, flag: str) -> str:
    return _tried(lambda: _output([find_program(program, package), flag]))


def _output(words: list[str]) -> str:
    done = subprocess.run(words, capture_output=True, text=True, timeout=30, check=False)
    found = _VERSION.search(done.stdout + done.stderr)
    return found[0] if found else "unknown"


def _tried(ask: Callable[[], str]) -> str:
    with contextlib.suppress(ProgramMissing, OSError, subprocess.SubprocessError):
        return ask()
    return "not installed"
