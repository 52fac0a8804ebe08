"""The contenders: programs with configurable-http-proxy's command line, started on one core."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.datapath import installed
from bench.datapath.peers import chp_program
from bench.datapath.processes import ProgramFailed, find_program, free_port, program, tail
from bench.routes.api import Api

OURS, KEEPING, CHP = "nbgate-proxy", "nbgate-proxy --persist-routes", "chp"
_TOKEN = "of-this-run"
_UP_SECONDS = 180.0
_LOOK_SECONDS = 0.0005
_ANSWER_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Contender:
    """A program under test.

    Attributes:
        name: what tables call it.
        command: the program, without flags.
        environment: variables that it needs.
        keeps: whether it writes its routes to a file.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    keeps: bool = False


@dataclass(frozen=True, slots=True)
class Running:
    """A contender that runs.

    Attributes:
        name: the contender's.
        pid: of its process.
        port, api, metrics: where it listens on 127.0.0.1; `metrics` is 0 for nowhere.
        seconds: from its start until both ports answered.
        route_file: where it keeps its routes; None for nowhere.
    """

    name: str
    pid: int
    port: int
    api: int
    metrics: int
    seconds: float
    route_file: Path | None = None

    def connected(self) -> contextlib.closing[Api]:
        """Return a new connection to its API, for a `with`."""
        return contextlib.closing(Api(self.api, _TOKEN))


def contenders() -> list[Contender]:
    """Return who takes part; --persist-routes where the installed nbgate-proxy has it."""
    ours = [str(installed.python().with_name("nbgate-proxy"))]
    told = subprocess.run([*ours, "--help"], capture_output=True, text=True, check=True).stdout
    node = [find_program("node", "nodejs"), str(chp_program())]
    return [
        Contender(OURS, ours, installed.environment()),
        *([Contender(KEEPING, ours, installed.environment(), keeps=True)] * (KEPT in told)),
        Contender(CHP, node, {"NODE_ENV": "production"}),
    ]


KEPT = "--persist-routes"


@contextlib.contextmanager
def started(
    contender: Contender, folder: Path, cores: Collection[int], *, metrics: bool = False
) -> Iterator[Running]:
    """Run a contender on `cores`; it answers when entered, and has ended when left.

    Raises:
        ProgramFailed: it did not come up.
    """
    port, api, shown = free_port(), free_port(), free_port() if metrics else 0
    home = Path(tempfile.mkdtemp(dir=folder))
    flags = ["--ip", "127.0.0.1", "--port", str(port), "--log-level", "warn"]
    flags += ["--api-ip", "127.0.0.1", "--api-port", str(api)]
    flags += ["--metrics-ip", "127.0.0.1", "--metrics-port", str(shown)] if metrics else []
    file = home / "routes.gdbm" if contender.keeps else None
    flags += [] if file is None else [KEPT, "--route-file", str(file)]
    variables = {**contender.environment, "CONFIGPROXY_AUTH_TOKEN": _TOKEN}
    log = home / "log"
    began = time.perf_counter()
    # A log that nobody reads would hold the program up for good when its pipe is full.
    with program(
        [*contender.command, *flags], cores, log, environment=variables, spoken=False
    ) as process:
        _await_answer(process, port, "/_chp_healthz", log)
        _await_answer(process, api, "/api/routes", log)
        seconds = time.perf_counter() - began
        yield Running(contender.name, process.pid, port, api, shown, seconds, file)


def _await_answer(process: subprocess.Popen[str], port: int, path: str, log: Path) -> None:
    deadline = time.monotonic() + _UP_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                _expect_well(probe, port, path)
                return
        time.sleep(_LOOK_SECONDS)
    raise ProgramFailed(f"{process.args!r} did not come up:\n{tail(log)}")


def _expect_well(probe: socket.socket, port: int, path: str) -> None:
    probe.settimeout(_ANSWER_SECONDS)
    probe.sendall(
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n"
        f"Authorization: token {_TOKEN}\r\n\r\n".encode()
    )
    said = probe.recv(1 << 12)
    if b" 200 " not in said[:20]:
        raise ProgramFailed(f"{path} is answered with {said[:200]!r}")
