"""A real gateway for measurements: `python -m bench.gateway_under_test --web P --sink P serve …`.

What follows the ports is an `nbgate` command line, and it is run by nbgate's own command, with
`--workers` too: settings, database, sessions, Gate, metrics, activity and all listeners are the
real ones. Added is what happens once it serves: two notebooks are made hot although no engine made
them, by telling the life cycle of servers at the benchmark's upstream as it is told after a start;
a session of their owner is made as a login link makes it; two plain routes are set. Then one line
of JSON is printed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from typing import Any

from gateway import app
from gateway.app.control import Control
from gateway.cli import fleet
from gateway.cli.main import main as nbgate
from gateway.launch.cookies import cookie_name
from gateway.notebooks.model import Notebook
from gateway.notebooks.projects import utc_now
from gateway.settings import Settings
from gateway.spawners.base import Server, ServerState
from gateway.workers.supervisor import Plan
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


def prepare(ports: Ports) -> None:
    """Have the gateway of this process, or the control that its supervisor starts, be heated."""
    really_running, real_plan = app.running, fleet._plan

    @contextlib.asynccontextmanager
    async def running(settings: Settings, *args: Any, **options: Any) -> AsyncIterator[Control]:
        async with really_running(settings, *args, **options) as control:
            facts = await _heat(control, settings, ports)
            sys.stdout.write(json.dumps(facts) + "\n")
            sys.stdout.flush()
            yield control

    def plan(settings: Settings) -> Plan:
        made = real_plan(settings)
        return replace(made, control_command=_heated(made.control_command, ports))

    app.running = running
    fleet._plan = plan


def _heated(
    command: Callable[[int, bool], list[str]], ports: Ports
) -> Callable[[int, bool], list[str]]:
    """Return the command of a control that this program runs."""

    def control(lifeline: int, again: bool) -> list[str]:
        words = command(lifeline, again)
        ours = [sys.executable, "-m", "bench.gateway_under_test"]
        ours += ["--web", str(ports.web), "--sink", str(ports.sink)]
        return [*ours, *words[words.index("control") :]]

    return control


async def _heat(control: Control, settings: Settings, ports: Ports) -> dict[str, str]:
    """Make the routes and the session; return what the load needs to know."""
    await control.catalogue.add_project(_PROJECT)
    for slug, port in (("bench", ports.web), ("echo", ports.sink)):
        await _make_hot(control, slug, port)
        await control.routes.set(f"/plain/{slug}", f"127.0.0.1:{port}")
    token = await control.sessions.create(_OWNER, settings.listen)
    return {
        "cookie": f"{cookie_name(https=False)}={token}",
        "management_token": settings.token_file.read_text().strip(),
    }


async def _make_hot(control: Control, slug: str, port: int) -> None:
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


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.gateway_under_test", description=__doc__)
    parser.add_argument("--web", type=int, required=True, help="port of the answers and files")
    parser.add_argument("--sink", type=int, required=True, help="port of the uploads and sockets")
    parser.add_argument("words", nargs=argparse.REMAINDER, help="serve, and its flags")
    args = parser.parse_args()
    prepare(Ports(args.web, args.sink))
    return nbgate(args.words)


if __name__ == "__main__":
    sys.exit(main())
