"""A Docker Engine of the tests' own, with the images they need; a pytest plugin and a program.

The engine is a `dockerd` with its data in a cache folder outside of the tree, so that images are
kept between runs by the hash of what they are made of. Test runs that overlap share it; the last
one stops it. Where an engine runs already at the usual socket, that one is used.
NBGATE_TEST_DOCKER_HOST names another, NBGATE_TEST_BASE_IMAGE an image on it to build on.
`python -m tests.support.engine prepare` makes everything ahead.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import io
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import docker
import docker.errors
import pytest
import requests.exceptions
from docker.utils.build import exclude_paths

from gateway.spawners.engine import knock
from tests.support import base_image as base

ROOT = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nbgate"

_SYSTEM = "unix:///var/run/docker.sock"
_UP_DEADLINE = 90.0
_DOWN_DEADLINE = 60.0
_BUILD_SILENCE = 1800
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
        return docker.DockerClient(base_url=self.url, version="auto", timeout=120)


def say(line: str) -> None:
    """Show progress at once."""
    sys.stderr.write(f"engine: {line}\n")
    sys.stderr.flush()


# --- the engine


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
        knock(handle.url, 5.0)
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
    end = time.monotonic() + _UP_DEADLINE
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
        for container in client.containers.list(all=True, filters={"label": label}):
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
    end = time.monotonic() + _DOWN_DEADLINE
    while Path(f"/proc/{pid}").exists() and time.monotonic() < end:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
        time.sleep(0.1)


# --- images


def has_image(client: docker.DockerClient, tag: str) -> bool:
    """Tell whether the engine has `tag`."""
    try:
        client.images.get(tag)
    except docker.errors.ImageNotFound:
        return False
    return True


def make_base_image(engine: EngineHandle, progress: Say = say) -> str:
    """Return the tag of a Debian with Python, made without a registry if it is not there."""
    given = os.environ.get("NBGATE_TEST_BASE_IMAGE")
    if given:
        return given
    digest = base.content_hash()
    tag = f"nbgate-test/base:{digest}"
    client = engine.client()
    with contextlib.closing(client), locked(CACHE / f"base-{digest}.lock", progress):
        if not has_image(client, tag):
            tarball = CACHE / f"base-{digest}.tar"
            if not tarball.exists():
                base.make_tarball(tarball, progress)
            progress(f"importing {tag}")
            client.api.import_image_from_file(
                str(tarball), repository="nbgate-test/base", tag=digest
            )
    return tag


def build(
    engine: EngineHandle,
    folder: Path,
    dockerfile: str,
    args: Mapping[str, str],
    name: str,
    progress: Say = say,
    *,
    target: str | None = None,
) -> str:
    """Build an image and return its tag; nothing is done when one of the same content is there.

    Args:
        engine: where to build.
        folder: the build context.
        dockerfile: path of the Dockerfile inside it.
        args: build arguments.
        name: what the image is called, e.g. `jupyter`.
        progress: is told each step.
        target: the stage that is the image; None for the last one.
    """
    digest = context_hash(folder, dockerfile, args)
    tag = f"nbgate-test/{name}:{digest}"
    client = engine.client()
    with contextlib.closing(client), locked(CACHE / f"build-{name}.lock", progress):
        if has_image(client, tag):
            return tag
        progress(f"building {tag}")
        began = time.monotonic()
        events = client.api.build(
            path=str(folder),
            dockerfile=dockerfile,
            tag=tag,
            buildargs=dict(args),
            target=target,
            network_mode="host",
            decode=True,
            rm=True,
            forcerm=True,
            timeout=_BUILD_SILENCE,
        )
        for event in events:
            if "error" in event:
                raise RuntimeError(f"{tag}: {event['error']}")
            line = str(event.get("stream", "")).strip()
            if line.startswith(("Step ", "Collecting ", "Successfully ")):
                progress(line)
        progress(f"built {tag} in {time.monotonic() - began:.0f} s")
    return tag


def context_hash(folder: Path, dockerfile: str, args: Mapping[str, str]) -> str:
    """Return 12 digits that stand for everything that a build reads."""
    ignore = folder / ".dockerignore"
    patterns = ignore.read_text().splitlines() if ignore.exists() else []
    patterns = [line.strip() for line in patterns if line.strip() and not line.startswith("#")]
    found = sorted(exclude_paths(str(folder), patterns, dockerfile=dockerfile))
    digest = hashlib.sha256(repr((dockerfile, sorted(args.items()))).encode())
    for relative in found:
        path = folder / relative
        if path.is_file() and path.suffix != ".pyc":
            digest.update(f"{relative}\0{path.stat().st_mode & 0o111}\0".encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:12]


def make_notebook_image(engine: EngineHandle, progress: Say = say) -> str:
    """Return the tag of the notebook image."""
    args = {"BASE_IMAGE": make_base_image(engine, progress)}
    return build(engine, ROOT / "jupyter-image", "Dockerfile", args, "jupyter", progress)


def make_stock_image(engine: EngineHandle, progress: Say = say) -> str:
    """Return the tag of the plain installation that the notebook image is measured against."""
    args = {"BASE_IMAGE": make_base_image(engine, progress)}
    return build(engine, ROOT / "bench/stock", "Dockerfile", args, "stock", progress)


def make_stub_image(engine: EngineHandle, progress: Say = say) -> str:
    """Return the tag of an image that passes for ours, and whose server is trivial and quick."""
    dockerfile = (
        "ARG BASE_IMAGE\n"
        "FROM ${BASE_IMAGE}\n"
        'LABEL org.nbgate.image="1" org.nbgate.read-only-root="true"\n'
        'ENTRYPOINT ["python3", "-m", "http.server", "8888"]\n'
    )
    base_tag = make_base_image(engine, progress)
    digest = hashlib.sha256((dockerfile + base_tag).encode()).hexdigest()[:12]
    tag = f"nbgate-test/stub:{digest}"
    client = engine.client()
    with contextlib.closing(client):
        if not has_image(client, tag):
            context = io.BytesIO(dockerfile.encode())
            client.images.build(
                fileobj=context,
                tag=tag,
                buildargs={"BASE_IMAGE": base_tag},
                rm=True,
                forcerm=True,
            )
    return tag


# --- pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs an engine, so that `-m "not engine"` leaves it out."""
    for item in items:
        if "engine" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.engine)


