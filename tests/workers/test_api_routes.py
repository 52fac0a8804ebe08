"""JupyterHub's API with workers: 201 holds for each of them, and their traffic is activity."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from tests.app.hub import Api
from tests.workers.support import (
    DEADLINE,
    Fleet,
    fleet_running,
    kill,
    one_at_each,
    until_async,
    upstream,
)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with fleet_running(tmp_path_factory.mktemp("fleet") / "state") as fleet:
        yield fleet


def api_of(fleet: Fleet) -> Api:
    return Api(fleet.management_port, (fleet.state / "management.token").read_text().strip())


async def test_every_worker_has_a_change_when_it_is_answered(fleet: Fleet) -> None:
    api = api_of(fleet)
    async with upstream() as target, one_at_each(fleet) as both:
        for _ in range(10):
            await api.add("/user/a", f"http://{target}", user="a")
            assert [(await one.get("/user/a/x"))[0] for one in both] == [200, 200]
            assert (await api.ask("DELETE", "/api/routes/user/a")).status == 204
            assert [(await one.get("/user/a/x"))[0] for one in both] == [404, 404]


async def test_activity_at_any_worker_is_told(fleet: Fleet) -> None:
    api = api_of(fleet)
    async with upstream() as target, one_at_each(fleet) as both:
        await api.add("/user/b", f"http://{target}")
        for connection in both:
            before = (await api.routes())["/user/b"]["last_activity"]
            status, _, _ = await connection.get("/user/b/x", Sec_Fetch_Mode="navigate")
            assert status == 200
            async with asyncio.timeout(DEADLINE):
                while (await api.routes())["/user/b"]["last_activity"] == before:
                    pass  # each question is one to another process
        before = (await api.routes())["/user/b"]["last_activity"]
        await api.add("/user/b", f"http://{target}")
        assert (await api.routes())["/user/b"]["last_activity"] > before, "it counts as active"


async def test_routes_are_there_after_control_was_killed(fleet: Fleet) -> None:
    api = api_of(fleet)
    async with upstream() as target:
        await api.add("/user/c", f"http://{target}", user="c")
        await api.flush()
        kill(fleet.control)
        again = "control ended, starting it again"
        await until_async(lambda: again in fleet.log.read_text(), "control is started again")
        await until_async(fleet.caught_up, "the workers follow the new control")
        assert (await api.routes())["/user/c"]["user"] == "c"
        async with one_at_each(fleet) as both:
            assert [(await one.get("/user/c/x"))[0] for one in both] == [200, 200]
