"""How soon a notebook is back: one whose server is paused, and one that has to be made anew."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import aiohttp
from docker.models.containers import Container

from bench.lifecycle.noticed import until_cold
from tests.support.engine import EngineHandle
from tests.support.gateway import GatewayProcess, signed_in
from tests.support.students import PROJECT


@dataclass(frozen=True, slots=True)
class Back:
    """Seconds from a request to its answer.

    Attributes:
        paused: by a server that the engine had frozen.
        gone: by a server whose container had been removed.
    """

    paused: Sequence[float]
    gone: Sequence[float]


async def measure_back(gateway: GatewayProcess, engine: EngineHandle, numbers: range) -> Back:
    """Pause the hot notebooks of these students and ask for them; then remove and ask again."""
    async with gateway.api() as api:
        paused = [await _ask(gateway, api, engine, one, Container.pause) for one in numbers]
        gone = [await _ask(gateway, api, engine, one, _remove) for one in numbers]
    return Back(paused, gone)


def _remove(container: Container) -> None:
    container.remove(force=True)


async def _ask(
    gateway: GatewayProcess,
    api: aiohttp.ClientSession,
    engine: EngineHandle,
    number: int,
    before: Callable[[Container], None],
) -> float:
    slug = f"{PROJECT}-x-s{number}"
    wanted = {"project": PROJECT, "person": f"s{number}"}
    async with api.post("/gateway/api/links", json=wanted) as answer:
        link = (await answer.json())["url"]
    async with signed_in(link) as client:
        with contextlib.closing(engine.client()) as docker:
            await asyncio.to_thread(before, docker.containers.get(slug))
        await until_cold(api, slug)
        start = time.perf_counter()
        async with client.get(f"{gateway.url}/nb/{slug}/api/status") as answer:
            assert answer.status == 200, await answer.text()
        return time.perf_counter() - start
