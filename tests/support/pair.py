"""Two gateways of one installation, for tests: both as processes on one engine and one database."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import sqlalchemy as sa

from gateway.notebooks import schema
from gateway.notebooks.database import Database
from gateway.notebooks.shared import moment
from tests.faults import breakpoints
from tests.spawners.helpers import eventually
from tests.support.faults import PROJECT, StubGateway
from tests.support.gateway import signed_in
from tests.support.waiting import PATIENCE

# Of a page that is open: it wakes no notebook.
POLLING = {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"}


class Pair(NamedTuple):
    """Two gateways that share identity, database, spaces and engine."""

    one: StubGateway
    two: StubGateway


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
async def at_both(pair: Pair, person: str) -> AsyncIterator[Callable[..., Any]]:
    """Sign a person in at the first; yield what asks either, as through one name in front."""
    link = pair.one.nbgate("notebook", "url", "--project", PROJECT, "--person", person)
    host = {"Host": f"127.0.0.1:{pair.one.port}"}
    async with signed_in(link) as client:

        def ask(gateway: StubGateway, page: str = "hello", accept: str = "*/*") -> Any:
            return client.get(gateway.page(page, person), headers=host | {"Accept": accept})

        async def is_known() -> bool:
            url = pair.two.page("hello", person)
            return await status(client.get(url, headers=host | POLLING)) in (200, 424)

        await eventually(is_known, "the other gateway knows the notebook, and who may use it")
        yield ask


def leads(gateway: StubGateway) -> bool:
    """Whether a gateway's log says that it leads now."""
    process = gateway.process
    if process is None or process.poll() is not None:
        return False
    said = gateway.said()
    return said.count(" leads name=culler") > said.count(" leads no more name=culler")


async def leader_first(pair: Pair) -> tuple[StubGateway, StubGateway]:
    """Return the gateway that culls, once one of them alone does, and the other."""

    async def one_leads() -> bool:
        return leads(pair.one) != leads(pair.two)

    await eventually(one_leads, "one leads")
    return (pair.one, pair.two) if leads(pair.one) else (pair.two, pair.one)


async def status(asking: Any) -> int:
    async with asking as answer:
        await answer.read()
        return int(answer.status)


def containers_of(pair: Pair, slug: str) -> list[Any]:
    """Return a notebook's containers."""
    return [item for item in pair.one.containers() if item.labels["org.nbgate.slug"] == slug]


async def session_is_known(ask: Callable[[StubGateway], Any], gateway: StubGateway) -> None:
    async def is_so() -> bool:
        return await status(ask(gateway)) == 200

    await eventually(is_so, "the session is good at the other gateway")


def meetings(gateway: StubGateway) -> int:
    """Return how often a gateway has said that it found another."""
    return gateway.log.read_text().count("another gateway shares the database")


async def silent_for_a_minute(gateway: StubGateway) -> None:
    """Have a gateway not been heard of for a minute; it is dead already."""
    database = Database(gateway.environment["NBGATE_DATABASE_URL"])
    await database.open()
    async with database.writing() as connection:
        mine = schema.gateways.c.name.endswith(f":{gateway.state}")
        seen = moment(connection, -60.0)
        await connection.execute(sa.update(schema.gateways).where(mine).values(seen=seen))
    await database.close()


@contextlib.asynccontextmanager
async def doomed(
    gateway: StubGateway, folder: Path, step: str
) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """Run a gateway that dies at a step; yield what fails unless it has.

    Afterwards it runs without, whatever came of the test: those behind it need it.

    Args:
        gateway: it does not run.
        folder: of the test.
        step: see tests/faults/breakpoints.py.
    """
    tried, reached = folder / "tried", folder / "reached"
    tried.write_text(f"{breakpoints.ONLY}{step}")
    gateway.environment[breakpoints.TRIED] = str(tried)
    gateway.environment[breakpoints.REACHED] = str(reached)

    async def dead() -> None:
        process = gateway.process
        assert process is not None
        assert reached.exists(), f"{step!r} was not reached:\n{gateway.said()}"
        await asyncio.to_thread(process.wait, PATIENCE)

    gateway.program = "tests.faults.breakpoints"
    try:
        await asyncio.to_thread(gateway.start)
        yield dead
    finally:
        gateway.kill()
        gateway.program = "gateway"
        tried.unlink()
        await asyncio.to_thread(gateway.start)
