"""A Docker Engine that a test may stop and start, apart from the one that tests share.

It has a network namespace of its own: a second engine rewrites the first one's firewall rules, and
even one that is told to have no networks deletes the host's `docker0`. And a mount namespace, so
that nothing of it stays mounted.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.support.engine import EngineHandle, answers
from tests.support.registry import layer
from tests.support.waiting import PATIENCE

_START = 'ip link set lo up && exec dockerd "$@"'
_START_CRAMPED = 'mount -t tmpfs -o size={size} tmpfs "$2" && ' + _START


class RestartableEngine:
    """One engine; it is down until `start`.

    Args:
        folder: for all it writes.
        size: bytes that it has for images; None for no limit. With one it forgets everything
            when it stops.
    """

    def __init__(self, folder: Path, size: int | None = None) -> None:
        self._folder = folder
        self._size = size
        self._process: subprocess.Popen[bytes] | None = None
        self.handle = EngineHandle(f"unix://{folder}/docker.sock")

    def start(self) -> None:
        """Start dockerd and wait until it answers."""
        data, run = self._folder / "data", self._folder / "run"
        options = ["--data-root", data, "--exec-root", run, "-p", self._folder / "pid"]
        data.mkdir(exist_ok=True)
        script = _START if self._size is None else _START_CRAMPED.format(size=self._size)
        path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *("unshare", "--net", "--mount", "sh", "-c", script, "dockerd"),
                    *map(str, options),
                    *("-H", self.handle.url),
                ],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                env={**os.environ, "PATH": path},
            )
        end = time.monotonic() + PATIENCE
        while not answers(self.handle):
            up = self._process.poll() is None and time.monotonic() < end
            assert up, (self._folder / "log").read_text()[-3000:]
            time.sleep(0.1)

    def stop(self) -> None:
        """Stop dockerd and what runs on it, and wait."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(PATIENCE)
            self._process = None

    @property
    def inside(self) -> list[str]:
        """The words before a command that is to run in its network."""
        assert self._process is not None
        return ["nsenter", f"--net=/proc/{self._process.pid}/ns/net"]

    def has(self, tag: str) -> str:
        """Put an image on it whose program does nothing."""
        with contextlib.closing(self.handle.client()) as client:
            client.api.import_image_from_data(
                layer(0, self._folder),
                repository=tag,
                tag="1",
                changes=['ENTRYPOINT ["/stay"]', "LABEL org.nbgate.image=1"],
            )
        return f"{tag}:1"


@contextlib.contextmanager
def restartable_engine(size: int | None = None) -> Iterator[RestartableEngine]:
    """Give an engine that runs; its folder has a short name, for sockets' names must be short."""
    folder = Path(tempfile.mkdtemp(prefix="nbg-"))
    made = RestartableEngine(folder, size)
    try:
        made.start()
        yield made
    finally:
        made.stop()
        shutil.rmtree(folder, ignore_errors=True)
