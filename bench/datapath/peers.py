"""The proxies under test: each a context manager that runs one and yields a `Running`."""

from __future__ import annotations

import contextlib
import json
import select
import shutil
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.datapath import configs, installed
from bench.datapath.cores import cpu_seconds, memory_bytes
from bench.datapath.installed import CACHE
from bench.datapath.processes import ProgramFailed, find_program, free_port, program, tail
from bench.datapath.requests import NOTEBOOK, NOTEBOOK_SINK, PLAIN, PLAIN_SINK
from bench.datapath.upstream import Upstream, worker_user
from routes.apachedb import ApacheDB

CHP_PACKAGE = "configurable-http-proxy@5"
_MODULES = "/usr/lib/apache2/modules"
_ROUTES = {NOTEBOOK: "web", NOTEBOOK_SINK: "sink", PLAIN: "web", PLAIN_SINK: "sink"}
_SINKS = (NOTEBOOK_SINK, PLAIN_SINK)
_READY_SECONDS = 300.0  # with a million routes
_LOOK_SECONDS = 0.02
_NO_SESSION = "nbgate-session=nobody-checks-this-here-0123456789abcdefgh"


@dataclass(frozen=True, slots=True)
class Running:
    """A proxy that runs.

    Attributes:
        web: port for answers and files.
        sink: port for uploads and WebSockets; the same, unless there is no proxy between.
        pids: roots of its process trees.
        cookie: the session that the full requests carry.
        checks_session: whether a full request without that cookie must be refused.
        configuration: what it was configured with, for the results; paths left out.
        management: port of nbgate's management API; 0 for other peers.
        token: of the management API.
        routes: how many of routefile.py's routes it has.
    """

    web: int
    sink: int
    pids: tuple[int, ...]
    cookie: str = _NO_SESSION
    checks_session: bool = False
    configuration: str = ""
    management: int = 0
    token: str = field(default="", repr=False)
    routes: int = 0

    def cpu(self) -> float:
        """Return the processor seconds used so far."""
        return sum(cpu_seconds(pid) for pid in self.pids)

    def memory(self) -> int:
        """Return the bytes of memory in use."""
        return sum(memory_bytes(pid) for pid in self.pids)


@dataclass(frozen=True, slots=True)
class Bench:
    """Where the benchmark runs.

    Attributes:
        folder: temporary; every user may enter it.
        upstream: running.
        proxy_core: the proxy's core.
        load_core: the core of upstream and load.
    """

    folder: Path
    upstream: Upstream
    proxy_core: int
    load_core: int

    def new_folder(self, name: str) -> Path:
        """Return a new folder that every user may enter."""
        made = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.folder))
        made.chmod(0o755)
        return made


Cores = Collection[int]
Start = Callable[[Bench, Cores], contextlib.AbstractContextManager[Running]]


@contextlib.contextmanager
def direct(bench: Bench, cores: Cores) -> Iterator[Running]:
    """No proxy: the upstream itself, which tells what the load generator can see at most."""
    del cores
    yield Running(bench.upstream.web, bench.upstream.sink, (), configuration="no proxy")


@contextlib.contextmanager
def nginx(bench: Bench, cores: Cores) -> Iterator[Running]:
    """Run nginx: one worker, upstream keep-alive, no access log."""
    place = _place(bench, "nginx")
    text = configs.nginx(place, _ROUTES)
    home = _written(place, "nginx.conf", text)
    command = [find_program("nginx", "nginx"), "-p", place.folder, "-c", "nginx.conf"]
    with _proxy(command, cores, home, place.port, text) as running:
        yield running


@contextlib.contextmanager
def haproxy(bench: Bench, cores: Cores) -> Iterator[Running]:
    """Run haproxy: one thread, connections reused."""
    place = _place(bench, "haproxy")
    text = configs.haproxy(place, _SINKS)
    home = _written(place, "haproxy.cfg", text)
    command = [find_program("haproxy", "haproxy"), "-db", "-f", str(home / "haproxy.cfg")]
    with _proxy(command, cores, home, place.port, text) as running:
        yield running


@contextlib.contextmanager
def httpd(bench: Bench, cores: Cores) -> Iterator[Running]:
    """Run Apache httpd (event MPM) over a GDBM map of targets."""
    place = _place(bench, "httpd")
    text = configs.httpd(place, _MODULES)
    home = _written(place, "httpd.conf", text)
    with contextlib.closing(ApacheDB(home / "routes.gdbm")) as routes, routes.batch():
        for prefix in _ROUTES:
            routes[prefix] = f"127.0.0.1:{place.target(prefix)}".encode()
    command = [find_program("apache2", "apache2-bin"), "-DFOREGROUND", "-f", f"{home}/httpd.conf"]
    with _proxy(command, cores, home, place.port, text) as running:
        yield running


@contextlib.contextmanager
def chp(bench: Bench, cores: Cores) -> Iterator[Running]:
    """Run configurable-http-proxy, its routes set by its API."""
    place, api, token = _place(bench, "chp"), free_port(), "of-this-run"
    flags = ["--ip", "127.0.0.1", "--port", str(place.port)]
    flags += ["--api-ip", "127.0.0.1", "--api-port", str(api), "--log-level", "warn"]
    command = [find_program("node", "nodejs"), str(chp_program()), *flags]
    home = Path(place.folder)
    environment = {"CONFIGPROXY_AUTH_TOKEN": token, "NODE_ENV": "production"}
    routes = {prefix: f"http://127.0.0.1:{place.target(prefix)}" for prefix in _ROUTES}
    text = f"configurable-http-proxy {' '.join(flags)}\n" + "".join(
        f'POST /api/routes{prefix} {{"target": "{target}"}}\n' for prefix, target in routes.items()
    )
    with _proxy(command, cores, home, place.port, text, environment) as running:
        for prefix, target in routes.items():
            call(
                "POST",
                f"http://127.0.0.1:{api}/api/routes{prefix}",
                {"target": target},
                f"token {token}",
            )
        yield running