@pytest.fixture(scope="session")
def engine_progress(pytestconfig: pytest.Config) -> Say:
    """What shows progress past pytest's capturing: the first build takes minutes."""
    capturing = pytestconfig.pluginmanager.getplugin("capturemanager")

    def tell(line: str) -> None:
        with capturing.global_and_fixture_disabled():
            say(line)

    return tell


@pytest.fixture(scope="session")
def engine(engine_progress: Say) -> Iterator[EngineHandle]:
    """A Docker Engine for this session."""
    with contextlib.ExitStack() as stack:
        try:
            handle = stack.enter_context(opened(engine_progress))
        except EngineMissing as error:
            if os.environ.get("CI") == "true":
                pytest.fail(str(error))
            pytest.skip(str(error))
        yield handle


@pytest.fixture(scope="session")
def base_image(engine: EngineHandle, engine_progress: Say) -> str:
    """The tag of a Debian with Python."""
    return make_base_image(engine, engine_progress)


@pytest.fixture(scope="session")
def notebook_image(engine: EngineHandle, engine_progress: Say) -> str:
    """The tag of the notebook image."""
    return make_notebook_image(engine, engine_progress)


@pytest.fixture(scope="session")
def stock_image(engine: EngineHandle, engine_progress: Say) -> str:
    """The tag of a stock Jupyter: an image that is not ours."""
    return make_stock_image(engine, engine_progress)


@pytest.fixture(scope="session")
def stub_image(engine: EngineHandle, engine_progress: Say) -> str:
    """The tag of an image that passes for ours and answers at once."""
    return make_stub_image(engine, engine_progress)


# --- the program


def prepare() -> int:
    """Make the engine and all images ready; return an exit status."""
    try:
        with opened() as handle:
            for make in (make_base_image, make_notebook_image, make_stock_image, make_stub_image):
                say(f"ready: {make(handle)}")
    except (EngineMissing, base.BaseImageFailed, RuntimeError) as error:
        say(str(error))
        return 1
    return 0


if __name__ == "__main__":
    if sys.argv[1:] != ["prepare"]:
        sys.exit("usage: python -m tests.support.engine prepare")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    sys.exit(prepare())
