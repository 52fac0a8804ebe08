"""Prometheus instruments. Labels are bounded: never a route key, a user or a path."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from gateway.expiry import expiry_of
from gateway.notebooks.model import State
from gateway.traffic import Traffic

_PHASE_BUCKETS = (0.01, 0.03, 0.1, 0.3, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 8.0, 15.0, 30.0, 60.0)


class Admission(Protocol):
    """The queue of starts."""

    @property
    def waiting(self) -> int:
        """How many wait."""
        ...

    @property
    def under_way(self) -> int:
        """How many are under way."""
        ...

    @property
    def short_of_memory(self) -> bool:
        """Whether they wait for memory."""
        ...


class PublishedMap(Protocol):
    """A map by which httpd admits people."""

    @property
    def withheld(self) -> bool:
        """Whether it is empty, since it cannot be written."""
        ...

    @property
    def stale(self) -> bool:
        """Whether it has people who are out, since it cannot be emptied."""
        ...


class _TrafficCollector(Collector):
    """Renders a Traffic at each scrape."""

    def __init__(self, traffic: Traffic) -> None:
        self._traffic = traffic

    def collect(self) -> Iterator[Metric]:
        """See prometheus_client."""
        traffic = self._traffic
        requests = CounterMetricFamily(
            "nbgate_requests", "Requests by what was sent downstream", labels=["outcome"]
        )
        for outcome, count in sorted(traffic.outcomes.items()):
            requests.add_metric([outcome], count)
        yield requests
        yield GaugeMetricFamily(
            "nbgate_requests_in_flight", "Requests being answered", traffic.in_flight
        )
        yield GaugeMetricFamily("nbgate_websockets_open", "Open WebSockets", traffic.websockets)


class _Starts:
    """Of starts."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.finished = Counter(
            "nbgate_starts", "Starts of notebooks by result", ["result"], registry=registry
        )
        self.refused = Counter(
            "nbgate_starts_refused",
            "Starts that were turned away, by reason",
            ["reason"],
            registry=registry,
        )
        self.phases = Histogram(
            "nbgate_start_phase_seconds",
            "Seconds of each phase of a start",
            ["phase"],
            buckets=_PHASE_BUCKETS,
            registry=registry,
        )


class _Files:
    """Of the files that httpd reads."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.withheld = Gauge(
            "nbgate_httpd_map_withheld",
            "1 while httpd admits nobody by this map, since it cannot be written",
            ["map"],
            registry=registry,
        )
        self.stale = Gauge(
            "nbgate_httpd_map_stale",
            "1 while httpd admits people who are out, since the map cannot even be removed",
            ["map"],
            registry=registry,
        )
        self.published = Histogram(
            "nbgate_publish_seconds",
            "Seconds from a change of routes to the file in place",
            registry=registry,
        )


class Metrics:
    """All instruments of one gateway, in a registry of their own.

    `traffic` is the data path's. What `watch` and the like are given is asked at each scrape.
    """

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.traffic = Traffic()
        registry.register(_TrafficCollector(self.traffic))
        self._starts = _Starts(registry)
        self._files = _Files(registry)
        self._routes = Gauge("nbgate_routes", "Routes in the table", registry=registry)
        self._notebooks = Gauge(
            "nbgate_notebooks", "Notebooks by state", ["state"], registry=registry
        )
        self._culled = Counter(
            "nbgate_culled",
            "What was done about servers that nobody uses",
            ["what"],
            registry=registry,
        )
        self._links = Counter(
            "nbgate_links",
            "Links of an LMS by kind and result",
            ["kind", "result"],
            registry=registry,
        )

    def watch_admission(self, admission: Admission) -> None:
        """Ask the queue of starts at each scrape."""
        waiting = Gauge("nbgate_starts_waiting", "Starts in the queue", registry=self.registry)
        waiting.set_function(lambda: float(admission.waiting))
        going = Gauge("nbgate_starts_under_way", "Starts under way", registry=self.registry)
        going.set_function(lambda: float(admission.under_way))
        short = Gauge(
            "nbgate_starts_short_of_memory",
            "1 while starts wait until the machine has memory to spare",
            registry=self.registry,
        )
        short.set_function(lambda: float(admission.short_of_memory))

    def start_refused(self, code: str) -> None:
        """Count a start that was not let into the queue; `code` is the error's."""
        self._starts.refused.labels(code).inc()

    def culled(self, what: str) -> None:
        """Count what the culler did.

        `what` is `stopped-idle`, `stopped-age`, `paused`, `removed`, `vetoed` (a check said that it
        is busy), `spared` (somebody came at the last moment) or `failed`.
        """
        self._culled.labels(what).inc()

    def start_finished(self, result: str) -> None:
        """Count a start; `result` is `ready` or `failed`."""
        self._starts.finished.labels(result).inc()

    def link(self, kind: str, result: str) -> None:
        """Count a link of an LMS; `kind` is `signed`, `plain`, `static`, `share` or `anonymous`."""
        self._links.labels(kind, result).inc()

    def phase(self, name: str, seconds: float) -> None:
        """Record one phase of a start: `queue`, `space`, `create`, `start` or `ready`."""
        self._starts.phases.labels(name).observe(seconds)

    def published(self, seconds: float) -> None:
        """Record one publish of the route file."""
        self._files.published.observe(seconds)

    def watch(self, states: Callable[[], Iterable[State]], routes: Callable[[], int]) -> None:
        """Ask `states` (of all notebooks) and `routes` (their number) at each scrape."""
        self._routes.set_function(lambda: float(routes()))
        for state in State:
            self._notebooks.labels(state.value).set_function(partial(_count, states, state))

    def watch_map(self, name: str, published: PublishedMap) -> None:
        """Ask one of httpd's maps at each scrape; `name` is `edges` or `owners`."""
        self._files.withheld.labels(name).set_function(lambda: float(published.withheld))
        self._files.stale.labels(name).set_function(lambda: float(published.stale))

    def watch_certificate(self, cert: Path) -> None:
        """Tell when the certificate in `cert` ends; its file is read at each scrape."""
        ends = Gauge(
            "nbgate_tls_certificate_expiry_timestamp_seconds",
            "When the certificate in the file ends; NaN while it cannot be read",
            ["listener"],
            registry=self.registry,
        )
        ends.labels("public").set_function(partial(_expiry, cert))

    def render(self) -> bytes:
        """Return the text exposition format."""
        return generate_latest(self.registry)


def _expiry(cert: Path) -> float:
    try:
        return expiry_of(cert.read_text("ascii", "replace"))
    except (OSError, ValueError):
        return math.nan


def _count(states: Callable[[], Iterable[State]], wanted: State) -> float:
    return float(sum(state is wanted for state in states()))
