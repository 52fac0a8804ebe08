"""How each kind of number is taken: load on one side, the proxy's own use on the other."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable

from bench.datapath import checks, requests
from bench.datapath.case import Numbers, Subject
from bench.datapath.cores import cpu_seconds
from bench.datapath.load import LoadFailed, client, conversation, wrk
from bench.datapath.routefile import wrk_script

Measure = Callable[[Subject], Numbers]

ECHO_CONNECTIONS = 64
IDLE_SOCKETS = 5000
RATE = 1000
PUBLISHED_ROUTES = 10_000
_SETTLE_SECONDS = 1.0
RATE_SECONDS = 6.0
"""At least: a shorter round has too few requests behind its p99."""
_WARM_SECONDS = 4.0
_TURN_SECONDS = 180.0
_UPLOAD_BYTES = 100 << 20


def small(connections: int, *, close: bool = False, script: str | None = None) -> Measure:
    """Return what measures small GETs with wrk; `script` is the path of a script for it."""

    def measure(subject: Subject) -> Numbers:
        running = subject.running
        url = f"http://127.0.0.1:{running.web}{subject.flavour.web}{requests.SMALL}"
        headers = subject.headers | ({"Connection": "close"} if close else {})
        before, load = running.cpu(), _load_cpu(subject)
        core = subject.bench.load_core
        result = wrk(url, headers, connections, subject.seconds, core, script)
        return {
            "rate": result.rate,
            "cpu": (running.cpu() - before) / result.requests * 1e6,
            "generator": (_load_cpu(subject) - load) * result.rate / result.requests * 100,
        }

    return measure


def routes(subject: Subject) -> Numbers:
    """Measure small GETs spread over all routes of a table, and the memory."""
    running = subject.running
    script = subject.bench.folder / f"routes-{running.routes}.lua"
    script.write_text(wrk_script(running.routes, f"127.0.0.1:{running.web}"))
    numbers = small(32, script=str(script))(subject)
    return {**numbers, "memory": running.memory() / 2**20}


def download(path: str, connections: int) -> Measure:
    """Return what measures downloads of a file."""

    def measure(subject: Subject) -> Numbers:
        port = subject.running.web
        head = requests.head("GET", subject.flavour.web + path, _host(port), subject.headers)
        return _transfer(subject, "download", port, head, connections)

    return measure


def upload(subject: Subject) -> Numbers:
    """Measure uploads of 100 MiB."""
    port = subject.running.sink
    headers = subject.headers | {"Content-Length": str(_UPLOAD_BYTES)}
    head = requests.head("PUT", subject.flavour.sink + requests.UPLOAD, _host(port), headers)
    return _transfer(subject, "upload", port, head, 1, size=_UPLOAD_BYTES)


def echo(size: int) -> Measure:
    """Return what measures the processor time per WebSocket message of `size` bytes."""

    def measure(subject: Subject) -> Numbers:
        running = subject.running
        options = {"size": size, "connections": ECHO_CONNECTIONS, "seconds": subject.seconds}
        head = checks.websocket_head(running, subject.flavour)
        with conversation(
            "echo", subject.bench.load_core, port=running.sink, handshake=head, **options
        ) as talk:
            talk.await_turn(_TURN_SECONDS)
            before = running.cpu()
            talk.go_on()
            numbers = talk.numbers(subject.seconds + _TURN_SECONDS)
            used = running.cpu() - before
        return {
            "cpu": used / numbers["messages"] * 1e6,
            "messages": numbers["messages"] / numbers["seconds"],
        }

    return measure


def idle(subject: Subject) -> Numbers:
    """Measure the memory of each open, silent WebSocket."""
    running = subject.running
    head = checks.websocket_head(running, subject.flavour)
    options = {"port": running.sink, "handshake": head, "connections": IDLE_SOCKETS}
    with conversation("idle", subject.bench.load_core, **options) as talk:
        talk.await_turn(_TURN_SECONDS)
        before = running.memory()
        talk.go_on()
        talk.await_turn(_TURN_SECONDS)
        time.sleep(_SETTLE_SECONDS)
        grown = running.memory() - before
        talk.go_on()
        if talk.numbers(_TURN_SECONDS)["lost"]:
            raise LoadFailed("idle WebSockets were closed")
    return {"memory": grown / IDLE_SOCKETS / 1024, "total": grown / 2**20}


def latency(subject: Subject) -> Numbers:
    """Measure latencies at a fixed rate, when what a start sets off is over."""
    _at_fixed_rate(subject, _WARM_SECONDS)
    return _at_fixed_rate(subject, max(subject.seconds, RATE_SECONDS))


def _at_fixed_rate(subject: Subject, seconds: float) -> Numbers:
    running = subject.running
    options = {"port": running.web, "head": _small_head(subject), "rate": RATE}
    before = running.cpu()
    numbers = client("rate", subject.bench.load_core, seconds, **options, seconds=seconds)
    return {**numbers, "busy": (running.cpu() - before) / seconds * 100}


def latency_while_publishing(subject: Subject) -> Numbers:
    """Measure latencies while routes are put into nbgate by its API; others are left alone."""
    running, core = subject.running, subject.bench.load_core
    if not running.management:
        return latency(subject)
    _at_fixed_rate(subject, _WARM_SECONDS)
    options = {"port": running.web, "head": _small_head(subject), "rate": RATE}
    seconds = max(subject.seconds, RATE_SECONDS)
    with conversation("rate", core, **options, seconds=seconds, until_told=True) as talk:
        result = client(
            "publish",
            core,
            _TURN_SECONDS,
            port=running.management,
            token=running.token,
            count=PUBLISHED_ROUTES,
            target=subject.bench.upstream.web,
        )
        talk.go_on()
        numbers = talk.numbers(seconds + _TURN_SECONDS)
    return {**numbers, "publishing": result["seconds"]}


def _transfer(
    subject: Subject, kind: str, port: int, head: bytes, connections: int, **more: int
) -> Numbers:
    before = subject.running.cpu()
    options = {"port": port, "head": head.decode(), "connections": connections, **more}
    seconds = subject.seconds
    numbers = client(kind, subject.bench.load_core, seconds, **options, seconds=seconds)
    mebibytes = numbers["bytes"] / 2**20
    used = subject.running.cpu() - before
    return {"rate": mebibytes / numbers["seconds"], "cpu": used / mebibytes * 1024}


def _small_head(subject: Subject) -> str:
    target = subject.flavour.web + requests.SMALL
    return requests.head("GET", target, _host(subject.running.web), subject.headers).decode()


def _host(port: int) -> str:
    return f"127.0.0.1:{port}"


def _load_cpu(subject: Subject) -> float:
    """Return the seconds used so far by the upstream and by generators that have ended."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    upstream = sum(cpu_seconds(pid) for pid in subject.bench.upstream.pids)
    return ended.ru_utime + ended.ru_stime + upstream
