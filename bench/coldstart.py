"""Cold start, stock image against ours: `python -m bench.coldstart [--runs N]`.

Seconds from asking for a container to the first byte of the 200 of the notebook document, by phase:
create (the engine makes it), start (the engine runs it), ready (Jupyter answers). The images take
turns, so that a busy machine hurts both alike; medians are compared. What is measured through
the gateway builds on `Contender` and `table`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import secrets
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from gateway.spawners.base import ServerSpec
from gateway.spawners.docker_spec import Image, Place, container_config, image_from
from gateway.spawners.engine import Engine
from gateway.spawners.network import NotebookNetwork, Subnet
from tests.support.engine import (
    EngineHandle,
    EngineMissing,
    make_notebook_image,
    make_stock_image,
    opened,
    say,
)

DOCUMENT = "notebooks/answer.ipynb"
_TARGET = 0.5
_POLL = 0.01
_READY_DEADLINE = 120.0
_USER = 1000
_VERSIONS = "import jupyterlab, notebook; print(jupyterlab.__version__, notebook.__version__)"

NOTEBOOK: dict[str, Any] = {
    "cells": [
        {
            "cell_type": "code",
            "execution_count": None,
            "id": "answer",
            "metadata": {},
            "outputs": [],
            "source": ["6 * 7"],
        }
    ],
    "metadata": {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}
    },
    "nbformat": 4,
    "nbformat_minor": 5,
}


@dataclass(frozen=True, slots=True)
class Phases:
    """One cold start, in seconds."""

    create: float
    start: float
    ready: float

    @property
    def total(self) -> float:
        """Seconds from asking for the container to the first byte."""
        return self.create + self.start + self.ready


@dataclass(slots=True)
class Contender:
    """An image under test and its results.

    Attributes:
        label: what the table calls it.
        image: its tag.
        runs: one per cold start.
    """

    label: str
    image: str
    runs: list[Phases] = field(default_factory=list)

    def median(self, phase: str) -> float:
        """Return the median seconds of a phase, or of `total`."""
        return float(statistics.median(getattr(run, phase) for run in self.runs))


@dataclass(frozen=True, slots=True)
class Bench:
    """An engine, a network and a space to start containers with, as the gateway does."""

    engine: Engine
    network: NotebookNetwork
    installation: str
    space: Path

    async def cold_start(self, contender: Contender) -> Phases:
        """Make, start and await one container; it is removed again."""
        image = image_from(await self.engine.call(lambda api: api.inspect_image(contender.image)))
        slug = f"bench-{secrets.token_hex(4)}"
        config = await self._config(slug, contender.image, image)
        before = time.perf_counter()
        made = await self.engine.call(lambda api: api.create_container_from_config(config, slug))
        created = time.perf_counter()
        try:
            await self.engine.call(lambda api: api.start(made["Id"]))
            started = time.perf_counter()
            data = await self.engine.call(lambda api: api.inspect_container(made["Id"]))
            port = data["NetworkSettings"]["Ports"]["8888/tcp"][0]["HostPort"]
            await first_byte(f"http://127.0.0.1:{port}/nb/{slug}/{DOCUMENT}", secret_of(slug))
            ready = time.perf_counter()
        finally:
            await self.engine.call(
                lambda api: api.remove_container(made["Id"], force=True, v=True), slow=True
            )
        return Phases(created - before, started - created, ready - started)

    async def _config(self, slug: str, tag: str, image: Image) -> dict[str, Any]:
        place = Place(
            installation=self.installation,
            user=_USER,
            group=_USER,
            space=self.space,
            network=self.network.name,
            address=await self.network.take(),
            publish=True,
        )
        spec = ServerSpec(
            slug=slug,
            generation=1,
            image=tag,
            base_url=f"/nb/{slug}/",
            token=secret_of(slug),
            user_name="Bench",
            space=self.space,
            memory=2 << 30,
            cpus=2.0,
        )
        return container_config(spec, image, place)


def secret_of(slug: str) -> str:
    return f"secret-of-{slug}"


async def first_byte(url: str, secret: str) -> None:
    """Wait until `url` answers 200 and the first byte of its body is there."""
    headers = {"Authorization": f"token {secret}"}
    end = time.perf_counter() + _READY_DEADLINE
    async with aiohttp.ClientSession(headers=headers) as session:
        while time.perf_counter() < end:
            try:
                async with session.get(url, allow_redirects=False) as answer:
                    if answer.status == 200 and await answer.content.readany():
                        return
            except aiohttp.ClientConnectionError:
                pass
            await asyncio.sleep(_POLL)
    raise TimeoutError(f"{url} did not answer 200 within {_READY_DEADLINE:g} s")


def write_notebook(space: Path) -> None:
    """Put the document into a space that containers may write."""
    (space / "answer.ipynb").write_text(json.dumps(NOTEBOOK))
    for path in (space, space / "answer.ipynb"):
        os.chown(path, _USER, _USER)


@contextlib.asynccontextmanager
async def opened_bench(handle: EngineHandle, subnet: str = "10.229.0.0/24") -> AsyncIterator[Bench]:
    """Give a bench; its network is removed at the end."""
    installation = secrets.token_hex(4)
    engine = Engine(handle.url)
    network = NotebookNetwork(engine, installation, Subnet(subnet))
    with tempfile.TemporaryDirectory() as folder:
        write_notebook(Path(folder))
        try:
            await network.ensure()
            yield Bench(engine, network, installation, Path(folder))
        finally:
            await engine.call(lambda api: api.remove_network(network.name))
            await engine.close()


async def versions_in(engine: Engine, image: str) -> str:
    """Return the versions of Lab and Notebook in an image."""

    def ask(api: Any) -> str:
        made = api.create_container(image, ["-c", _VERSIONS], entrypoint="/opt/jupyter/bin/python")
        try:
            api.start(made["Id"])
            api.wait(made["Id"])
            return str(api.logs(made["Id"]).decode())
        finally:
            api.remove_container(made["Id"], force=True)

    lab, _, notebook = (await engine.call(ask, slow=True)).strip().partition(" ")
    return f"jupyterlab {lab}, notebook {notebook}"


async def race(bench: Bench, contenders: Sequence[Contender], runs: int) -> None:
    """Let the contenders take turns; a first turn of each is not counted."""
    for turn in range(runs + 1):
        for contender in contenders:
            phases = await bench.cold_start(contender)
            say(f"{contender.label} run {turn}/{runs}: {phases.total:.2f} s")
            if turn:
                contender.runs.append(phases)


def table(contenders: Sequence[Contender]) -> str:
    """Return the medians side by side; the first contender is what the others are compared to."""
    phases = ("create", "start", "ready", "total")
    lines = [f"{'median seconds':16}" + "".join(f"{one.label:>12}" for one in contenders)]
    for phase in phases:
        values = "".join(f"{one.median(phase):12.3f}" for one in contenders)
        lines.append(f"{phase:16}{values}")
    first = contenders[0].median("total")
    lines.append(
        f"{'ratio':16}" + "".join(f"{one.median('total') / first:12.2f}" for one in contenders)
    )
    return "\n".join(lines)


async def measure(handle: EngineHandle, images: Sequence[tuple[str, str]], runs: int) -> float:
    """Measure the images, print versions and table; return the last one's ratio to the first."""
    contenders = [Contender(label, image) for label, image in images]
    async with opened_bench(handle) as bench:
        for contender in contenders:
            print(f"{contender.label}: {await versions_in(bench.engine, contender.image)}")
        await race(bench, contenders, runs)
    print(table(contenders))
    return contenders[-1].median("total") / contenders[0].median("total")


def main() -> int:
    """Run the benchmark; the exit status tells whether the target was met."""
    parser = argparse.ArgumentParser(prog="python -m bench.coldstart", description=__doc__)
    parser.add_argument("--runs", type=int, default=7, help="cold starts per image (default 7)")
    runs = parser.parse_args().runs
    try:
        with opened() as handle:
            images = [("stock", make_stock_image(handle)), ("tuned", make_notebook_image(handle))]
            ratio = asyncio.run(measure(handle, images, runs))
    except EngineMissing as error:
        print(error, file=sys.stderr)
        return 1
    print(f"tuned is {ratio:.2f} of stock; the target is at most {_TARGET}")
    return 0 if ratio <= _TARGET else 1


if __name__ == "__main__":
    sys.exit(main())
