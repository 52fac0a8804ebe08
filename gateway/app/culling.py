"""The culler of a gateway, from its settings and parts."""

from __future__ import annotations

import contextlib
import time

from gateway.activation.culler import Culler
from gateway.activation.lifecycle import Lifecycle
from gateway.activation.routing import RouteService
from gateway.activation.signals import Signals
from gateway.activation.usage import UsageProbe
from gateway.activation.weighing import Weigher
from gateway.app.base import Base
from gateway.app.sharing import Sharing
from gateway.notebooks.model import Lifetimes
from gateway.notebooks.projects import utc_now
from gateway.settings import Settings


def open_culler(
    settings: Settings,
    base: Base,
    routes: RouteService,
    lifecycle: Lifecycle,
    sharing: Sharing,
    stack: contextlib.AsyncExitStack,
) -> Culler:
    """Make the culler; `stack` closes what it asks with.

    Of the gateways that share a database the one that leads acts, by the traffic of all.
    """
    weigher = Weigher(
        base.catalogue,
        _signals(settings, base, stack),
        lambda slug: routes.entry(base.namespace.key(slug)),
        lifetimes_of(settings),
        sharing.presence.traffic,
        time.monotonic,
        utc_now,
    )
    return Culler(
        base.catalogue,
        lifecycle,
        base.spawner,
        weigher,
        sharing.leadership.leads,
        base.metrics.culled,
        settings.cull_interval,
    )


def _signals(settings: Settings, base: Base, stack: contextlib.AsyncExitStack) -> Signals:
    probe = UsageProbe()
    stack.push_async_callback(probe.close)
    return Signals(
        probe,
        base.spawner,
        base.spaces,
        base.namespace.base_url,
        time.monotonic,
        utc_now,
        direct=settings.httpd_direct,
        vetoed=lambda: base.metrics.culled("vetoed"),
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
