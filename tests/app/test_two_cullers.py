"""Two gateways of one installation with Jupyter: one culls, by the activity that both see."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.support.databases import new_database
from tests.support.engine import EngineHandle
from tests.support.faults import PROJECT, stub_gateway
from tests.support.pair import Pair, at_both, becomes, companion, leader_first, phase, status
from tests.support.postgres import Cluster


async def test_who_is_used_at_the_other_gateway_stays_and_who_is_not_goes(
    engine: EngineHandle, notebook_image: str, cluster: Cluster, tmp_path: Path
) -> None:
    settings = {
        "database_url": await new_database(cluster),
        "spaces_dir": str(tmp_path / "spaces"),
        "memory": "512M",
        "idle_timeout": "20",
        "warning_time": "5",
        "cull_interval": "1",
    }
    with (
        stub_gateway(tmp_path / "one", engine, notebook_image, **settings) as one,
        companion(one, tmp_path / "two", notebook_image, **settings) as two,
    ):
        pair = Pair(one, two)
        leader, other = await leader_first(pair)
        async with at_both(pair, "eager") as eager, at_both(pair, "away") as away:
            starts = (status(ask(other, "api/status")) for ask in (eager, away))
            assert await asyncio.gather(*starts) == [200, 200]
            for person in ("eager", "away"):
                await becomes(leader, f"{PROJECT}-x-{person}", "ready")
            begun = (await leader.record(f"{PROJECT}-x-eager"))["container_id"]
            while await phase(leader, f"{PROJECT}-x-away") != "cold":
                assert await status(eager(other, "lab", "text/html")) == 200
                await asyncio.sleep(0)
            assert await phase(leader, f"{PROJECT}-x-eager") == "ready"
            assert (await leader.record(f"{PROJECT}-x-eager"))["container_id"] == begun
            await becomes(other, f"{PROJECT}-x-eager", "cold")
        assert "stopped by=" not in other.said(), "one of them culls"
