"""httpd processes live for the whole package, one per set of variables; upstreams per test."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import pytest_asyncio

from tests.front.upstream import Upstream, running_upstream
from tests.support.apache import folder_for_httpd
from tests.support.front import Front, RouteFiles, running_front
from tests.support.places import free_port

StartFront = Callable[..., Awaitable[Front]]


class Fronts:
    """Starts httpd once for each set of variables.

    Attributes:
        folder: of all of them.
        gateway_port: where each of them expects the gateway.
        routes: the maps that all of them read.
    """

    def __init__(self, folder: Path, stack: AsyncExitStack) -> None:
        self.folder = folder
        self.gateway_port = free_port()
        (folder / "routes").mkdir()
        self.routes = RouteFiles(folder / "routes")
        self._stack = stack
        self._running: dict[tuple[tuple[str, str], ...], Front] = {}

    async def start(self, **environment: str) -> Front:
        key = tuple(sorted(environment.items()))
        if key not in self._running:
            gateway = f"127.0.0.1:{self.gateway_port}"
            front = running_front(self._new(), self.routes.folder, gateway, **environment)
            self._running[key] = await self._stack.enter_async_context(front)
        return self._running[key]

    def _new(self) -> Path:
        made = Path(tempfile.mkdtemp(dir=self.folder))
        made.chmod(0o755)
        return made


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def fronts() -> AsyncIterator[Fronts]:
    async with AsyncExitStack() as stack:
        yield Fronts(stack.enter_context(folder_for_httpd()), stack)


@pytest.fixture
def folder(fronts: Fronts) -> Path:
    """Return a folder that httpd can read."""
    return fronts.folder


@pytest.fixture
def routes(fronts: Fronts) -> Iterator[RouteFiles]:
    fronts.routes.write({})
    yield fronts.routes
    fronts.routes.write({})


@pytest.fixture
def start_front(fronts: Fronts, routes: RouteFiles, gateway: Upstream) -> StartFront:
    """Start httpd with some more variables."""
    return fronts.start


@pytest_asyncio.fixture(loop_scope="package")
async def gateway(fronts: Fronts) -> AsyncIterator[Upstream]:
    async with running_upstream("gateway", fronts.gateway_port) as upstream:
        yield upstream


@pytest_asyncio.fixture(loop_scope="package")
async def notebook() -> AsyncIterator[Upstream]:
    async with running_upstream("notebook") as upstream:
        yield upstream


@pytest.fixture(scope="package")
def compose() -> list[str]:
    """Return the command: Compose v2 as Docker's plugin, else a docker-compose of its own."""
    plugin = ["docker", "compose", "version"]
    docker = shutil.which("docker")
    if docker and subprocess.run(plugin, check=False, capture_output=True).returncode == 0:
        return ["docker", "compose"]
    if shutil.which("docker-compose"):
        return ["docker-compose"]
    lacking = "docker compose is missing; on Debian: apt-get install docker-compose"
    if os.environ.get("CI") == "true":
        pytest.fail(lacking)
    pytest.skip(lacking)
