"""Measure the start of a class; see the package's docstring."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from bench.coldstart import remove_network
from bench.datapath.machine import facts
from bench.lifecycle.noticed import measure_noticed
from bench.lifecycle.report import Measured, document, table
from tests.support.engine import EngineHandle, EngineMissing, opened, say
from tests.support.gateway import GatewayProcess, running, signed_in
from tests.support.students import (
    PROJECT,
    asking,
    began,
    links_for,
    make_quick_image,
    remove_students,
    teach,
)

_RESULTS = Path(__file__).resolve().parents[1] / "LIFECYCLE.md"
_TOLD = ("date", "processor", "memory", "system", "Python", "nbgate")
_PAUSE = 0.005
_ENDED = 20
_WARM_UP = 200


@dataclass(slots=True)
class Stopwatch:
    """Asks a hot notebook, and keeps the seconds that each answer took."""

    client: aiohttp.ClientSession
    url: str
    seconds: list[float]

    async def ask(self) -> None:
        """Ask once."""
        start = time.perf_counter()
        async with self.client.get(self.url) as answer:
            assert answer.status == 200, answer.status
            await answer.read()
        self.seconds.append(time.perf_counter() - start)

    def taken(self) -> list[float]:
        """Return what was measured since it was last asked for."""
        taken, self.seconds = self.seconds, []
        return taken


async def measure(gateway: GatewayProcess, students: int, quiet_seconds: float) -> Measured:
    """Let the hot notebook be asked while nothing happens, then while a class starts."""
    links = await links_for(gateway, students + 1)
    async with signed_in(links.pop()) as early:
        url = f"{gateway.url}/nb/{PROJECT}-x-s{students}/api/status"
        watch = Stopwatch(early, url, [])
        for _ in range(_WARM_UP):
            await watch.ask()
        watch.taken()
        async with asking(watch.ask, _PAUSE):
            await asyncio.sleep(quiet_seconds)
            quiet = watch.taken()
            start = time.perf_counter()
            lesson = await teach(gateway, links)
            seconds = time.perf_counter() - start
            busy = watch.taken()
    in_order = began(gateway)[1:] == lesson.asked
    complete = sorted(lesson.served) == sorted(lesson.asked)
    return Measured(students, quiet, busy, seconds, in_order=in_order, complete=complete)


@contextlib.contextmanager
def gateway_for(engine: EngineHandle, args: argparse.Namespace) -> Iterator[GatewayProcess]:
    """Run a gateway on the engine; leave nothing there."""
    settings = {
        "spawner": "docker",
        "docker_host": engine.url,
        "image": make_quick_image(engine),
        "memory": "64M",
        "network_subnet": "10.214.204.0/22",
        "workers": str(args.workers),
    }
    if args.starts_at_once:
        settings["starts_at_once"] = str(args.starts_at_once)
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder) / "state"
        try:
            with running(state, **settings) as gateway:
                yield gateway
                remove_students(engine)
        finally:
            if (state / "identity.json").exists():
                remove_network(engine, state)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.lifecycle", description=__doc__)
    parser.add_argument("--students", type=int, default=200, help="who start at once")
    parser.add_argument("--quiet", type=float, default=15.0, help="seconds of the quiet part")
    parser.add_argument("--workers", type=int, default=0, help="the gateway's --workers")
    parser.add_argument("--starts-at-once", type=int, default=0, help="0: the gateway's default")
    parser.add_argument("--write-results", action="store_true", help="write bench/LIFECYCLE.md")
    return parser.parse_args()


def main() -> int:
    """Run the benchmark; the exit status tells whether the goals were met."""
    args = _arguments()
    try:
        with opened() as engine, gateway_for(engine, args) as gateway:
            say(f"{args.students} students")
            measured = asyncio.run(measure(gateway, args.students, args.quiet))
            say("servers that are ended by hand")
            ended = min(_ENDED, args.students // 2)
            noticed = asyncio.run(measure_noticed(gateway, engine, ended))
    except EngineMissing as error:
        print(error, file=sys.stderr)
        return 1
    print(table(measured, noticed))
    if args.write_results:
        machine = facts(1, args.quiet, "shared")
        told = {name: machine[name] for name in _TOLD if name in machine}
        _RESULTS.write_text(document(measured, noticed, told), encoding="utf-8")
    return 0 if measured.good else 1


if __name__ == "__main__":
    sys.exit(main())
