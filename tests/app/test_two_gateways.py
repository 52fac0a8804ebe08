"""Two gateways of one installation on one real engine, on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.spawners.helpers import eventually
from tests.support.databases import new_database
from tests.support.engine import EngineHandle
from tests.support.faults import PROJECT, StubGateway, make_misbehaving_image, stub_gateway
from tests.support.pair import (
    Pair,
    at_both,
    becomes,
    companion,
    containers_of,
    doomed,
    leader_first,
    leads,
    meetings,
    session_is_known,
    silent_for_a_minute,
    status,
)


@pytest.fixture(scope="module")
def image(engine: EngineHandle) -> str:
    return make_misbehaving_image(engine)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def pair(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    engine: EngineHandle,
    image: str,
) -> Iterator[Pair]:
    """Both running."""
    folder = tmp_path_factory.mktemp("pair")
    if request.param == "sqlite":
        url = f"sqlite+aiosqlite:///{folder / 'shared.db'}"
    else:
        url = asyncio.run(new_database(request.getfixturevalue("cluster")))
    settings = {"database_url": url, "spaces_dir": str(folder / "spaces")}
    with (
        stub_gateway(folder / "one", engine, image, **settings) as one,
        companion(one, folder / "two", image, **settings) as two,
    ):
        yield Pair(one, two)


async def test_started_at_both_at_once_runs_once(pair: Pair) -> None:
    people = [f"joint{number}" for number in range(4)]
    async with contextlib.AsyncExitStack() as stack:
        asks = [await stack.enter_async_context(at_both(pair, person)) for person in people]
        for ask in asks:  # one request each, so that the second gateway has the session
            await session_is_known(ask, pair.two)
        for person in people:
            await pair.one.stop_notebook(f"{PROJECT}-x-{person}")
            await becomes(pair.two, f"{PROJECT}-x-{person}", "cold")
        found = await asyncio.gather(
            *(status(ask(gateway)) for ask in asks for gateway in pair for _ in range(3))
        )
        assert found == [200] * len(found)
        for person in people:
            slug = f"{PROJECT}-x-{person}"
            (container,) = await asyncio.to_thread(containers_of, pair, slug)
            for gateway in pair:
                await becomes(gateway, slug, "ready")
                assert (await gateway.record(slug))["container_id"] == container.id


async def test_killed_in_mid_start_the_other_goes_on_with_it(pair: Pair, tmp_path: Path) -> None:
    slug = f"{PROJECT}-x-heir"
    async with at_both(pair, "heir") as ask:
        await session_is_known(ask, pair.two)
        await pair.two.stop_notebook(slug)
        await becomes(pair.one, slug, "cold")
        pair.one.stop()
        async with doomed(pair.one, tmp_path, "POST /containers/start sent 1") as dead:
            with pytest.raises(aiohttp.ClientError):
                await status(ask(pair.one))
            await dead()
            assert await status(ask(pair.two)) == 200
            (container,) = await asyncio.to_thread(containers_of, pair, slug)
        for gateway in pair:
            await becomes(gateway, slug, "ready")
            assert (await gateway.record(slug))["container_id"] == container.id
        assert await status(ask(pair.one)) == 200


async def test_killed_in_mid_stop_the_other_carries_it_on(pair: Pair, tmp_path: Path) -> None:
    slug = f"{PROJECT}-x-remains"
    async with at_both(pair, "remains") as ask:
        assert await status(ask(pair.one)) == 200
        await becomes(pair.two, slug, "ready")
        pair.one.stop()
        met = meetings(pair.two)

        async def is_met() -> bool:
            return meetings(pair.two) > met

        async def stopped() -> bool:
            return not await asyncio.to_thread(containers_of, pair, slug)

        async with doomed(pair.one, tmp_path, "POST /containers/stop 1") as dead:
            await eventually(is_met, "the other knows that it is there again")
            with pytest.raises(aiohttp.ClientError):
                await pair.one.stop_notebook(slug)
            await dead()
            await silent_for_a_minute(pair.one)
            await eventually(stopped, "the other has stopped it")
            await becomes(pair.two, slug, "cold")
        assert await status(ask(pair.one)) == 200


async def test_what_one_starts_stops_and_deletes_is_so_at_the_other(pair: Pair) -> None:
    slug = f"{PROJECT}-x-mary"
    async with at_both(pair, "mary") as ask:
        assert await status(ask(pair.one)) == 200
        await becomes(pair.two, slug, "ready")
        assert await status(ask(pair.two)) == 200
        await pair.two.stop_notebook(slug)
        await becomes(pair.one, slug, "cold")
        assert await asyncio.to_thread(containers_of, pair, slug) == []
        assert await status(ask(pair.one)) == 200, "started anew"
        await becomes(pair.two, slug, "ready")
        pair.one.nbgate("notebook", "lock", slug, "--reason", "an experiment")

        async def locked() -> bool:
            return (await pair.two.record(slug))["lock"] is not None

        await eventually(locked, "it is locked there")
        refused = pair.two.run("notebook", "stop", slug)
        assert "locked" in refused.stderr
        pair.two.nbgate("notebook", "unlock", slug)
        pair.two.nbgate("notebook", "delete", slug, "--yes")
        await becomes(pair.one, slug, "")
        assert await status(ask(pair.one)) == 404


async def test_who_is_signed_out_at_one_is_so_at_the_other(pair: Pair) -> None:
    async with at_both(pair, "john") as ask:
        for gateway in pair:
            await session_is_known(ask, gateway)
        await sign_out(ask, pair)

        async def refused() -> bool:
            try:
                return await status(ask(pair.two)) == 401
            except aiohttp.ClientError:
                return False  # the end came while it was being answered, which breaks that off

        assert await status(ask(pair.one)) == 401, "at once"
        await eventually(refused, "at the other within the time of a poll")


async def sign_out(ask: Callable[[StubGateway], Any], pair: Pair) -> None:
    """Sign the person out at the first gateway."""
    async with ask(pair.one) as answer:
        request = answer.request_info
    cookie = request.headers["Cookie"]
    headers = {"Cookie": cookie, "Origin": pair.one.url}
    async with (
        aiohttp.ClientSession() as client,
        client.post(f"{pair.one.url}/gateway/logout", headers=headers) as answer,
    ):
        assert answer.status < 400, await answer.text()


async def test_one_leads_and_the_other_takes_over(pair: Pair) -> None:
    leader, other = await leader_first(pair)
    leader.stop()

    async def other_leads() -> bool:
        return leads(other)

    await eventually(other_leads, "the other leads")
    await asyncio.to_thread(leader.start)
    assert not leads(leader)


async def test_other_installations_name_is_refused_in_words(
    pair: Pair, tmp_path: Path, image: str
) -> None:
    async with at_both(pair, "clash") as ask:
        assert await status(ask(pair.one)) == 200
    before = (await pair.one.record(f"{PROJECT}-x-clash"))["container_id"]
    with stub_gateway(tmp_path / "foreign", pair.one.engine, image) as foreign:
        assert foreign.installation != pair.one.installation
        foreign.nbgate("notebook", "url", "--project", PROJECT, "--person", "clash")
        refused = foreign.run("notebook", "start", f"{PROJECT}-x-clash")
        assert refused.returncode != 0
        assert "is not this installation's" in refused.stderr
        assert len(refused.stderr.strip().splitlines()) == 1
        assert foreign.containers() == []
    (container,) = containers_of(pair, f"{PROJECT}-x-clash")
    assert (container.id, container.status) == (before, "running")
