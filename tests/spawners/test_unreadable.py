"""A container that the engine lists and cannot inspect: an engine of a few answers tells of one."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from gateway.spawners.base import Server, ServerSpec, ServerState
from gateway.spawners.docker import DockerOptions, DockerSpawner
from gateway.spawners.docker_spec import INSTALLATION, SLUG
from gateway.spawners.engine import EngineRefused
from gateway.spawners.removal import aside_name

ID = "ab" * 32
NO_LAYER = "RWLayer of container is unexpectedly nil"


class Unreadable:
    """Has one container, in some state; it may stick."""

    def __init__(self, state: str, *, sticks: bool = False) -> None:
        self.state = state
        self.sticks = sticks
        self.names = ["demo"]

    def routes(self) -> list[web.RouteDef]:
        below = "/{version}/containers"
        return [
            web.get("/version", self.version),
            web.get(below + "/json", self.list),
            web.get(below + "/{name}/json", self.inspect),
            web.delete(below + "/{name}", self.remove),
            web.post(below + "/{name}/rename", self.rename),
            web.get("/{version}/images/{name:.*}/json", self.nothing),
        ]

    async def version(self, _: web.Request) -> web.Response:
        return web.json_response({"ApiVersion": "1.41"})

    async def nothing(self, _: web.Request) -> web.Response:
        return web.json_response({"message": "no such thing"}, status=404)

    async def list(self, _: web.Request) -> web.Response:
        labels = {INSTALLATION: "ours", SLUG: "demo"}
        items = [
            {"Id": ID, "Names": [f"/{name}"], "Labels": labels, "State": self.state, "Created": 1}
            for name in self.names
        ]
        return web.json_response(items)

    async def inspect(self, request: web.Request) -> web.Response:
        if self.names and request.match_info["name"] in (ID, *self.names):
            return web.json_response({"message": NO_LAYER}, status=500)
        return await self.nothing(request)

    async def remove(self, _: web.Request) -> web.Response:
        if self.sticks:
            return web.json_response({"message": "device or resource busy"}, status=500)
        self.names.clear()
        return web.Response(status=204)

    async def rename(self, request: web.Request) -> web.Response:
        self.names = [request.query["name"]]
        return web.Response(status=204)


@contextlib.asynccontextmanager
async def spawner_of(engine: Unreadable, folder: Path) -> AsyncIterator[DockerSpawner]:
    app = web.Application()
    app.add_routes(engine.routes())
    runner = web.AppRunner(app)
    await runner.setup()
    await web.UnixSite(runner, str(folder / "engine.sock")).start()
    options = DockerOptions(
        installation="ours",
        spaces_dir=folder,
        docker_host=f"unix://{folder}/engine.sock",
        mode="dev",
    )
    spawner = DockerSpawner(options)
    try:
        yield spawner
    finally:
        await spawner.close()
        await runner.cleanup()


@pytest.mark.parametrize("state", ["exited", "dead", "created"])
@pytest.mark.parametrize("sticks", [False, True])
async def test_one_that_has_ended_is_told_of_and_makes_room(
    tmp_path: Path, state: str, *, sticks: bool
) -> None:
    engine = Unreadable(state, sticks=sticks)
    async with spawner_of(engine, tmp_path) as spawner:
        found = await spawner.inspect("demo")
        assert found is not None
        ended = ServerState.CREATED if state == "created" else ServerState.EXITED
        assert (found.id, found.slug, found.state) == (ID, "demo", ended)
        spec = ServerSpec("demo", 0, "image", "/", "secret", "alice", tmp_path)
        assert not await spawner.fits(found, spec)

        await spawner.stop(found, grace=0.0)

        assert engine.names == ([aside_name(ID, "demo")] if sticks else [])
        assert await spawner.inspect("demo") is None


@pytest.mark.parametrize("state", ["running", "paused"])
async def test_one_that_runs_is_left_alone(tmp_path: Path, state: str) -> None:
    engine = Unreadable(state)
    async with spawner_of(engine, tmp_path) as spawner:
        with pytest.raises(EngineRefused, match="RWLayer"):
            await spawner.inspect("demo")
        with pytest.raises(EngineRefused, match="RWLayer"):
            await spawner.stop(Server(ID, "demo", 1, ServerState.RUNNING), grace=0.0)
    assert engine.names == ["demo"]
