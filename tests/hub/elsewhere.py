"""Servers without a process: many people's at once, answered by the test itself.

A hub with `SPAWNER` has them for people whose names begin with `guest`, real ones for others.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from aiohttp import web

SPAWNER = """
from jupyterhub.spawner import SimpleLocalProcessSpawner

class Sometimes(SimpleLocalProcessSpawner):
    @property
    def elsewhere(self):
        return self.user.name.startswith("guest")

    async def start(self):
        return "{url}" if self.elsewhere else await super().start()

    async def poll(self):
        return None if self.elsewhere else await super().poll()

    async def stop(self, now=False):
        if not self.elsewhere:
            await super().stop(now)

c.JupyterHub.spawner_class = Sometimes
"""


@contextlib.asynccontextmanager
async def servers(*, port: int = 0, unix: str = "") -> AsyncIterator[None]:
    """Answer for the servers of all guests, at a port of this machine or a Unix socket."""
    runner = web.ServerRunner(web.Server(_answer))
    await runner.setup()
    site = web.UnixSite(runner, unix) if unix else web.TCPSite(runner, "127.0.0.1", port)
    await site.start()
    try:
        yield
    finally:
        await runner.cleanup()


async def _answer(request: web.BaseRequest) -> web.Response:
    return web.Response(text=f"at {request.raw_path}")
