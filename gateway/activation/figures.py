"""What is measured about following the engine, and about the health of servers."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge

from gateway.activation.adoption import Found


class EngineFigures:
    """Instruments of the reconciler.

    Args:
        registry: where they are registered.
        clock: monotonic seconds.
    """

    def __init__(self, registry: CollectorRegistry, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._last: dict[str, float] = {}
        self.watching = Gauge(
            "nbgate_engine_watcher_up",
            "Whether the engine's events are followed",
            registry=registry,
        )
        self._ended = Counter(
            "nbgate_engine_watcher_reconnects",
            "How often the engine's events had to be followed anew",
            registry=registry,
        )
        since = Gauge(
            "nbgate_engine_seconds_since",
            "Seconds since the last event, and since the engine listed its servers; NaN for never",
            ["what"],
            registry=registry,
        )
        for what in ("event", "list"):
            since.labels(what).set_function(partial(self._since, what))
        self._reconciled = Counter(
            "nbgate_reconciled",
            "Notebooks that were compared with the engine, by what was found",
            ["result"],
            registry=registry,
        )
        for result in Found:
            self._reconciled.labels(str(result))
        self.strays = Gauge(
            "nbgate_servers_without_notebook",
            "Servers of this installation on the engine that no notebook knows",
            registry=registry,
        )
        self._swept = Counter(
            "nbgate_servers_swept", "Leftovers that were removed", registry=registry
        )

    def happened(self, what: str) -> None:
        """Note an `event`, or a `list`."""
        self._last[what] = self._clock()

    def reconnected(self) -> None:
        """Count that the events are followed anew."""
        self._ended.inc()

    def reconciled(self, found: Found) -> None:
        """Count a look at the engine."""
        self._reconciled.labels(str(found)).inc()

    def swept(self, count: int) -> None:
        """Count leftovers that were removed."""
        self._swept.inc(count)

    def _since(self, what: str) -> float:
        last = self._last.get(what)
        return math.nan if last is None else self._clock() - last


class HealthFigures:
    """Instruments of the health probes."""

    def __init__(self, registry: CollectorRegistry, unhealthy: Callable[[], float]) -> None:
        self._probes = Counter(
            "nbgate_health_probes",
            "Probes of servers that are ready, by result",
            ["result"],
            registry=registry,
        )
        for result in ("answered", "missed"):
            self._probes.labels(result)
        Gauge(
            "nbgate_unhealthy_servers", "Servers that run and do not answer", registry=registry
        ).set_function(unhealthy)

    def probed(self, *, answered: bool) -> None:
        """Count a probe."""
        self._probes.labels("answered" if answered else "missed").inc()
