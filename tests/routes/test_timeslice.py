"""Processes whose core others wait for have a short time slice, where the system knows such."""

from __future__ import annotations

import ctypes
import os
import platform
import re
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from routes import timeslice
from routes.apachedb import ApacheDB

_RELEASE = tuple(int(number) for number in re.findall(r"\d+", platform.release())[:2])
_GET_ATTRIBUTES = {"x86_64": 315, "aarch64": 275}  # sched_getattr(2)
_SHORT = 100_000

pytestmark = pytest.mark.skipif(
    platform.machine() not in _GET_ATTRIBUTES or _RELEASE < (6, 12),
    reason="slices can be set since Linux 6.12",
)


def _slice_of(pid: int) -> int:
    """Return the slice of a process's main thread, in nanoseconds."""
    attributes = ctypes.create_string_buffer(48)
    number = _GET_ATTRIBUTES[platform.machine()]
    assert ctypes.CDLL(None).syscall(number, pid, attributes, 48, 0) == 0
    return int(struct.unpack_from("=Q", attributes.raw, 24)[0])


def _said_by(code: str, *before: str) -> str:
    words = [*before, sys.executable, "-c", code]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_nice_stays() -> None:
    code = "import os; from routes import timeslice; print(timeslice.shorten(), os.nice(0))"
    assert _said_by(code, "nice", "-n", "7") == "True 7"


def test_policy_stays() -> None:
    code = (
        "import os; os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0));"
        "from routes import timeslice;"
        "print(timeslice.shorten(), os.sched_getscheduler(0) == os.SCHED_BATCH)"
    )
    assert _said_by(code) == "True True"


def test_where_it_cannot_be_set_nothing_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "another")
    assert not timeslice.shorten()


def test_a_serving_process_has_a_short_one() -> None:
    code = (
        "import os, sys; from gateway.loop import run\n"
        "async def main():\n"
        "    print(os.getpid(), flush=True)\n"
        "    sys.stdin.read()\n"
        "run(main())"
    )
    words = [sys.executable, "-c", code]
    with subprocess.Popen(words, stdin=-1, stdout=-1, text=True) as process:
        assert process.stdout is not None
        assert _slice_of(int(process.stdout.readline())) == _SHORT
        process.communicate("")
    assert _slice_of(os.getpid()) != _SHORT


def test_the_process_that_builds_large_files_has_a_short_one(tmp_path: Path) -> None:
    with ApacheDB(tmp_path / "routes.gdbm") as database:
        database.publish({b"/%d" % number: b"localhost:1" for number in range(150)})
        process = database.builder.process
        assert process is not None
        assert _slice_of(process.pid) == _SHORT
