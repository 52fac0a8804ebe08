"""Threads whose core others wait for have a short time slice, where the system knows such."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from routes import timeslice
from routes.apachedb import ApacheDB

_SHORT = 100_000

_SLICE_OF = """
import ctypes, os, platform, struct, subprocess, sys
def slice_of(pid):
    "Return the slice of a process's main thread, in nanoseconds; 0 where there is no such thing."
    number = {"x86_64": 315, "aarch64": 275}.get(platform.machine())  # sched_getattr(2)
    attributes = ctypes.create_string_buffer(48)
    if number is None or ctypes.CDLL(None).syscall(number, pid, attributes, 48, 0) != 0:
        return 0
    return struct.unpack_from("=Q", attributes.raw, 24)[0]
from routes import timeslice
"""


def _said_by(code: str, *before: str) -> str:
    """Return what a new process prints: what it is given may not become this one's."""
    words = [*before, sys.executable, "-c", _SLICE_OF + code]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def _slices() -> None:
    told = _said_by("print(timeslice.shorten(), slice_of(0))")
    if told != f"True {_SHORT}":
        pytest.skip(f"this system has no slices that can be set: {told}")


@pytest.mark.usefixtures("_slices")
def test_nice_stays() -> None:
    told = _said_by("print(timeslice.shorten(), os.nice(0))", "nice", "-n", "3")
    assert told == f"True {min(19, os.nice(0) + 3)}"


@pytest.mark.usefixtures("_slices")
def test_policy_stays() -> None:
    code = (
        "os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))\n"
        "print(timeslice.shorten(), os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK)"
    )
    assert _said_by(code) == f"True {os.SCHED_BATCH}"


@pytest.mark.usefixtures("_slices")
def test_what_is_started_has_an_ordinary_one() -> None:
    code = (
        "was = slice_of(0); timeslice.shorten()\n"
        "with subprocess.Popen(['cat'], stdin=-1, stdout=-1) as started:\n"
        "    print(slice_of(0), slice_of(started.pid) == was, was)\n"
        "    started.communicate()"
    )
    short, same, was = _said_by(code).split()
    assert (short, same) == (str(_SHORT), "True"), was


def test_on_another_machine_nothing_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "another")
    assert not timeslice.shorten()


@pytest.mark.usefixtures("_slices")
def test_the_loop_of_a_serving_process_has_a_short_one() -> None:
    code = (
        "from gateway.loop import run\n"
        "async def main():\n"
        "    print(slice_of(0))\n"
        "print(slice_of(0)); run(main())"
    )
    before, serving = _said_by(code).split()
    assert before != serving == str(_SHORT)


@pytest.mark.usefixtures("_slices")
def test_the_process_that_builds_large_files_has_a_short_one(tmp_path: Path) -> None:
    with ApacheDB(tmp_path / "routes.gdbm") as database:
        database.publish({b"/%d" % number: b"localhost:1" for number in range(150)})
        process = database.builder.process
        assert process is not None
        assert _said_by(f"print(slice_of({process.pid}))") == str(_SHORT)
