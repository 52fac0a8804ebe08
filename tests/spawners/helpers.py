"""What the spawners' tests share: specs, spawners with cleaning up, waiting for servers."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import docker

from gateway.spawners.base import Server, ServerSpec, Spawner
from gateway.spawners.docker import DockerOptions, DockerSpawner
from gateway.spawners.network import network_name
from gateway.spawners.surroundings import ModeSetting
from tests.support.engine import EngineHandle
from tests.support.places import free_subnet
from tests.support.waiting import PATIENCE

SECRET = "hop-secret-of-the-test"
NOTEBOOK_USER = 1000


@dataclass(slots=True)
class Workshop:
    """An installation on the tests' engine: its spaces, its spawners, and what cleans up."""

    engine: EngineHandle
    root: Path
    image: str
    installation: str = field(default_factory=lambda: secrets.token_hex(4))
    subnet: str = field(default_factory=free_subnet)
    _spawners: list[DockerSpawner] = field(default_factory=list)

    def spawner(self, mode: ModeSetting = "dev", **changes: Any) -> DockerSpawner:
        """Return a new spawner of this installation: a gateway that was started again."""
        options: dict[str, Any] = {
            "installation": self.installation,
            "spaces_dir": self.root,
            "docker_host": self.engine.url,
            "mode": mode,
            "subnet": self.subnet,
            "pull": "never",
            **changes,
        }
        self._spawners.append(DockerSpawner(DockerOptions(**options)))
        return self._spawners[-1]

    def spec(self, slug: str | None = None, **changes: Any) -> ServerSpec:
        """Return a spec with a space of its own; names are unique on the engine."""
        slug = slug or f"t-{secrets.token_hex(4)}"
        space = self.root / slug
        if not space.exists():
            space.mkdir()
            os.chown(space, NOTEBOOK_USER, NOTEBOOK_USER)
        values: dict[str, Any] = {
            "slug": slug,
            "generation": 1,
            "image": self.image,
            "base_url": f"/nb/{slug}/",
            "token": SECRET,
            "user_name": "Alice Example",
            "space": space,
            "memory": 1 << 30,
            "cpus": 1.0,
            **changes,
        }
        return ServerSpec(**values)

    async def clean(self) -> None:
        """Close the spawners; remove the installation's containers and network."""
        for spawner in self._spawners:
            await spawner.close()
        await asyncio.to_thread(clean_engine, self.engine, self.installation)


def clean_engine(engine: EngineHandle, installation: str) -> None:
    """Remove what an installation has on the engine."""
    with contextlib.closing(engine.client()) as client:
        label = f"org.nbgate.installation={installation}"
        left = client.containers.list(all=True, filters={"label": label}, ignore_removed=True)
        for container in left:
            with contextlib.suppress(docker.errors.NotFound):
                container.remove(force=True, v=True)
        for network in client.networks.list(names=[network_name(installation)]):
            network.reload()
            for container in network.containers:
                network.disconnect(container, force=True)
            network.remove()


@contextlib.contextmanager
def container_of(engine: EngineHandle, image: str, **options: Any) -> Iterator[Any]:
    """Run a container that is no notebook; removed at the end."""
    with contextlib.closing(engine.client()) as client:
        container = client.containers.run(image, detach=True, **options)
        try:
            yield container
        finally:
            container.remove(force=True, v=True)


async def eventually(
    check: Callable[[], Awaitable[bool]], what: str, deadline: float = PATIENCE
) -> None:
    """Wait until `check` holds; fail naming `what` when it does not in time."""
    loop = asyncio.get_running_loop()
    end = loop.time() + deadline
    while not await check():
        assert loop.time() < end, f"not within {deadline:g} s: {what}"
        await asyncio.sleep(0.05)


async def cut_off(spawner: Spawner, server: Server, spec: ServerSpec) -> None:
    """Run a command that does not end, and that has a child, until its deadline; both must end.

    A deadline that is over before the command has begun shows nothing: the next one is longer.
    """
    deadline, child = 3.0, spec.space / "child"
    async with asyncio.timeout(PATIENCE):
        while not (child.exists() and child.read_text().strip()):
            script = "sleep 1000 & echo $! > child; wait"
            assert await spawner.execute(server, ["sh", "-c", script], deadline) is None
            deadline *= 2

    async def child_is_gone() -> bool:
        look = '! kill -0 "$(cat child)"'
        return await spawner.execute(server, ["sh", "-c", look], PATIENCE) == 0

    await eventually(child_is_gone, "the command's child is gone")


@contextlib.asynccontextmanager
async def browser() -> AsyncIterator[aiohttp.ClientSession]:
    """Give a client with cookies for addresses, as a browser keeps them."""
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(
        cookie_jar=jar, timeout=aiohttp.ClientTimeout(total=PATIENCE)
    ) as session:
        yield session


def gateway_headers(secret: str = SECRET, user: str = "", name: str = "") -> dict[str, str]:
    """Return what the gateway's data path adds to a request; `user` and `name` are encoded."""
    headers = {"Authorization": f"token {secret}"}
    headers |= {"X-Nbgate-User": user} if user else {}
    return headers | ({"X-Nbgate-User-Name": name} if name else {})


def url_of(server: Server, path: str) -> str:
    """Return the direct URL of `path` on a server."""
    assert server.target is not None
    return f"http://{server.target}{path}"


async def until_ready(server: Server, path: str, deadline: float = PATIENCE) -> None:
    """Wait until `path` answers 200 to the gateway."""

    async def ready() -> bool:
        async with aiohttp.ClientSession() as session:
            try:
                async with session.get(
                    url_of(server, path), headers=gateway_headers(), allow_redirects=False
                ) as answer:
                    return answer.status == 200
            except (aiohttp.ClientConnectionError, TimeoutError):
                return False

    await eventually(ready, f"200 of {path}", deadline)


def subnet_of(workshop: Workshop) -> ipaddress.IPv4Network:
    return ipaddress.IPv4Network(workshop.subnet)
