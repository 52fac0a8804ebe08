"""The culler's last look where the data path is two other processes, and a server a real Jupyter.

The project's own check is the last that is asked before a stop. Here it is where somebody comes.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from aiohttp import web

from tests.support.gateway import ROOT
from tests.workers.support import (
    Connection,
    Fleet,
    cookie_for,
    fleet_running,
    one_at_each,
    until_async,
)

SLUG = "demo-x-alice"
PAGE = f"/nb/{SLUG}/api/status"
VISIT = {"Sec_Fetch_Site": "none", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "document"}
POLL = {"Sec_Fetch_Site": "same-origin", "Sec_Fetch_Mode": "cors", "Sec_Fetch_Dest": "empty"}


class Check:
    """A project's check that says "not busy", when a person has just come to a worker.

    Without a warning it is asked in pairs: before the stop is decided, and under the notebook's
    lock. The second question of a pair falls away where a visit was told late; then somebody may
    come at a first one, and comes again.

    Attributes:
        visits: the status of each visit.
    """

    def __init__(self) -> None:
        self.visits: list[int] = []
        self._asked = 0
        self._comers: list[Connection] = []
        self._cookie = ""
        self._count_spared: Callable[[], float] = float
        self._spared = 0.0

    def let_come(
        self, comers: list[Connection], cookie: str, count_spared: Callable[[], float]
    ) -> None:
        """Have a person come by each of these until that has spared the notebook."""
        self._comers, self._cookie, self._count_spared = list(comers), cookie, count_spared

    async def answer(self, request: web.Request) -> web.Response:
        assert request.query["of"] == SLUG
        self._asked += 1
        spared = await asyncio.to_thread(self._count_spared)
        if self._comers and spared > self._spared:
            self._spared = spared
            self._comers.pop(0)
        if self._asked % 2 == 0 and self._comers:
            status, _, _ = await self._comers[0].get(PAGE, Cookie=self._cookie, **VISIT)
            self.visits.append(status)
        return web.Response(status=204)


@contextlib.asynccontextmanager
async def served(check: Check) -> AsyncIterator[str]:
    """Serve the check; yield what the project is given."""
    app = web.Application()
    app.router.add_get("/busy", check.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/busy?of={{slug}}"
    finally:
        await runner.cleanup()


def culled(fleet: Fleet, what: str) -> float:
    return fleet.metrics().get(f'nbgate_culled_total{{what="{what}"}}', 0.0)


async def test_who_comes_to_a_worker_at_the_last_moment_keeps_the_notebook(tmp_path: Path) -> None:
    check = Check()
    settings = {"idle_timeout": "3", "warning_time": "0", "cull_interval": "1"}
    with fleet_running(tmp_path / "state", **settings) as fleet:
        source = str(ROOT / "examples" / "demo")
        async with served(check) as url, one_at_each(fleet) as workers:
            run = ("project", "add", "demo", "--source", source, "--still-busy", url)
            await asyncio.to_thread(fleet.nbgate, *run)
            cookie = await cookie_for(fleet, "alice")
            check.let_come(workers, cookie, lambda: culled(fleet, "spared"))
            assert (await workers[0].get(PAGE, Cookie=cookie))[0] == 200

            await until_async(lambda: culled(fleet, "stopped-idle") == 1, "it is stopped at last")

            assert set(check.visits) == {200}
            assert culled(fleet, "spared") >= 2, "by a visit at each worker"
            assert (await workers[1].get(PAGE, Cookie=cookie, **POLL))[0] == 424
            (record,) = fleet.notebooks()
            assert (record["state"], record["generation"]) == ("cold", 1)
