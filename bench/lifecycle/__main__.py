"""Measure the start of a class; see the package's docstring."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from bench.coldstart import remove_network
from bench.datapath import installed
from bench.datapath.cores import tree
from bench.datapath.machine import facts
from bench.lifecycle.arrangement import all_on, pin, proxies_of
from bench.lifecycle.asker import Asker
from bench.lifecycle.back import measure_back
from bench.lifecycle.noticed import measure_noticed
from bench.lifecycle.report import Measured, are_good, document, table
from tests.support.engine import EngineHandle, EngineMissing, opened, say
from tests.support.gateway import GatewayProcess, running, signed_in
from tests.support.students import (
    PROJECT,
    began,
    links_for,
    make_quick_image,
    remove_students,
    teach,
)

_RESULTS = Path(__file__).resolve().parents[1] / "LIFECYCLE.md"
_TOLD = ("date", "processor", "memory", "system", "Python", "nbgate")
_ENDED = 20
_GATEWAY_CORE, _OTHER_CORE = 0, 1


async def measure(
    gateway: GatewayProcess, engine: EngineHandle, args: argparse.Namespace, *, apart: bool
) -> Measured:
    """Let a hot notebook be asked while nothing happens, then while a class starts.

    Args:
        gateway: to be asked, without notebooks.
        engine: that it starts them on.
        args: the command line.
        apart: the gateway, the hot notebook and what asks it have a core of their own; else they
            share both with the engine, the class and the rest of the machine.
    """
    links = await links_for(gateway, args.students + 1)
    with all_on({_OTHER_CORE}) if apart else contextlib.nullcontext():
        slug = f"{PROJECT}-x-s{args.students}"
        asker = await _asker(gateway, engine, links.pop(), slug, apart=apart)
        with contextlib.closing(asker):
            asker.taken()
            await asyncio.sleep(args.quiet)
            quiet = asker.taken()
            start = time.perf_counter()
            lesson = await teach(gateway, links)
            seconds = time.perf_counter() - start
            busy = asker.taken()
    in_order = began(gateway)[1:] == lesson.asked
    complete = sorted(lesson.served) == sorted(lesson.asked)
    return Measured(
        apart, args.students, quiet, busy, seconds, in_order=in_order, complete=complete
    )


async def _asker(
    gateway: GatewayProcess, engine: EngineHandle, link: str, slug: str, *, apart: bool
) -> Asker:
    """Have one more notebook started; return what asks it."""
    async with signed_in(link) as owner:
        status = 0
        while status != 200:  # held up to a bound, then told to come again
            async with owner.get(f"{gateway.url}/nb/{slug}/api/status") as answer:
                status = answer.status
        cookies = "; ".join(f"{one.key}={one.value}" for one in owner.cookie_jar)
    with contextlib.closing(engine.client()) as client:
        facts = client.api.inspect_container(slug)
    port = int(facts["NetworkSettings"]["Ports"]["8888/tcp"][0]["HostPort"])
    secret = next(one for one in facts["Config"]["Env"] if one.startswith("NBGATE_HOP_SECRET="))
    request = f"GET /nb/{slug}/api/status HTTP/1.1\r\nHost: {urlsplit(gateway.url).netloc}\r\n"
    asker = Asker(
        (
            (urlsplit(gateway.url).port or 0, f"{request}Cookie: {cookies}\r\n\r\n"),
            (port, f"{request}Authorization: token {secret.partition('=')[2]}\r\n\r\n"),
        )
    )
    if apart:
        assert gateway.process is not None
        notebook = [*(one.pid for one in tree(facts["State"]["Pid"])), *proxies_of(port)]
        for pid in (*notebook, asker.pid, *(one.pid for one in tree(gateway.process.pid))):
            pin(pid, {_GATEWAY_CORE})
    return asker


@contextlib.contextmanager
def gateway_for(engine: EngineHandle, args: argparse.Namespace) -> Iterator[GatewayProcess]:
    """Run a gateway on the engine; leave nothing there."""
    settings = {
        "spawner": "docker",
        "docker_host": engine.url,
        "image": make_quick_image(engine),
        "memory": "64M",
        "cpus": "1",  # an engine with one core grants no more
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
        finally:
            remove_students(engine)
            if (state / "identity.json").exists():
                remove_network(engine, state)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.lifecycle", description=__doc__)
    parser.add_argument("--students", type=int, default=200, help="who start at once")
    parser.add_argument("--rounds", type=int, default=3, help="classes on a core of its own")
    parser.add_argument("--quiet", type=float, default=15.0, help="seconds of the quiet part")
    parser.add_argument("--workers", type=int, default=2, help="the gateway's --workers")
    parser.add_argument("--starts-at-once", type=int, default=0, help="0: the gateway's default")
    parser.add_argument("--write-results", action="store_true", help="write bench/LIFECYCLE.md")
    return parser.parse_args()


def main() -> int:
    """Run the benchmark; the exit status tells whether the goals were met."""
    args = _arguments()
    GatewayProcess.python = str(installed.python())
    os.environ.update(installed.environment())
    try:
        with opened() as engine:
            apart = []
            for number in range(1, args.rounds + 1):
                with gateway_for(engine, args) as gateway:
                    say(f"{args.students} students, the gateway on a core of its own, {number}.")
                    apart.append(asyncio.run(measure(gateway, engine, args, apart=True)))
            with gateway_for(engine, args) as gateway:
                say(f"{args.students} students, all on the same cores")
                measured = [apart, [asyncio.run(measure(gateway, engine, args, apart=False))]]
                say("servers that are ended by hand")
                ended = min(_ENDED, args.students // 2)
                noticed = asyncio.run(measure_noticed(gateway, engine, ended))
                say("servers that are paused or gone, asked for")
                last = range(args.students - ended, args.students)
                back = asyncio.run(measure_back(gateway, engine, last))
    except EngineMissing as error:
        print(error, file=sys.stderr)
        return 1
    print(table(measured, noticed, back))
    if args.write_results:
        machine = facts(1, args.quiet, "shared")
        told = {name: machine[name] for name in _TOLD if name in machine}
        told["workers"] = str(args.workers)
        _RESULTS.write_text(document(measured, noticed, back, told), encoding="utf-8")
    return 0 if all(are_good(rounds) for rounds in measured) else 1


if __name__ == "__main__":
    sys.exit(main())
