"""A real gateway for measurements: `python -m bench.gateway_under_test --state-dir … --web PORT …`.

It is what `nbgate serve` runs (settings, database, sessions, Gate, metrics, activity, all three
listeners), with two notebooks that are hot although no engine made them: the life cycle is told of
servers at the benchmark's upstream, as it is told after a start. A session of their owner is made
as a login link makes it. Prints one line of JSON when ready, and serves until SIGTERM.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from pathlib import Path

from bench.datapath.loops import new_loop
from gateway import logs
from gateway.app import running
from gateway.app.control import Control
from gateway.launch.cookies import cookie_name
from gateway.notebooks.model import Notebook
from gateway.notebooks.projects import utc_now
from gateway.settings import Settings, load_settings
from gateway.spawners.base import Server, ServerState
from routes.keys import Target

_OWNER = "ada"
_PROJECT = "benchmark"


async def serve(settings: Settings, web: int, sink: int) -> None:
    """Run the gateway until SIGTERM or SIGINT."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    async with running(settings) as control:
        await control.catalogue.add_project(_PROJECT)
        await _heat(control, "bench", web)
        await _heat(control, "echo", sink)
        await control.routes.set("/plain/bench", f"127.0.0.1:{web}")
        await control.routes.set("/plain/echo", f"127.0.0.1:{sink}")
        token = await control.sessions.create(_OWNER, settings.listen)
        facts = {
            "cookie": f"{cookie_name(https=False)}={token}",
            "routes": len(control.routes),
            "management_token": settings.token_file.read_text().strip(),
        }
        sys.stdout.write(json.dumps(facts) + "\n")
        sys.stdout.flush()
        await stopping.wait()


async def _heat(control: Control, slug: str, port: int) -> None:
    """Make a notebook, and tell the life cycle that its server answers at `port`."""
    await control.catalogue.add_notebook(
        Notebook(slug=slug, name=slug, project=_PROJECT, owner=_OWNER, created=utc_now())
    )
    generation = await control.catalogue.next_generation(slug)
    server = Server(
        id=f"bench-{slug}",
        slug=slug,
        generation=generation,
        state=ServerState.RUNNING,
        target=Target("127.0.0.1", port),
        port=port,
    )
    await control.lifecycle.enable_proxying(slug, server)


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(prog="python -m bench.gateway_under_test", description=__doc__)
    parser.add_argument("--state-dir", type=Path, required=True, help="a folder of its own")
    parser.add_argument("--listen", required=True, help="host:port for the load")
    parser.add_argument("--management-listen", required=True, help="host:port")
    parser.add_argument("--web", type=int, required=True, help="port of the answers and files")
    parser.add_argument("--sink", type=int, required=True, help="port of the uploads and sockets")
    parser.add_argument("--loop", choices=("auto", "uvloop", "asyncio"), default="auto")
    parser.add_argument(
        "--setting", action="append", default=[], metavar="NAME=VALUE", help="any other setting"
    )
    args = parser.parse_args()
    settings = load_settings(
        state_dir=args.state_dir,
        listen=args.listen,
        management_listen=args.management_listen,
        **dict(pair.split("=", 1) for pair in args.setting),
    )
    logs.configure(settings.log_level, settings.log_format)
    with asyncio.Runner(loop_factory=lambda: new_loop(args.loop)) as runner:
        runner.run(serve(settings, args.web, args.sink))


if __name__ == "__main__":
    main()
