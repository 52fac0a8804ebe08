"""What the tests of faults share: a gateway with stub notebooks on a real engine, and its truth."""

from __future__ import annotations

import contextlib
import secrets
import socket
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Self

import aiohttp
import docker

from gateway.spawners.docker_spec import INSTALLATION, SLUG
from gateway.spawners.removal import aside_name
from tests.support.building import build, make_base_image
from tests.support.engine import ROOT, EngineHandle
from tests.support.gateway import GatewayProcess, signed_in
from tests.support.places import free_subnet

PROJECT = f"faults-{secrets.token_hex(3)}"
"""Containers are called after it: runs that share an engine have each their own."""


def make_misbehaving_image(engine: EngineHandle) -> str:
    """Return the tag of an image whose server behaves as its environment says."""
    args = {"BASE_IMAGE": make_base_image(engine)}
    return build(engine, ROOT / "tests/faults/stub", "Dockerfile", args, "misbehaving")


class StubGateway(GatewayProcess):
    """A gateway whose notebooks are stubs in containers; see tests/faults/stub/server.py.

    Args:
        state: the state folder.
        engine: the tests' engine.
        image: of the stub.
        settings: more settings.
    """

    def __init__(self, state: Path, engine: EngineHandle, image: str, **settings: str) -> None:
        wanted = {
            "spawner": "docker",
            "mode": "dev",
            "docker_host": engine.url,
            "image": image,
            "memory": "128M",
            "stop_grace": "1",
            "network_subnet": free_subnet(),
        }
        super().__init__(state, **(wanted | settings))
        self.engine = engine

    @property
    def installation(self) -> str:
        """Its id."""
        from gateway.notebooks.identity import Identity  # noqa: PLC0415  used by few

        return Identity.load(self.state).installation

    @contextlib.contextmanager
    def client(self) -> Iterator[docker.DockerClient]:
        """Give a client of the engine."""
        with contextlib.closing(self.engine.client()) as client:
            yield client

    def containers(self) -> list[Any]:
        """Return the installation's containers, whatever their state.

        Those that a busy engine could not remove yet are not among them: they have other names.
        """
        found = self._all_containers()
        return [one for one in found if one.name != aside_name(one.id, one.labels.get(SLUG, ""))]

    def _all_containers(self) -> list[Any]:
        label = f"{INSTALLATION}={self.installation}"
        with self.client() as client:
            # One may go between being listed and being looked at.
            found: list[Any] = client.containers.list(
                all=True, filters={"label": label}, ignore_removed=True
            )
            return found

    async def record(self, slug: str) -> dict[str, Any]:
        """Return a notebook's record, as the API tells it."""
        async with self.api() as api, api.get(f"/gateway/api/notebooks/{slug}") as answer:
            assert answer.status == 200, await answer.text()
            record: dict[str, Any] = await answer.json()
            return record

    async def stop_notebook(self, slug: str) -> None:
        """Stop one; it must succeed."""
        async with self.api() as api, api.post(f"/gateway/api/notebooks/{slug}/stop") as answer:
            assert answer.status < 300, await answer.text()

    @contextlib.asynccontextmanager
    async def person(
        self, name: str = "alice", project: str = PROJECT
    ) -> AsyncIterator[aiohttp.ClientSession]:
        """Give the client of a person who is signed in; their notebook exists."""
        link = self.nbgate("notebook", "url", "--project", project, "--person", name)
        async with signed_in(link) as client:
            yield client

    def page(self, path: str, name: str = "alice", project: str = PROJECT) -> str:
        """Return the URL of something in a person's notebook."""
        return f"{self.url}/nb/{project}-x-{name}/{path}"

    def clean(self) -> None:
        """End it, and remove all that it has on the engine."""
        self.kill()
        if (self.state / "identity.json").exists():
            for container in self._all_containers():
                with contextlib.suppress(docker.errors.NotFound):
                    container.remove(force=True, v=True)
            with self.client() as client:
                for network in client.networks.list(names=[f"nbgate-{self.installation}"]):
                    network.remove()


@contextlib.contextmanager
def stub_gateway(
    state: Path, engine: EngineHandle, image: str, *environment: str, **settings: str
) -> Iterator[StubGateway]:
    """Run one with a project of stubs.

    Args:
        state: the state folder.
        engine: the tests' engine.
        image: of the stub.
        environment: of the project, e.g. `STUB=slow`.
        settings: more settings.
    """
    gateway = StubGateway(state, engine, image, **settings)
    try:
        gateway.start()
        words = [word for text in environment for word in ("--env", text)]
        gateway.nbgate("project", "add", PROJECT, *words)
        yield gateway
    finally:
        gateway.clean()


class EngineDoor:
    """A socket in front of the engine's, which can be shut: then the engine is away.

    Args:
        path: of the socket.
        engine: what is behind it; on a local socket.
    """

    def __init__(self, path: Path, engine: EngineHandle) -> None:
        self.path = path
        self._engine = engine.url.removeprefix("unix://")
        self._open: set[socket.socket] = set()
        self._turn = threading.Lock()
        self._listener: socket.socket | None = None

    @property
    def handle(self) -> EngineHandle:
        """For DOCKER_HOST."""
        return EngineHandle(f"unix://{self.path}")

    def open(self) -> Self:
        """Let everybody through."""
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.path))
        self._listener.listen(64)
        threading.Thread(target=self._serve, args=[self._listener], daemon=True).start()
        return self

    def shut(self) -> None:
        """Let nobody through, and cut off who is."""
        if self._listener is None:
            return
        self.path.unlink()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._turn:
            self._listener = None
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def _serve(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = listener.accept()
                far = socket.socket(socket.AF_UNIX)
                far.connect(self._engine)
                with self._turn:
                    if self._listener is not listener:  # shut meanwhile
                        near.close()
                        far.close()
                        return
                    self._open |= {near, far}
                open_ends = [2]
                for one, other in ((near, far), (far, near)):
                    words = (one, other, open_ends)
                    threading.Thread(target=self._relay, args=words, daemon=True).start()

    def _relay(self, one: socket.socket, other: socket.socket, open_ends: list[int]) -> None:
        with contextlib.suppress(OSError):
            while data := one.recv(65536):
                other.sendall(data)
        with contextlib.suppress(OSError):
            other.shutdown(socket.SHUT_WR)
        with self._turn:
            open_ends[0] -= 1
            if not open_ends[0]:
                self._open -= {one, other}
                one.close()
                other.close()


@contextlib.contextmanager
def small_disk(folder: Path, size: str = "2m") -> Iterator[Path]:
    """Mount a small disk at `folder`, as root."""
    folder.mkdir()
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size},mode=755", "tmpfs", str(folder)], check=True
    )
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Fill the disk to the last byte; return the file to delete."""
    filler = folder / "filler"
    with filler.open("ab", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1):
            with contextlib.suppress(OSError):
                while True:
                    file.write(b"x" * size)
    return filler
