"""Puts routes into a running nbgate by its API, many calls at once."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping

import aiohttp

_AT_ONCE = 128
_MODEST = 15


def publish(port: int, token: str, count: int, target: int) -> Mapping[str, float]:
    """Set `count` routes to `127.0.0.1:target`; return how many, and the seconds."""
    os.nice(_MODEST)  # what this program needs itself is not to be taken for the proxy's slowness
    return asyncio.run(_publish(port, token, count, target))


async def _publish(port: int, token: str, count: int, target: int) -> Mapping[str, float]:
    url = f"http://127.0.0.1:{port}/gateway/api/routes/one"
    numbers = iter(range(count))
    body = {"target": f"127.0.0.1:{target}"}

    async def work(client: aiohttp.ClientSession) -> None:
        for number in numbers:
            key = f"/published/{number:07}"
            async with client.put(url, params={"key": key}, json=body) as answer:
                if answer.status != 200:
                    raise ConnectionError(f"{answer.status}: {await answer.text()}")

    began = time.perf_counter()
    async with aiohttp.ClientSession(
        headers={"Authorization": f"Bearer {token}"},
        connector=aiohttp.TCPConnector(limit=_AT_ONCE),
    ) as client:
        await asyncio.gather(*(work(client) for _ in range(_AT_ONCE)))
    return {"routes": count, "seconds": time.perf_counter() - began}
