"""How soon a server that was ended behind the gateway's back is known not to be there."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import aiohttp
from docker.models.containers import Container

from tests.support.engine import EngineHandle
from tests.support.gateway import GatewayProcess
from tests.support.students import PROJECT

_PATIENCE = 60.0


@dataclass(frozen=True, slots=True)
class Noticed:
    """Seconds until routes were cold.

    Attributes:
        killed: since a server's end, as the engine dates it, by `docker kill`.
        removed: since `docker rm --force` was asked for.
    """

    killed: Sequence[float]
    removed: Sequence[float]


async def measure_noticed(gateway: GatewayProcess, engine: EngineHandle, each: int) -> Noticed:
    """Kill the servers of `each` hot notebooks of the class, and remove as many others."""
    slugs = [f"{PROJECT}-x-s{number}" for number in range(2 * each)]
    async with gateway.api() as client:
        killed = [await _end(client, engine, slug, _kill) for slug in slugs[:each]]
        removed = [await _end(client, engine, slug, _remove) for slug in slugs[each:]]
    return Noticed(killed, removed)


async def _end(
    client: aiohttp.ClientSession,
    engine: EngineHandle,
    slug: str,
    how: Callable[[Container], float],
) -> float:
    """End a server; return the seconds until its route was cold."""
    with contextlib.closing(engine.client()) as docker:
        container = docker.containers.get(slug)
        ending = asyncio.create_task(asyncio.to_thread(how, container))
        await until_cold(client, slug)
        cold = time.time()
        return cold - await ending


async def until_cold(client: aiohttp.ClientSession, slug: str) -> None:
    """Ask the management API until the route of a notebook is not hot."""
    async with asyncio.timeout(_PATIENCE):
        while await _is_hot(client, slug):
            pass


async def _is_hot(client: aiohttp.ClientSession, slug: str) -> bool:
    async with client.get("/gateway/api/routes/one", params={"key": f"/nb/{slug}"}) as answer:
        return bool((await answer.json())["hot"])


def _kill(container: Container) -> float:
    container.kill()
    container.wait()
    container.reload()
    # Docker writes nanoseconds, of which datetime reads six digits.
    ended = str(container.attrs["State"]["FinishedAt"])
    return datetime.fromisoformat(f"{ended[:26]}+00:00").timestamp()


def _remove(container: Container) -> float:
    began = time.time()
    container.remove(force=True)
    return began