@contextlib.contextmanager
def plain_aiohttp(bench: Bench, cores: Cores) -> Iterator[Running]:
    """Run the plain proxy of aiohttp_proxy.py."""
    place = _place(bench, "aiohttp")
    words = [str(place.port), *(f"{prefix}={place.target(prefix)}" for prefix in _ROUTES)]
    command = [str(installed.python()), "-m", "bench.datapath.aiohttp_proxy", *words]
    text = "python -m bench.datapath.aiohttp_proxy " + " ".join(words)
    home, variables = Path(place.folder), installed.environment()
    with _proxy(command, cores, home, place.port, text, variables) as running:
        yield running


def nbgate(workers: int = 0, route_file: Path | None = None) -> Start:
    """Return what runs `nbgate serve`; see gateway_under_test.py.

    Args:
        workers: of `--workers`; 0 is one process for everything.
        route_file: a route file to begin with; it is copied.
    """

    @contextlib.contextmanager
    def start(bench: Bench, cores: Cores) -> Iterator[Running]:
        place, management = _place(bench, "nbgate"), free_port()
        home, state = Path(place.folder), Path(place.folder) / "state"
        if route_file is not None:
            (state / "routes").mkdir(parents=True)
            shutil.copy(route_file, state / "routes" / "routes.gdbm")
        flags = ["--listen", f"127.0.0.1:{place.port}"]
        flags += ["--management-listen", f"127.0.0.1:{management}"]
        flags += ["--workers", str(workers)] if workers else []
        command = [str(installed.python()), "-m", "bench.gateway_under_test"]
        command += ["--web", str(place.web), "--sink", str(place.sink)]
        command += ["serve", "--state-dir", str(state), *flags]
        log = home / "log"
        with program(command, cores, log, environment=installed.environment()) as process:
            facts = _first_line(process, log)
            _await_workers(process, log, workers)
            yield Running(
                place.port,
                place.port,
                (process.pid,),
                facts["cookie"],
                checks_session=True,
                configuration=f"nbgate serve {' '.join(flags)}",
                management=management,
                token=facts["management_token"],
            )

    return start


PEERS: Mapping[str, Start] = {
    "direct": direct,
    "nginx": nginx,
    "haproxy": haproxy,
    "httpd": httpd,
    "chp": chp,
    "aiohttp": plain_aiohttp,
    "nbgate": nbgate(),
}


def chp_program() -> Path:
    """Return configurable-http-proxy's program, installed into our cache if it is not there."""
    home = CACHE / "chp"
    found = home / "node_modules" / "configurable-http-proxy" / "bin" / "configurable-http-proxy"
    if not found.exists():
        home.mkdir(parents=True, exist_ok=True)
        words = ["install", "--prefix", str(home), "--no-audit", "--no-fund", CHP_PACKAGE]
        subprocess.run([find_program("npm", "npm"), *words], check=True, stdout=subprocess.DEVNULL)
    return found


def call(method: str, url: str, body: Mapping[str, Any] | None, authorization: str) -> bytes:
    """Call a management API; return the answer's body.

    Raises:
        urllib.error.HTTPError: it refused.
    """
    data = None if body is None else json.dumps(body).encode()
    headers = {"Authorization": authorization, "Content-Type": "application/json"}
    request = urllib.request.Request(url, data, headers, method=method)
    with urllib.request.urlopen(request, timeout=120) as answer:
        content: bytes = answer.read()
    return content


def _place(bench: Bench, name: str) -> configs.Place:
    home = bench.new_folder(name)
    upstream = bench.upstream
    return configs.Place(str(home), free_port(), upstream.web, upstream.sink, worker_user())


def _written(place: configs.Place, name: str, text: str) -> Path:
    home = Path(place.folder)
    (home / name).write_text(text)
    return home


@contextlib.contextmanager
def _proxy(
    command: list[str],
    cores: Cores,
    home: Path,
    port: int,
    configuration: str,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Running]:
    log = home / "log"
    with program(command, cores, log, port=port, environment=environment) as process:
        text = configuration.replace(str(home), "<folder>")
        yield Running(port, port, (process.pid,), configuration=text)


def _first_line(process: subprocess.Popen[str], log: Path) -> dict[str, str]:
    """Return the JSON that nbgate prints when it is ready."""
    assert process.stdout is not None
    found, _, _ = select.select([process.stdout], [], [], _READY_SECONDS)
    line = process.stdout.readline() if found else ""
    if not line:
        raise ProgramFailed(f"nbgate ended, or did not come up:\n{tail(log)}")
    facts: dict[str, str] = json.loads(line)
    return facts


def _await_workers(process: subprocess.Popen[str], log: Path, workers: int) -> None:
    """Wait until all workers follow control, which it says in its log."""
    deadline = time.monotonic() + _READY_SECONDS
    while workers > 1 and log.read_text(errors="replace").count("worker follows") < workers:
        if process.poll() is not None or time.monotonic() > deadline:
            raise ProgramFailed(f"nbgate's workers did not come up:\n{tail(log)}")
        time.sleep(_LOOK_SECONDS)
