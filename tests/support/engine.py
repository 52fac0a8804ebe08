"""A Docker Engine of the tests' own.

The engine is a `dockerd` with its data in a cache folder outside of the tree, so that images are
kept between runs. Test runs that overlap share it; the last one stops it. Where an engine runs
already at the usual socket, that one is used; NBGATE_TEST_DOCKER_HOST names another. What is built
on it is images.py's, what tests are given fixtures.py's.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import docker
import docker.errors
import requests.exceptions

from gateway.spawners.engine import knock
from tests.support.waiting import PATIENCE

ROOT = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nbgate"

_SYSTEM = "unix:///var/run/docker.sock"
_NEEDED = {"dockerd": "docker.io", "iptables": "iptables", "ip": "iproute2"}

Say = Callable[[str], None]


class EngineMissing(Exception):
    """No engine can be had on this machine; the text names everything that is missing."""


@dataclass(frozen=True, slots=True)
class EngineHandle:
    """An engine that answers.

    Attributes:
        url: for DOCKER_HOST.
    """

    url: str

    def client(self) -> docker.DockerClient:
        """Return a new client; the caller closes it."""
        return docker.DockerClient(base_url=self.url, version="auto", timeout=int(2 * PATIENCE))


def say(line: str) -> None:
    """Show progress at once."""
    sys.stderr.write(f"engine: {line}\n")
    sys.stderr.flush()


def missing() -> list[str]:
    """Return what this machine lacks to run an engine, with the package's name where it is one."""
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    found = [
        f"{command} (package {package})"
        for command, package in _NEEDED.items()
        if shutil.which(command, path=path) is None
    ]
    return found if os.geteuid() == 0 else [*found, "root's rights"]


@contextlib.contextmanager
def opened(progress: Say = say) -> Iterator[EngineHandle]:
    """Give an engine: NBGATE_TEST_DOCKER_HOST's, the one that runs already, else one of our own.

    A second engine on one machine would rewrite the firewall rules of the first, and cut off
    whatever runs there: so none is started beside a running one.

    Raises:
        EngineMissing: see there.
    """
    given = os.environ.get("NBGATE_TEST_DOCKER_HOST", "")
    if not given and answers(EngineHandle(_SYSTEM)):
        progress(f"using the Docker Engine that runs already, {_SYSTEM}")
        given = _SYSTEM
    if given:
        yield EngineHandle(given)
        return
    lacking = missing()
    if lacking:
        raise EngineMissing("a Docker Engine for the tests needs " + ", ".join(lacking))
    with own_engine(CACHE / "engine", progress) as handle:
        yield handle


@contextlib.contextmanager
def own_engine(folder: Path, progress: Say) -> Iterator[EngineHandle]:
    """Start dockerd, or join the one that another run of the tests started.

    `users` is locked shared by each run; who can lock it exclusively at the end was the last.
    """
    folder.mkdir(parents=True, exist_ok=True)
    handle = EngineHandle(f"unix://{folder / 'docker.sock'}")
    with (folder / "users").open("a") as users:
        with locked(folder / "gate", progress):
            if not answers(handle):
                start(folder, handle, progress)
            if locked_at_once(users):
                tidy(handle)
            fcntl.flock(users, fcntl.LOCK_SH)
        try:
            yield handle
        finally:
            with locked(folder / "gate", progress):
                if locked_at_once(users):
                    stop(folder)


@contextlib.contextmanager
def locked(path: Path, progress: Say) -> Iterator[None]:
    """Hold an exclusive lock on `path`, saying so when that takes a while."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        if not locked_at_once(file):
            progress(f"waiting for another run ({path.name})")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def locked_at_once(file: IO[str]) -> bool:
    """Lock `file` exclusively if nobody else has it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def answers(handle: EngineHandle) -> bool:
    """Tell whether the engine answers."""
    # docker-py leaves a socket open that could not connect, and an open one fails some later test.
    with socket.socket(socket.AF_UNIX) as probe:
        if probe.connect_ex(handle.url.removeprefix("unix://")) != 0:
            return False
    try:
        # It may be busy: who takes it for dead ends it, with all that another run has there.
        knock(handle.url, PATIENCE)
        handle.client().close()
    except (OSError, docker.errors.DockerException, requests.exceptions.RequestException):
        return False
    return True


def start(folder: Path, handle: EngineHandle, progress: Say) -> None:
    """Start dockerd and wait until it answers.

    Raises:
        EngineMissing: it did not come up; the text has the end of its log.
    """
    stop(folder)  # one that was left behind and does not answer
    progress(f"starting dockerd, data in {folder / 'data'}")
    with (folder / "dockerd.log").open("w") as output:
        process = subprocess.Popen(
            [
                *("dockerd", "--data-root", str(folder / "data")),
                *("--exec-root", str(folder / "exec"), "-p", str(folder / "pid")),
                *("-H", handle.url),
            ],
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            env={**os.environ, "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"},
        )
    end = time.monotonic() + PATIENCE
    while not answers(handle):
        if process.poll() is not None or time.monotonic() > end:
            tail = "\n".join((folder / "dockerd.log").read_text().splitlines()[-15:])
            raise EngineMissing(f"dockerd did not come up:\n{tail}")
        time.sleep(0.2)
    process.returncode = 0  # it may outlive this process: another run may still use it


def tidy(handle: EngineHandle) -> None:
    """Remove what a run that was killed left on the engine."""
    client = handle.client()
    label = "org.nbgate.installation"
    with contextlib.closing(client):
        left = client.containers.list(all=True, filters={"label": label}, ignore_removed=True)
        for container in left:
            container.remove(force=True, v=True)
        client.networks.prune(filters={"label": label})


def stop(folder: Path) -> None:
    """Stop the dockerd whose process id is in `folder`, if it is one."""
    try:
        pid = int((folder / "pid").read_text())
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (OSError, ValueError):
        return
    if str(folder).encode() not in command:
        return
    os.kill(pid, signal.SIGTERM)
    end = time.monotonic() + PATIENCE
    while Path(f"/proc/{pid}").exists() and time.monotonic() < end:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
        time.sleep(0.1)
