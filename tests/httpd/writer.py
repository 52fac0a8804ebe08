"""`python -m tests.httpd.writer`: makes writers that publish until they are killed.

For each line on standard input (a Job) a process is forked, which is quicker than a new one. It
tells on standard output what it does; when it is gone, `gone` follows.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from routes.apachedb import ApacheDB

HOST = b"moving.nb.test"
VERSION = b"version.nb.test"
STEPS = ("fchmod", "utime", "fsync", "replace")


@dataclass(frozen=True)
class Job:
    """What one writer does.

    Attributes:
        path: the route file.
        ports: version n leads HOST to the port n modulo their number.
        first: the version that is published first; each further one is one more.
        others: how many other entries the file has.
        step: the step before which the writer kills itself in its first publish, with `+` for
            after it; "" for no step: somebody else kills it.
    """

    path: Path
    ports: tuple[int, ...]
    first: int
    others: int
    step: str = ""

    def line(self) -> str:
        """Return this as one line of text."""
        ports = ",".join(map(str, self.ports))
        return f"{self.path} {ports} {self.first} {self.others} {self.step}\n"

    @classmethod
    def of(cls, line: str) -> Job:
        """Return the job that a line tells."""
        path, ports, first, others, *step = line.split()
        numbers = tuple(map(int, ports.split(",")))
        return cls(Path(path), numbers, int(first), int(others), "".join(step))

    def content(self, version: int) -> dict[bytes, bytes]:
        """Return the file's entries in a version."""
        target = b"127.0.0.1:%d" % self.ports[version % len(self.ports)]
        known = {HOST: target, VERSION: b"127.0.0.1:%d" % version}
        return known | {b"/nb/other%d" % number: target for number in range(self.others)}


def _write(job: Job) -> None:
    _tell("process", os.getpid())
    with ApacheDB(job.path) as database:
        _tell("opened", job.first)
        version = job.first
        if job.step:
            _die_at(job.step)
        while True:
            content = job.content(version)
            _tell("begin", version)
            database.publish(content)
            _tell("end", version)
            version += 1


def _die_at(step: str) -> None:
    name, after = step.removesuffix("+"), step.endswith("+")
    owner: Any = Path if name == "replace" else os
    original: Callable[..., object] = getattr(owner, name)

    def last(*arguments: object, **named: object) -> object:
        if after:
            original(*arguments, **named)
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError

    setattr(owner, name, last)


def _tell(word: str, number: int) -> None:
    os.write(1, f"{word} {number}\n".encode())


def main() -> None:
    """Fork a writer per line."""
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            try:
                _write(Job.of(line))
            except Exception:
                logging.exception("the writer failed")
            os._exit(1)
        os.waitpid(pid, 0)
        _tell("gone", pid)


if __name__ == "__main__":
    main()
