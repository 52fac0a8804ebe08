"""A real gateway for measurements: `python -m bench.gateway_under_test --web P --sink P serve …`.

What follows the ports is `nbgate serve`'s command line, and it is run as that command does, with
`--workers` too: settings, database, sessions, Gate, metrics, activity and all listeners are the
real ones. Added is what happens once it serves: two notebooks are made hot although no engine made
them, by telling the life cycle of servers at the benchmark's upstream as it is told after a start,
and the spawner vouches for them, since the reconciler asks;
a session of their owner is made as a login link makes it; two plain routes are set. Then one line
of JSON is printed.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from unittest import mock

from gateway import app
from gateway.app import fleet as control_of_fleet
from gateway.app.control import Control
from gateway.cli import fleet
from gateway.cli.parser import build_parser
from gateway.cli.serve import settings_of
from gateway.launch.cookies import cookie_name
from gateway.notebooks.model import Notebook
from gateway.notebooks.projects import utc_now
from gateway.settings import Settings, load_settings
from gateway.spawners.base import Server, ServerState, Spawner
from routes.keys import Target

_OWNER = "ada"
_PROJECT = "benchmark"


@dataclass(frozen=True, slots=True)
class Ports:
    """The benchmark's upstream.

    Attributes:
        web: port of the answers and files.
        sink: port of the uploads and WebSockets.
    """

    web: int
    sink: int


async def heat(settings: Settings, control: Control, ports: Ports) -> None:
    """Make the routes and the session; print what the load needs to know."""
    await control.catalogue.add_project(_PROJECT)
    servers: dict[str, Server] = {}
    _vouch(control.spawner, servers)
    for slug, port in (("bench", ports.web), ("echo", ports.sink)):
        servers[slug] = await _make_hot(control, slug, port)
        await control.routes.set(f"/plain/{slug}", f"127.0.0.1:{port}")
    token = await control.sessions.create(_OWNER, settings.listen)
    facts = {
        "cookie": f"{cookie_name(https=False)}={token}",
        "management_token": settings.token_file.read_text().strip(),
    }
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


def _vouch(spawner: Spawner, servers: dict[str, Server]) -> None:
    """Let `spawner` say that it runs `servers` too, by slug."""
    really_list, really_inspect = spawner.list, spawner.inspect

    async def listed() -> Sequence[Server]:
        return [*await really_list(), *servers.values()]

    async def inspected(slug: str) -> Server | None:
        return servers.get(slug) or await really_inspect(slug)

    mock.patch.multiple(spawner, list=listed, inspect=inspected).start()


async def _make_hot(control: Control, slug: str, port: int) -> Server:
    """Make a notebook, and tell the life cycle that its server answers at `port`."""
    await control.catalogue.add_notebook(
        Notebook(slug=slug, name=slug, project=_PROJECT, owner=_OWNER, created=utc_now())
    )
    server = Server(
        id=f"bench-{slug}",
        slug=slug,
        generation=await control.catalogue.next_generation(slug),
        state=ServerState.RUNNING,
        target=Target("127.0.0.1", port),
        port=port,
    )
    await control.lifecycle.enable_proxying(slug, server)
    return server


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.gateway_under_test", description=__doc__)
    parser.add_argument("--web", type=int, required=True, help="port of the answers and files")
    parser.add_argument("--sink", type=int, required=True, help="port of the uploads and sockets")
    parser.add_argument("words", nargs=argparse.REMAINDER, help="serve, and its flags")
    args = parser.parse_args()
    return run(Ports(args.web, args.sink), args.words)


def run(ports: Ports, words: list[str]) -> int:
    """Run `serve`, or the `control` of its supervisor, with what is prepared."""

    async def prepare(settings: Settings, control: Control) -> None:
        await heat(settings, control, ports)

    if words[0] == "control":
        place = control_of_fleet.Place(**json.loads(words[1]))
        return control_of_fleet.run(load_settings(), place, prepare)
    settings = settings_of(build_parser(words).parse_args(words))
    if settings.workers <= 1:
        return app.run(settings, prepare)
    sockets = ("--web", str(ports.web), "--sink", str(ports.sink))
    return fleet.run(settings, ("bench.gateway_under_test", *sockets))


if __name__ == "__main__":
    sys.exit(main())
