"""Two gateways of one installation on one real engine, on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine

from gateway.notebooks import schema
from gateway.notebooks.database import Database
from gateway.notebooks.shared import moment
from tests.faults import breakpoints
from tests.spawners.helpers import eventually
from tests.support.engine import EngineHandle
from tests.support.faults import PROJECT, StubGateway, make_misbehaving_image, stub_gateway
from tests.support.gateway import signed_in
from tests.support.postgres import Cluster


class Pair(NamedTuple):
    """Two gateways that share identity, database, spaces and engine."""

    one: StubGateway
    two: StubGateway


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


async def new_database(cluster: Cluster) -> str:
    name = f"t{uuid.uuid4().hex}"
    engine = create_async_engine(
        cluster.url("postgres").replace("postgresql:", "postgresql+asyncpg:"),
        isolation_level="AUTOCOMMIT",
    )
    async with engine.connect() as connection:
        await connection.execute(sa.text(f"CREATE DATABASE {name}"))
    await engine.dispose()
    return cluster.url(name)


@contextlib.contextmanager
def companion(one: StubGateway, state: Path, image: str, **settings: str) -> Iterator[StubGateway]:
    """Run another gateway of the same installation."""
    state.mkdir()
    shutil.copy(one.state / "identity.json", state)
    network = {"network_subnet": one.environment["NBGATE_NETWORK_SUBNET"]}
    two = StubGateway(state, one.engine, image, **(settings | network))
    try:
        yield two.start()
    finally:
        two.kill()


async def phase(gateway: StubGateway, slug: str) -> str:
    """Return a notebook's phase as a gateway tells it; "" where there is no such notebook."""
    async with gateway.api() as api, api.get(f"/gateway/api/notebooks/{slug}") as answer:
        return str((await answer.json())["phase"]) if answer.status == 200 else ""


async def becomes(gateway: StubGateway, slug: str, wanted: str) -> None:
    async def is_so() -> bool:
        return await phase(gateway, slug) == wanted

    await eventually(is_so, f"{slug} is {wanted} there")


@contextlib.asynccontextmanager
async def at_both(pair: Pair, person: str) -> AsyncIterator[Callable[[StubGateway], Any]]:
    """Sign a person in at the first; yield what asks either, as through one name in front."""
    link = pair.one.nbgate("notebook", "url", "--project", PROJECT, "--person", person)
    host = {"Host": f"127.0.0.1:{pair.one.port}"}
    async with signed_in(link) as client:

        def ask(gateway: StubGateway) -> Any:
            return client.get(gateway.page("hello", person), headers=host)

        async def is_known() -> bool:
            async with client.get(f"{pair.two.url}/gateway", headers=host) as answer:
                return "login" not in answer.headers.get("X-Nbgate-Reason", "") and (
                    await phase(pair.two, f"{PROJECT}-x-{person}") != ""
                )

        await eventually(is_known, "the other gateway knows the notebook")
        yield ask


async def status(asking: Any) -> int:
    async with asking as answer:
        await answer.read()
        return int(answer.status)


def containers_of(pair: Pair, slug: str) -> list[Any]:
    return [item for item in pair.one.containers() if item.labels["org.nbgate.slug"] == slug]


async def session_is_known(ask: Callable[[StubGateway], Any], gateway: StubGateway) -> None:
    async def is_so() -> bool:
        return await status(ask(gateway)) == 200

    await eventually(is_so, "the session is good at the other gateway")


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
        reached = arm(pair.one, tmp_path, "POST /containers/start sent 1")
        pair.one.start()
        with pytest.raises(aiohttp.ClientError):
            await status(ask(pair.one))
        assert reached.read_text() == "POST /containers/start sent 1"
        assert await status(ask(pair.two)) == 200
        (container,) = await asyncio.to_thread(containers_of, pair, slug)
        disarm(pair.one, tmp_path)
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
        reached = arm(pair.one, tmp_path, "POST /containers/stop 1")
        pair.one.start()
        with pytest.raises(aiohttp.ClientError):
            await pair.one.stop_notebook(slug)
        assert reached.read_text() == "POST /containers/stop 1"
        await silent_for_a_minute(pair.one)

        async def stopped() -> bool:
            return not await asyncio.to_thread(containers_of, pair, slug)

        await eventually(stopped, "the other has stopped it")
        await becomes(pair.two, slug, "cold")
        disarm(pair.one, tmp_path)
        assert await status(ask(pair.one)) == 200


async def silent_for_a_minute(gateway: StubGateway) -> None:
    """Have a gateway not been heard of for a minute; it is dead already."""
    database = Database(gateway.environment["NBGATE_DATABASE_URL"])
    await database.open()
    async with database.writing() as connection:
        mine = schema.gateways.c.name.endswith(f":{gateway.state}")
        seen = moment(connection, -60.0)
        await connection.execute(sa.update(schema.gateways).where(mine).values(seen=seen))
    await database.close()


STEPS = (
    "space 1",
    "POST /containers/create 1",
    "POST /containers/create sent 1",
    "POST /containers/start 1",
    "POST /containers/start sent 1",
    "POST /containers/stop 1",
)


def arm(gateway: StubGateway, folder: Path, step: str) -> Path:
    """Have a gateway die at a step once it is started; return the file that will name it."""
    before = [f"commit {number}" for number in range(1, 200)]
    before += [one for one in STEPS if one != step]
    (folder / "tried").write_text("\n".join(before))
    gateway.environment[breakpoints.TRIED] = str(folder / "tried")
    gateway.environment[breakpoints.REACHED] = str(folder / "reached")
    gateway.program = "tests.faults.breakpoints"
    return folder / "reached"


def disarm(gateway: StubGateway, folder: Path) -> None:
    """Start a gateway again that has died."""
    gateway.kill()
    gateway.program = "gateway"
    (folder / "tried").unlink()
    gateway.start()


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
            return await status(ask(pair.two)) == 401

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
    async def leaders() -> int:
        return sum(leads(gateway) for gateway in pair)

    async def one_leads() -> bool:
        return await leaders() == 1

    await eventually(one_leads, "one leads")
    leader, other = pair if leads(pair.one) else (pair.two, pair.one)
    leader.stop()

    async def other_leads() -> bool:
        return leads(other)

    await eventually(other_leads, "the other leads")
    leader.start()
    assert not leads(leader)


def leads(gateway: StubGateway) -> bool:
    """Whether a gateway's log says that it leads now."""
    process = gateway.process
    if process is None or process.poll() is not None:
        return False
    said = gateway.log.read_text().rpartition(" serving url=")[2]
    return said.count(" leads name=culler") > said.count(" leads no more name=culler")


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
