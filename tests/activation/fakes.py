"""The seam to the engine, in memory: a spawner whose servers are plain aiohttp applications."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from aiohttp import web

from gateway.errors import EngineError
from gateway.spawners.base import Mode, Server, ServerSpec, ServerState
from routes.keys import Target


class FakeSpawner:
    """Starts an application on loopback that accepts its spec's token at `api/status`.

    Attributes:
        down: raised by whatever asks the engine; None while it is up.
        found: the mode, which the engine tells when it is asked.
        asked: how often the engine was asked.
        failure: raised by the next starts; None for none.
        dies: servers end before they are ready.
        gate: a start waits for it.
        starts: specs in the order of their starts.
    """

    name = "fake"
    engine_id = "fake"

    def __init__(self) -> None:
        self.down: EngineError | None = None
        self.found: Mode = "unknown"
        self.asked = 0
        self.failure: EngineError | None = None
        self.dies = False
        self.gate = asyncio.Event()
        self.gate.set()
        self.starts: list[ServerSpec] = []
        self.stopped: list[str] = []
        self._servers: dict[str, Server] = {}
        self._runners: dict[str, web.AppRunner] = {}

    @property
    def mode(self) -> Mode:
        return self.found

    async def open(self) -> None:
        await self.detect_mode()

    async def detect_mode(self) -> Mode:
        self.asked += 1
        if self.down is not None:
            raise self.down
        self.found = "dev"
        return self.found

    async def start(self, spec: ServerSpec) -> Server:
        await self.open()
        self.starts.append(spec)
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        server = await self._serve(spec)
        self._servers[spec.slug] = server
        return server

    async def inspect(self, slug: str) -> Server | None:
        await self.open()
        return self._servers.get(slug)

    async def list(self) -> Sequence[Server]:
        await self.open()
        return list(self._servers.values())

    async def stop(self, server: Server, grace: float) -> None:
        self.stopped.append(server.id)
        self._servers.pop(server.slug, None)
        await self.crash(server.slug)

    async def logs(self, server: Server, lines: int) -> str:
        return "the last line of its log"

    async def close(self) -> None:
        for slug in list(self._runners):
            await self.crash(slug)

    async def crash(self, slug: str) -> None:
        """End the application behind the spawner's back."""
        runner = self._runners.pop(slug, None)
        if runner is not None:
            await runner.cleanup()

    async def _serve(self, spec: ServerSpec) -> Server:
        number = f"{spec.slug}-{len(self.starts)}"
        if self.dies:
            return Server(
                number,
                spec.slug,
                spec.generation,
                ServerState.EXITED,
                target=Target("127.0.0.1", 9),
                exit_code=3,
            )

        async def status(request: web.Request) -> web.Response:
            good = request.headers.get("Authorization") == f"token {spec.token}"
            return web.json_response({}, status=200 if good else 403)

        app = web.Application()
        app.router.add_get(f"{spec.base_url}api/status", status)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self._runners[spec.slug] = runner
        port = runner.addresses[0][1]
        target = Target("127.0.0.1", port)
        return Server(
            number, spec.slug, spec.generation, ServerState.RUNNING, target=target, port=port
        )
