"""What is measured, in the order of the report."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from bench.datapath import checks, measures, requests
from bench.datapath.case import Case
from bench.datapath.peers import Bench, Cores, Running, Start, nbgate
from bench.datapath.requests import BARE, FULL, Flavour
from bench.datapath.results import Metric
from bench.datapath.routefile import make_route_file

_RATE = Metric("rate", "requests/s", 0, compared=True)
_CPU = Metric("cpu", "proxy CPU µs/request", 1)
_GENERATOR = Metric("generator", "upstream + wrk, % of a core", 0)
_MEBIBYTES = (
    Metric("rate", "MiB/s", 0, compared=True),
    Metric("cpu", "proxy CPU s/GiB", 2),
)
_LATENCY = (
    Metric("p50", "p50 ms", 3),
    Metric("p99", "p99 ms", 3, compared=True),
    Metric("p999", "p99.9 ms", 3),
    Metric("late", "generator's own p99 ms", 3),
)
_A_THREAD_EACH = {"httpd": "a WebSocket holds one of its threads; 5,000 threads are no setting"}
_NO_PROXY = {"direct": "there is no proxy to look at"}
_OTHERS = ("direct", "haproxy", "httpd", "chp", "aiohttp")
ROUTE_COUNTS = (10, 10_000, 1_000_000)


def all_cases() -> list[Case]:
    """Return every case."""
    return [
        *_small_cases(FULL, "ten browser headers, session cookie"),
        *_small_cases(BARE, "no headers, no session"),
        *_body_cases(),
        *_websocket_cases(),
        *_latency_cases(),
        _routes_case(),
        _workers_case(),
    ]


def _small_cases(flavour: Flavour, looks: str) -> list[Case]:
    metrics = (_RATE, _CPU, _GENERATOR)
    made = [
        Case(
            f"get-{flavour.name}-{connections}",
            f"Small GET, keep-alive, connections: {connections}; {looks}",
            metrics,
            measures.small(connections),
            flavour=flavour,
            warm=1.0,
        )
        for connections in (1, 32, 256)
    ]
    title = f"Small GET, a new connection each, 32 at once; {looks}"
    measure = measures.small(32, close=True)
    name = f"get-{flavour.name}-new"
    return [*made, Case(name, title, metrics, measure, flavour=flavour, warm=1.0)]


def _body_cases() -> list[Case]:
    files = (
        ("download-1m", "Download of 1 MiB, 8 connections", requests.MEBIBYTE, 8),
        ("download-100m", "Download of 100 MiB, 1 connection", requests.HUNDRED_MEBIBYTES, 1),
    )
    made = [
        Case(
            name,
            title,
            _MEBIBYTES,
            measures.download(path, connections),
            partial(checks.check_download, path=path),
        )
        for name, title, path, connections in files
    ]
    title = "Upload of 100 MiB, 1 connection"
    return [
        *made,
        Case("upload-100m", title, _MEBIBYTES, measures.upload, checks.check_upload),
    ]


def _websocket_cases() -> list[Case]:
    per_message = (
        Metric("cpu", "proxy CPU µs/message", 1, compared=True),
        Metric("messages", "messages/s", 0),
    )
    made = [
        Case(
            f"echo-{size}",
            f"WebSocket echo, 64 connections, messages of {shown}",
            per_message,
            measures.echo(size),
            checks.check_websocket,
            without=_NO_PROXY,
            warm=0.5,
        )
        for size, shown in ((100, "100 B"), (16 << 10, "16 KiB"))
    ]
    memory = (Metric("memory", "KiB each", 1, compared=True), Metric("total", "MiB for all", 0))
    title = "Memory of 5,000 idle WebSockets"
    without = {**_NO_PROXY, **_A_THREAD_EACH}
    check = checks.check_websocket
    return [
        *made,
        Case("idle", title, memory, measures.idle, check, without=without, fresh=True),
    ]


def _latency_cases() -> list[Case]:
    title = "Latency of a small GET at 1,000 requests/s, open loop"
    busy = Metric("busy", "proxy core, % busy", 0)
    took = Metric("publishing", "seconds of publishing", 1)
    return [
        Case("latency", title, (*_LATENCY, busy), measures.latency, warm=0.5),
        Case(
            "latency-publishing",
            f"{title}, while 10,000 routes are put into nbgate by its API",
            (*_LATENCY, took),
            measures.latency_while_publishing,
            without=dict.fromkeys(_OTHERS, "nothing is published into it"),
            fresh=True,
            often=2,
        ),
    ]


def _routes_case() -> Case:
    metrics = (_RATE, _CPU, Metric("memory", "MiB in use", 0))
    return Case(
        "routes",
        "Small GET, 32 connections, bare, 1,024 paths in turn, by the number of routes",
        metrics,
        measures.routes,
        checks.check_route,
        BARE,
        {f"{count:,} routes": _with_routes(count) for count in ROUTE_COUNTS},
        warm=1.0,
        often=3,
    )


def _with_routes(count: int) -> Start:
    @contextlib.contextmanager
    def start(bench: Bench, cores: Cores) -> Iterator[Running]:
        file = make_route_file(count, bench.upstream.web, bench.folder)
        with nbgate(route_file=file)(bench, cores) as running:
            yield replace(running, routes=count)

    return start


def _workers_case() -> Case:
    metrics = (_RATE, _CPU, _GENERATOR)
    return Case(
        "workers",
        "Small GET, 256 connections, full; workers and load share both cores, so that this shows "
        "what a second worker costs, not what it brings",
        metrics,
        measures.small(256),
        contenders={f"--workers {count}": nbgate(workers=count) for count in (1, 2)},
        warm=1.0,
        shared=True,
    )
