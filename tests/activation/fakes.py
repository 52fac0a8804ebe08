"""The seam to the engine, in memory: a spawner whose servers are plain aiohttp applications."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime

from aiohttp import web

from gateway.errors import EngineError, GatewayError, ImageMissing
from gateway.spawners.base import (
    Change,
    Mode,
    OnPull,
    Pull,
    Server,
    ServerEvent,
    ServerSpec,
    ServerState,
    untold,
)
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
        missing: images that are not on the engine until they are pulled.
        pulling: a pull waits for it.
        starts: specs in the order of their starts.
        stopped: ids in the order of their ends.
        changed: what kept servers were made with fits no spec any more.
        refuses: raised by `stop` and `pause`; None for none.
        watched: since when, for each time that it was watched.
        swept: the graces of the sweeps.
        commands: what was executed.
        exit_code: of what is executed next.
        doing: what servers tell at `api/kernels` and `api/terminals`; they fail where it is None.
    """

    name = "fake"
    engine_id = "fake"

    def __init__(self) -> None:
        self.down: EngineError | None = None
        self.found: Mode = "unknown"
        self.asked = 0
        self.failure: GatewayError | None = None
        self.dies = False
        self.ours = True  # whether images are
        self.gate = asyncio.Event()
        self.gate.set()
        self.missing: set[str] = set()
        self.pulling = asyncio.Event()
        self.pulling.set()
        self.starts: list[ServerSpec] = []
        self.stopped: list[str] = []
        self.changed = False
        self.refuses: EngineError | None = None
        self.watched: list[float | None] = []
        self.swept: list[float] = []
        self.commands: list[Sequence[str]] = []
        self.exit_code: int | None = 0
        self.doing: dict[str, list[dict[str, str]]] | None = {"kernels": [], "terminals": []}
        self.moment = 0.0
        self._hanging: set[str] = set()
        self._watchers: set[asyncio.Queue[ServerEvent | EngineError]] = set()
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

    async def start(self, spec: ServerSpec, on_pull: OnPull | None = untold) -> Server:
        await self.open()
        if spec.image in self.missing:
            raise ImageMissing(spec.image)
        self.starts.append(spec)
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        found = self._servers.get(spec.slug)
        if found is not None and found.state is ServerState.RUNNING:
            return found
        if found is not None and found.state is ServerState.PAUSED:
            return self._put(found, Change.RESUMED, state=ServerState.RUNNING)
        self._hanging.discard(spec.slug)
        server = await self._serve(spec)
        if found is not None and await self.fits(found, spec):
            server = replace(server, id=found.id)
        self._put(server, Change.STARTED)
        return server

    async def pull(self, image: str, on_pull: OnPull = untold) -> None:
        on_pull(Pull(done=25, total=100))
        await self.pulling.wait()
        self.missing.discard(image)

    async def fits(self, server: Server, spec: ServerSpec) -> bool:
        return server.generation == spec.generation and not self.changed

    async def inspect(self, slug: str) -> Server | None:
        await self.open()
        return self._servers.get(slug)

    async def list(self) -> Sequence[Server]:
        await self.open()
        return list(self._servers.values())

    async def stop(self, server: Server, grace: float, *, keep: bool = False) -> None:
        await self._check()
        self.stopped.append(server.id)
        found = self._servers.get(server.slug)
        if found is None or found.id != server.id:
            return
        if keep:
            await self.die(server.slug, exit_code=0)
        else:
            await self.remove(server.slug)

    async def pause(self, server: Server) -> None:
        await self._check()
        self.freeze(server.slug)

    async def execute(self, server: Server, command: Sequence[str], deadline: float) -> int | None:
        await self.open()
        self.commands.append(command)
        return self.exit_code

    @asynccontextmanager
    async def watch(self, since: float | None) -> AsyncIterator[AsyncIterator[ServerEvent]]:
        await self.open()
        self.watched.append(since)
        queue: asyncio.Queue[ServerEvent | EngineError] = asyncio.Queue()
        self._watchers.add(queue)
        try:
            yield _events(queue)
        finally:
            self._watchers.discard(queue)

    async def sweep(self, grace: float) -> Sequence[str]:
        await self.open()
        self.swept.append(grace)
        return []

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

    def hang(self, slug: str, *, hangs: bool) -> None:
        """Have the application give no good answer, or give one again."""
        (self._hanging.add if hangs else self._hanging.discard)(slug)

    async def die(self, slug: str, exit_code: int = 137, reason: str = "") -> None:
        """End the server; the engine knows, and tells."""
        await self.crash(slug)
        self._put(
            self._servers[slug],
            Change.ENDED,
            state=ServerState.EXITED,
            target=None,
            port=None,
            exit_code=exit_code,
            reason=reason,
        )

    async def remove(self, slug: str) -> None:
        """End and remove the server, as by hand."""
        await self.crash(slug)
        self.tell(self._servers.pop(slug), Change.REMOVED)

    def freeze(self, slug: str) -> None:
        """Pause the server, as by hand."""
        self._put(self._servers[slug], Change.PAUSED, state=ServerState.PAUSED)

    def thaw(self, slug: str) -> None:
        """Let it go on, as by hand."""
        self._put(self._servers[slug], Change.RESUMED, state=ServerState.RUNNING)

    def started(self, slug: str, moment: datetime) -> None:
        """Have the server started at another moment."""
        self.put(replace(self._servers[slug], started=moment))

    def put(self, server: Server) -> None:
        """Have a server that nobody started here."""
        self._servers[server.slug] = server

    def tell(self, server: Server, change: Change) -> None:
        """Tell those who watch."""
        self.moment += 1.0
        for queue in self._watchers:
            queue.put_nowait(ServerEvent(server.id, server.slug, change, self.moment))

    def go_away(self, error: EngineError) -> None:
        """Be down from now on, and end what is watched."""
        self.down = error
        for queue in self._watchers:
            queue.put_nowait(error)

    async def _check(self) -> None:
        await self.open()
        if self.refuses is not None:
            raise self.refuses

    def _put(self, server: Server, change: Change, **facts: object) -> Server:
        now = replace(server, **facts)  # type: ignore[arg-type]
        self._servers[now.slug] = now
        self.tell(now, change)
        return now

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
            if spec.slug in self._hanging:
                return web.Response(status=503)
            good = request.headers.get("Authorization") == f"token {spec.token}"
            return web.json_response({}, status=200 if good else 403)

        app = web.Application()

        async def doing(request: web.Request) -> web.Response:
            if self.doing is None:
                raise web.HTTPInternalServerError
            return web.json_response(self.doing[request.path.rpartition("/")[2]])

        app.router.add_get(f"{spec.base_url}api/status", status)
        app.router.add_get(f"{spec.base_url}api/kernels", doing)
        app.router.add_get(f"{spec.base_url}api/terminals", doing)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self._runners[spec.slug] = runner
        port = runner.addresses[0][1]
        target = Target("127.0.0.1", port)
        return Server(
            number,
            spec.slug,
            spec.generation,
            ServerState.RUNNING,
            target=target,
            port=port,
            ours=self.ours,
        )


async def _events(queue: asyncio.Queue[ServerEvent | EngineError]) -> AsyncIterator[ServerEvent]:
    while True:
        event = await queue.get()
        if isinstance(event, EngineError):
            raise event
        yield event
