"""`nbgate`, with a test's breakpoints: it kills itself at one chosen step of its work.

A step is whatever leaves a trace outside of the process: a request to the engine that changes
something (before it is sent, and when it was sent but not answered), a transaction, a published
file, a space, the readiness probe. Steps have names with a number: the n-th of its kind since the
process was armed. It is armed by a file with the steps that were tried before; it names the first
other one in a second file, and kills itself there. After one step is before the next one. Or the
file names the one step (`only …`), for a test that is about that, whatever else comes before.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import signal
import sys
import threading
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from gateway import cli
from gateway.activation.readiness import ReadinessProbe
from gateway.notebooks.database import Database
from gateway.spaces import Spaces
from gateway.spawners.process import ProcessSpawner
from routes import publishing

TRIED, REACHED = "NBGATE_TEST_TRIED", "NBGATE_TEST_REACHED"
ONLY = "only "
_CHANGES = ("POST", "PUT", "DELETE")
_ID = re.compile(r"/v1\.\d+|/[0-9a-f]{64}|\?.*|(?<=/containers/)(?!create)[^/]+/?")


class Breakpoints:
    """Counts steps and ends the process at the first one that was not tried yet."""

    def __init__(self, tried: Path, reached: Path) -> None:
        self._tried, self._reached = tried, reached
        self._counts: Counter[str] = Counter()
        self._armed: tuple[int, int] | None = None
        self._turn = threading.Lock()

    def at(self, step: str) -> None:
        """Be at a step; it may be the last thing this process does."""
        with self._turn:
            try:
                status = self._tried.stat()
            except FileNotFoundError:
                return
            if self._armed != (status.st_ino, status.st_mtime_ns):
                self._armed = (status.st_ino, status.st_mtime_ns)
                self._counts.clear()
            self._counts[step] += 1
            name = f"{step} {self._counts[step]}"
            if is_due(name, self._tried.read_text().splitlines()):
                self._reached.write_text(name)
                os.kill(os.getpid(), signal.SIGKILL)
                threading.Event().wait()


def is_due(step: str, armed: Sequence[str]) -> bool:
    """Whether a step is the one to die at.

    Args:
        step: with its number.
        armed: lines of the file: `only` and the step, or all steps that were tried before.
    """
    if len(armed) == 1 and armed[0].startswith(ONLY):
        return step == armed[0].removeprefix(ONLY)
    return step not in armed


def set_up(points: Breakpoints) -> None:
    """Put a breakpoint at each kind of step."""
    _watch_engine(points)
    _watch_database(points)
    _watch(points, Spaces, "ensure", "space")
    _watch(points, ReadinessProbe, "wait", "readiness")
    for verb in ("start", "stop"):
        _watch(points, ProcessSpawner, verb, f"process {verb}")
    publish = publishing.publish

    def published(*arguments: Any) -> Any:
        points.at(f"publish {arguments[0].name}")
        return publish(*arguments)

    publishing.publish = published  # type: ignore[assignment]


def _watch_engine(points: Breakpoints) -> None:
    putrequest = http.client.HTTPConnection.putrequest
    getresponse = http.client.HTTPConnection.getresponse
    sent = threading.local()

    def watched(self: Any, method: str, url: str, *rest: Any, **options: Any) -> Any:
        sent.step = f"{method} {_ID.sub('', url)}" if method in _CHANGES else ""
        if sent.step:
            points.at(sent.step)
        return putrequest(self, method, url, *rest, **options)

    def answered(self: Any, *rest: Any, **options: Any) -> Any:
        step, sent.step = getattr(sent, "step", ""), ""
        if step:
            points.at(f"{step} sent")
        return getresponse(self, *rest, **options)

    http.client.HTTPConnection.putrequest = watched  # type: ignore[method-assign]
    http.client.HTTPConnection.getresponse = answered  # type: ignore[method-assign]


def _watch_database(points: Breakpoints) -> None:
    writing = Database.writing

    @contextlib.asynccontextmanager
    async def watched(self: Database) -> AsyncIterator[Any]:
        async with writing(self) as connection:
            yield connection
            points.at("commit")

    Database.writing = watched  # type: ignore[method-assign]


def _watch(points: Breakpoints, owner: type, name: str, step: str) -> None:
    original = getattr(owner, name)

    async def watched(*arguments: Any, **options: Any) -> Any:
        points.at(step)
        return await original(*arguments, **options)

    setattr(owner, name, watched)


if __name__ == "__main__":
    set_up(Breakpoints(Path(os.environ[TRIED]), Path(os.environ[REACHED])))
    sys.exit(cli.main())
