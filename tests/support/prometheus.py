"""Prometheus as tests use it: the program of the package, and what its API says of a gateway."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from tests.support.engine import ROOT
from tests.support.places import free_port
from tests.support.waiting import PATIENCE

CONFIGURATION = ROOT / "docs/prometheus.yml"


def configuration_for(target: str) -> str:
    """Return the shipped configuration with another target, read more often than every 15 s."""
    loaded = yaml.safe_load(CONFIGURATION.read_text())
    loaded["global"] = {"scrape_interval": "2s", "scrape_timeout": "2s"}
    (job,) = loaded["scrape_configs"]
    job["static_configs"] = [{"targets": [target]}]
    return yaml.safe_dump(loaded)


@contextlib.asynccontextmanager
async def running_prometheus(folder: Path, target: str) -> AsyncIterator[str]:
    """Run Prometheus with the shipped configuration and another target; yield its origin."""
    (folder / "prometheus.yml").write_text(configuration_for(target))
    address = f"127.0.0.1:{free_port()}"
    with (folder / "prometheus.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            "prometheus",
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address={address}",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        yield f"http://{address}"
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        async with asyncio.timeout(PATIENCE):
            await process.wait()


async def until_up(origin: str) -> dict[str, Any]:
    """Wait until Prometheus says that its only target is up; return what it says of it.

    Raises:
        AssertionError: it did not say so in time; the text has what it said last.
    """
    said: Any = None
    try:
        async with asyncio.timeout(PATIENCE):
            while True:
                try:
                    said = (await _ask(origin, "targets"))["activeTargets"]
                except aiohttp.ClientError as error:
                    said = error
                else:
                    if [target["health"] for target in said] == ["up"]:
                        found: dict[str, Any] = said[0]
                        return found
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise AssertionError(f"no target that is up at {origin}: {said}") from None


async def values(origin: str, query: str) -> dict[str, float]:
    """Return what an instant query finds once it finds something; each has at most one label.

    A target is said to be up a moment before what it told can be found.

    Args:
        origin: of Prometheus.
        query: of PromQL, e.g. `sum by (state) (nbgate_notebooks)`.

    Returns:
        The values by the label's value, "" where there is none.
    """
    async with asyncio.timeout(PATIENCE):
        while True:
            found = (await _ask(origin, "query", query=query))["result"]
            if found:
                return {"".join(one["metric"].values()): float(one["value"][1]) for one in found}
            await asyncio.sleep(0.1)


async def _ask(origin: str, what: str, **parameters: str) -> dict[str, Any]:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{origin}/api/v1/{what}", params=parameters) as answer,
    ):
        answer.raise_for_status()  # 503 until it is ready
        data: dict[str, Any] = (await answer.json())["data"]
        return data
