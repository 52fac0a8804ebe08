"""The metrics in Prometheus' text format: CHP's names, and nbgate's beside them.

Rendered by hand: its counters have no `_total`, and the library would cost every proxy memory.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from aiohttp import web

from gateway.chp.tally import Tally, quantile
from gateway.traffic import Traffic

TEXT = "text/plain; version=0.0.4; charset=utf-8"
_SELF = Path("/proc/self")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICKS = os.sysconf("SC_CLK_TCK")
_QUANTILES = (0.01, 0.05, 0.5, 0.9, 0.95, 0.99, 0.999)  # those of prom-client, which CHP uses


class Exposition:
    """What is shown at a scrape.

    Args:
        tally: this mode's counts.
        traffic: the data path's.
        routes: returns how many there are.
    """

    def __init__(self, tally: Tally, traffic: Traffic, routes: Callable[[], int]) -> None:
        self._tally = tally
        self._traffic = traffic
        self._routes = routes

    def server(self) -> web.Server:
        """Return what a listener needs."""
        return web.Server(self._show)

    def render(self) -> str:
        """Return all of it."""
        return "".join(f"{line}\n" for part in self._parts() for line in part)

    async def _show(self, request: web.BaseRequest) -> web.Response:
        if request.path != "/metrics":
            return web.Response(status=404)
        return web.Response(body=self.render().encode(), headers={"Content-Type": TEXT})

    def _parts(self) -> Iterator[Iterator[str]]:
        tally, traffic = self._tally, self._traffic
        yield _one("api_route_get", "counter", "Listings of all routes", tally.listed)
        yield _one("api_route_add", "counter", "Routes set through the API", tally.added)
        yield _one("api_route_delete", "counter", "Routes removed through the API", tally.deleted)
        yield _summary(
            "find_target_for_req",
            "Seconds to find a route",
            tally.lookups,
            tally.lookup_seconds,
            tally.lookup_spread,
        )
        yield _summary(
            "last_activity_updating",
            "Seconds to mark a route as active",
            tally.marks,
            tally.mark_seconds,
            tally.mark_spread,
        )
        yield _one("requests_ws", "counter", "Requests for a WebSocket", tally.websockets)
        yield _one("requests_web", "counter", "Other requests", tally.requests)
        yield _many("requests_proxy", "Answers by status", "status", tally.statuses)
        yield _many("requests_api", "Answers of the API by status", "status", tally.api_statuses)
        yield _one("nbgate_routes", "gauge", "Routes in the table", self._routes())
        yield _many("nbgate_requests_total", "Requests by outcome", "outcome", traffic.outcomes)
        yield _one(
            "nbgate_requests_in_flight", "gauge", "Requests being answered", traffic.in_flight
        )
        yield _one("nbgate_websockets_open", "gauge", "Open WebSockets", traffic.websockets)
        yield _one("nbgate_tasks", "gauge", "Tasks of the event loop", len(asyncio.all_tasks()))
        yield from _process()


def _one(name: str, kind: str, text: str, value: float) -> Iterator[str]:
    yield f"# HELP {name} {text}"
    yield f"# TYPE {name} {kind}"
    yield f"{name} {value}"


def _many(
    name: str, text: str, label: str, values: Mapping[int, int] | Mapping[str, int]
) -> Iterator[str]:
    yield f"# HELP {name} {text}"
    yield f"# TYPE {name} counter"
    for key, value in sorted(values.items()):
        yield f'{name}{{{label}="{key}"}} {value}'


def _summary(
    name: str, text: str, count: int, total: float, spread: Mapping[int, int]
) -> Iterator[str]:
    yield f"# HELP {name} {text}"
    yield f"# TYPE {name} summary"
    for share in _QUANTILES:
        yield f'{name}{{quantile="{share}"}} {quantile(spread, share):.4g}'
    yield f"{name}_sum {total}"
    yield f"{name}_count {count}"


def _process() -> Iterator[Iterator[str]]:
    """What /proc says of this process, under the names that every client library has."""
    try:
        fields = (_SELF / "stat").read_text(encoding="ascii").rpartition(")")[2].split()
        descriptors = sum(1 for _ in (_SELF / "fd").iterdir())
    except OSError:
        return
    cpu = (int(fields[11]) + int(fields[12])) / _TICKS
    memory = int(fields[21]) * _PAGE
    yield _one("process_cpu_seconds_total", "counter", "CPU time used", cpu)
    yield _one("process_resident_memory_bytes", "gauge", "Resident memory", memory)
    yield _one("process_open_fds", "gauge", "Open file descriptors", descriptors)
