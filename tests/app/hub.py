"""A management listener with JupyterHub's API over a real route file, and raw calls to it."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from aiohttp import web

from gateway.activation.routerules import RouteRules
from gateway.activation.routing import RouteService
from gateway.api import build_management_app
from gateway.app.jupyterhub import GatewayBook, apart
from gateway.chp.api import RoutesApi
from gateway.chp.book import Stamps
from gateway.chp.tally import Tally
from gateway.namespace import Namespace
from gateway.proxy.interface import RouteEntry
from routes import extras
from routes.apachedb import ApacheDB
from routes.pair import open_derived
from routes.publisher import Publisher
from routes.table import Table
from tests.api.support import TOKEN, world_in
from tests.proxy.wire import Message, Wire


@dataclass
class Api:
    """Raw calls to a management listener."""

    port: int
    token: str = TOKEN

    async def ask(
        self, method: str, path: str, body: object = None, *, host: str = "", scheme: str = "token"
    ) -> Message:
        """Call `path`, which goes out as it is; `body` is JSON, or bytes."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        content = b"" if body is None else content
        lines = [f"{method} {path} HTTP/1.1", f"Host: {host or f'127.0.0.1:{self.port}'}"]
        lines += [f"Authorization: {scheme} {self.token}"] if scheme else []
        lines += ["Content-Type: application/json"]
        lines += ["Connection: close", f"Content-Length: {len(content)}"]
        wire = Wire(*await asyncio.open_connection("127.0.0.1", self.port, limit=2**24))
        async with wire:
            await wire.send("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + content)
            return await wire.response(method)

    async def status(self, method: str, path: str, body: object = None) -> int:
        """Call `path`; return the status."""
        return (await self.ask(method, path, body)).status

    async def add(self, path: str, target: object, **members: object) -> None:
        """Add a route."""
        answer = await self.ask("POST", f"/api/routes{path}", {"target": str(target), **members})
        assert (answer.status, answer.body) == (201, b""), answer

    async def routes(self, query: str = "") -> dict[str, Any]:
        """Return all routes as the API tells them."""
        answer = await self.ask("GET", f"/api/routes{query}")
        assert answer.status == 200, answer
        found: dict[str, Any] = json.loads(answer.body)
        return found

    async def flush(self) -> None:
        """Wait until the routes are in the file."""
        answer = await self.ask("POST", "/gateway/api/routes/flush")
        assert (answer.status, answer.body) == (204, b""), answer


class Hub(Api):
    """The listener, in the tests' own process.

    Attributes:
        service: its route service.
        table: its routes.
        file, companion: what it writes.
    """

    service: RouteService
    table: Table[RouteEntry]
    file: Path
    companion: Path


@contextlib.asynccontextmanager
async def hub_in(folder: Path, *, persist: bool = True) -> AsyncIterator[Hub]:
    """Run one over the route file in `folder`."""
    async with AsyncExitStack() as stack:
        state = folder / "services"
        state.mkdir(exist_ok=True)
        world = await stack.enter_async_context(world_in(state))
        hub = Hub(0)
        hub.table, hub.file = Table(), folder / "routes.gdbm"
        hub.companion = extras.beside(hub.file)
        database = ApacheDB(hub.file)
        publishers = [_publisher(database, stack)]
        if persist:
            kept = open_derived(hub.companion, extras.MODE, "companion")
            publishers.append(_publisher(kept, stack))
        hub.service = RouteService(
            hub.table,
            database,
            publishers[0],
            None,
            RouteRules(
                Namespace(),
                lambda slug: world.catalogue.find(slug) is not None,
                "nb.example.org",
                folder / "run",
            ),
            publishers[1] if persist else None,
        )
        stack.push_async_callback(hub.service.api.close)
        await hub.service.load()
        hub.port = await _serve(hub.service, replace(world.services, routes=hub.service), stack)
        yield hub


async def _serve(routes: RouteService, services: Any, stack: AsyncExitStack) -> int:
    api = RoutesApi(GatewayBook(routes, Stamps()), Tally(), TOKEN)
    runner = web.AppRunner(build_management_app(services, apart(api)), shutdown_timeout=1.0)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port: int = runner.addresses[0][1]
    return port


def _publisher(database: ApacheDB, stack: AsyncExitStack) -> Publisher:
    stack.callback(database.close)
    publisher = Publisher(database)
    stack.push_async_callback(publisher.close)
    return publisher
