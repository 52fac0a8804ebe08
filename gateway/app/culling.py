"""The culler of a gateway, from its settings and parts."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from gateway.activation.culler import Culler, Traffic
from gateway.activation.lifecycle import Lifecycle
from gateway.activation.routing import RouteService
from gateway.activation.signals import Signals
from gateway.activation.usage import UsageProbe
from gateway.activation.weighing import Weigher
from gateway.metrics import Metrics
from gateway.namespace import Namespace
from gateway.notebooks.catalogue import Catalogue
from gateway.notebooks.model import Lifetimes
from gateway.notebooks.projects import utc_now
from gateway.settings import Settings
from gateway.spaces import Spaces
from gateway.spawners.base import Spawner


@dataclass(frozen=True, slots=True)
class CulledParts:
    """What the culler is about."""

    catalogue: Catalogue
    lifecycle: Lifecycle
    routes: RouteService
    spawner: Spawner
    spaces: Spaces
    namespace: Namespace
    metrics: Metrics


def open_culler(
    settings: Settings,
    parts: CulledParts,
    stack: contextlib.AsyncExitStack,
    leads: Callable[[], bool],
    traffic: Callable[[], Awaitable[Mapping[str, Traffic]]],
) -> Culler:
    """Make the culler; `stack` closes what it asks with.

    Args:
        settings: in force.
        parts: what it is about.
        stack: closes it.
        leads: whether this gateway is the one that acts.
        traffic: of all gateways together.
    """
    probe = UsageProbe()
    stack.push_async_callback(probe.close)
    signals = Signals(
        probe,
        parts.spawner,
        parts.spaces,
        parts.namespace.base_url,
        time.monotonic,
        utc_now,
        direct=settings.httpd_direct,
        vetoed=lambda: parts.metrics.culled("vetoed"),
    )
    weigher = Weigher(
        parts.catalogue,
        signals,
        lambda slug: parts.routes.entry(parts.namespace.key(slug)),
        lifetimes_of(settings),
        traffic,
        time.monotonic,
        utc_now,
    )
    return Culler(
        parts.catalogue,
        parts.lifecycle,
        parts.spawner,
        weigher,
        leads,
        parts.metrics.culled,
        settings.cull_interval,
    )


def lifetimes_of(settings: Settings) -> Lifetimes:
    """Return the installation's lifetimes."""
    return Lifetimes(
        idle_timeout=settings.idle_timeout,
        max_age=settings.max_age,
        warning=settings.warning_time,
        busy_cap=settings.busy_cap,
        pause_after=settings.pause_after,
        remove_after=settings.remove_after,
        still_busy=settings.still_busy or None,
    )
