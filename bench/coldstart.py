"""Cold start through the gateway, stock image against ours: `python -m bench.coldstart [--runs N]`.

Seconds from a request for the notebook document to the first byte of its 200, by a client that is
held while the notebook starts, so neither waiting pages nor redirects count. The phases are those
of the gateway's own metrics. The images take turns, so that a busy machine hurts both alike;
medians are compared.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import docker
from docker.models.networks import Network

from tests.support.engine import EngineHandle, EngineMissing, opened, say
from tests.support.gateway import ROOT, GatewayProcess, running, signed_in
from tests.support.images import make_notebook_image, make_stock_image

DOCUMENT = "lab/tree/first-steps.ipynb"
PHASES = ("queue", "space", "create", "start", "ready", "total")
_TARGET = 0.5
_SUBNET = "10.229.0.0/24"
_VERSIONS = "import jupyterlab, notebook; print(jupyterlab.__version__, notebook.__version__)"


@dataclass(slots=True)
class Contender:
    """An image under test and its results.

    Attributes:
        label: what the table calls it.
        image: its tag.
        runs: seconds by phase, one per cold start.
    """

    label: str
    image: str
    runs: list[dict[str, float]] = field(default_factory=list)

    @property
    def slug(self) -> str:
        """Its notebook."""
        return f"{self.label}-notebook"

    def median(self, phase: str) -> float:
        """Return the median seconds of a phase."""
        return statistics.median(run[phase] for run in self.runs)


async def cold_start(
    gateway: GatewayProcess, client: aiohttp.ClientSession, contender: Contender
) -> dict[str, float]:
    """Ask for the document of a stopped notebook; return seconds by phase; stop it again."""
    before = await phase_sums(gateway, client)
    began = time.perf_counter()
    async with client.get(f"{gateway.url}/nb/{contender.slug}/{DOCUMENT}") as answer:
        assert answer.status == 200, await answer.text()
        assert await answer.content.readany()
        total = time.perf_counter() - began
    after = await phase_sums(gateway, client)
    gateway.nbgate("notebook", "stop", contender.slug)
    return {name: after[name] - before.get(name, 0.0) for name in after} | {"total": total}


async def phase_sums(gateway: GatewayProcess, client: aiohttp.ClientSession) -> dict[str, float]:
    """Return the seconds of all starts so far, by phase."""
    async with client.get(f"{gateway.management_url}/gateway/metrics") as answer:
        lines = (await answer.text()).splitlines()
    head = 'nbgate_start_phase_seconds_sum{phase="'
    found = (line.removeprefix(head).split('"} ') for line in lines if line.startswith(head))
    return {name: float(seconds) for name, seconds in found}


@contextlib.contextmanager
def gateway_for(handle: EngineHandle, contenders: Sequence[Contender]) -> Iterator[GatewayProcess]:
    """Run a gateway with one notebook per image; leave nothing on the engine."""
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder) / "state"
        try:
            with running(
                state, spawner="docker", docker_host=handle.url, network_subnet=_SUBNET
            ) as gateway:
                source = str(ROOT / "examples" / "demo")
                gateway.nbgate("project", "add", "bench", "--source", source)
                for one in contenders:
                    words = ("--project", "bench", "--owner", "bench", "--image", one.image)
                    gateway.nbgate("notebook", "create", one.slug, *words)
                yield gateway
        finally:
            remove_network(handle, state)


def remove_network(handle: EngineHandle, state: Path) -> None:
    """Remove the network that the gateway with this state folder made."""
    installation = json.loads((state / "identity.json").read_text())["installation"]
    client = handle.client()
    found: Sequence[Network] = client.networks.list(names=[f"nbgate-{installation}"])
    for network in found:
        network.remove()
    client.close()


async def race(handle: EngineHandle, contenders: Sequence[Contender], runs: int) -> None:
    """Let the contenders take turns; a first turn of each is not counted."""
    with gateway_for(handle, contenders) as gateway:
        link = gateway.nbgate("notebook", "url", contenders[0].slug)
        async with signed_in(link) as client:
            for turn in range(runs + 1):
                for contender in contenders:
                    seconds = await cold_start(gateway, client, contender)
                    say(f"{contender.label} run {turn}/{runs}: {seconds['total']:.2f} s")
                    if turn:
                        contender.runs.append(seconds)


def table(contenders: Sequence[Contender]) -> str:
    """Return the medians side by side; the first contender is what the others are compared to."""
    lines = [f"{'median seconds':16}" + "".join(f"{one.label:>12}" for one in contenders)]
    for phase in PHASES:
        values = "".join(f"{one.median(phase):12.3f}" for one in contenders)
        lines.append(f"{phase:16}{values}")
    first = contenders[0].median("total")
    ratios = "".join(f"{one.median('total') / first:12.2f}" for one in contenders)
    return "\n".join([*lines, f"{'ratio':16}{ratios}"])


def versions_in(client: docker.DockerClient, image: str) -> str:
    """Return the versions of Lab and Notebook in an image."""
    said = client.containers.run(
        image, ["-c", _VERSIONS], entrypoint="/opt/jupyter/bin/python", remove=True
    )
    lab, _, notebook = said.decode().strip().partition(" ")
    return f"jupyterlab {lab}, notebook {notebook}"


def measure(handle: EngineHandle, runs: int) -> float:
    """Measure both images, print versions and table; return the ratio of ours to stock."""
    stock = Contender("stock", make_stock_image(handle))
    tuned = Contender("tuned", make_notebook_image(handle))
    with contextlib.closing(handle.client()) as client:
        for one in (stock, tuned):
            print(f"{one.label}: {versions_in(client, one.image)}")
    asyncio.run(race(handle, (stock, tuned), runs))
    print(table((stock, tuned)))
    return tuned.median("total") / stock.median("total")


def main() -> int:
    """Run the benchmark; the exit status tells whether the target was met."""
    parser = argparse.ArgumentParser(prog="python -m bench.coldstart", description=__doc__)
    parser.add_argument("--runs", type=int, default=7, help="cold starts per image (default 7)")
    runs = parser.parse_args().runs
    try:
        with opened() as handle:
            ratio = measure(handle, runs)
    except EngineMissing as error:
        print(error, file=sys.stderr)
        return 1
    print(f"tuned is {ratio:.2f} of stock; the target is at most {_TARGET}")
    return 0 if ratio <= _TARGET else 1


if __name__ == "__main__":
    sys.exit(main())
