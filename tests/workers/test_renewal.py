"""The certificate of a running `nbgate serve` is renewed, in one process and in several."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.proxy.certificates import Pair, make_pair
from tests.workers.support import (
    DEADLINE,
    Fleet,
    Single,
    hot_route,
    one_at_each,
    serving,
)


@pytest.fixture
def live(tmp_path: Path) -> Pair:
    """The pair that the gateway is told of."""
    return make_pair(tmp_path, "live")


@pytest.fixture(params=[Single, Fleet])
def fleet(request: pytest.FixtureRequest, tmp_path: Path, live: Pair) -> Iterator[Fleet]:
    tls = {"tls_cert": str(live.cert), "tls_key": str(live.key)}
    with serving(request.param(tmp_path / "state", **tls)) as fleet:
        yield fleet


def _trusting_all() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def shown(fleet: Fleet) -> set[bytes | None]:
    """Return the certificates that the processes show to new connections."""
    async with one_at_each(fleet, _trusting_all()) as connections:
        return {connection.certificate for connection in connections}


async def all_show(fleet: Fleet, pair: Pair) -> None:
    """Wait until new connections to each process see this certificate."""
    end = asyncio.get_running_loop().time() + DEADLINE
    while await shown(fleet) != {pair.certificate()}:
        assert asyncio.get_running_loop().time() < end, "the old certificate is still shown"


async def test_new_connections_see_the_new_certificate_and_old_ones_are_served(
    tmp_path: Path, fleet: Fleet, live: Pair
) -> None:
    renewed = make_pair(tmp_path, "renewed")
    async with hot_route(fleet) as path, one_at_each(fleet, live.client()) as old:
        assert [(await one.get(path))[0] for one in old] == [200] * fleet.size
        assert await shown(fleet) == {live.certificate()}
        renewed.put(live.cert, live.key)
        await all_show(fleet, renewed)
        async with one_at_each(fleet, renewed.client()) as new:
            for connection in (*old, *new):
                assert (await connection.get(path))[0] == 200
