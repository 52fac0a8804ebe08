"""How a gateway follows its engine: takes over what runs, hears of changes, asks who answers."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial

from gateway.activation.figures import EngineFigures, HealthFigures
from gateway.activation.health import HealthWatch
from gateway.activation.reconciler import Reconciler, Times
from gateway.activation.strays import Strays
from gateway.app.chores import lasting
from gateway.app.control import Control, adopt
from gateway.errors import EngineError, GatewayError
from gateway.notebooks.database import DatabaseError
from gateway.notebooks.logs import logger_of
from gateway.notebooks.model import Health, Notebook
from gateway.notebooks.operations import Kind
from gateway.proxy.interface import RouteEntry
from gateway.settings import Settings
from routes.errors import RouteFileError

logger = logging.getLogger(__name__)

_ENGINE_SECONDS = 3.0

Then = Callable[[], Awaitable[None]]


async def adopt_now(control: Control, *, carry_on: bool = True) -> str:
    """Take over what runs; return "", or why the engine could not be asked.

    Args:
        control: all parts.
        carry_on: also what gateways that have ended had begun.
    """
    try:
        await adopt(control, partial(take_over, control) if carry_on else None)
    except EngineError as error:
        logger.error("no engine: nothing adopted, no cold notebook starts reason=%s", error)
        return str(error)
    return ""


async def take_over(control: Control) -> None:
    """Go on with what gateways that have ended had begun."""
    operations, presence = control.lifecycle.operations, control.sharing.presence
    try:
        await presence.beat()  # or one that has come since the last time would be taken for gone
        left = await operations.take_over(presence.others)
    except DatabaseError as error:
        logger.warning("what was begun before is not known reason=%s", error)
        return
    for operation in left:
        if operation.kind not in (Kind.CREATE, Kind.START):
            control.lifecycle.carry_on(operation)
            continue
        if control.lifecycle.lock(operation.slug).locked():
            continue  # who is at it brings it in line, and may take long, e.g. pull an image
        try:
            await control.lifecycle.settle(operation.slug, anew=True)
        except (GatewayError, RouteFileError, OSError) as error:
            logger_of(operation.slug).warning(
                "what became of a start is not known reason=%s", error
            )
        except Exception:  # noqa: BLE001 - those behind it are ours by now, and nobody else's
            logger_of(operation.slug).exception("what became of a start is not known")


def engine_chores(
    settings: Settings, control: Control, reason: str, then: Then | None
) -> Iterator[asyncio.Task[None]]:
    """Begin what goes on until the gateway ends.

    Args:
        settings: in force.
        control: all parts.
        reason: why nothing was adopted yet; "" if it was.
        then: done once it is.
    """
    yield lasting("reconciler", _reconciler(settings, control, reason, then).run)
    yield lasting("health", _health(settings, control).run)


def _reconciler(settings: Settings, control: Control, reason: str, then: Then | None) -> Reconciler:
    async def adopt_later() -> None:
        await adopt(control, partial(take_over, control))
        if then is not None:
            await then()

    def look(slug: str) -> tuple[Notebook | None, RouteEntry | None]:
        return control.catalogue.find(slug), control.routes.entry(control.namespace.key(slug))

    def recovered() -> None:
        for notebook in control.catalogue.notebooks():
            control.activator.forgive(notebook.slug)

    return Reconciler(
        control.spawner,
        control.lifecycle,
        look,
        Strays(
            control.spawner,
            control.catalogue,
            control.lifecycle,
            settings.sweep_after,
            time.monotonic,
        ),
        EngineFigures(control.metrics.registry, time.monotonic),
        Times(
            relist=settings.relist_interval,
            retry=_ENGINE_SECONDS,
            looks=max(1, round(settings.start_timeout)),
            grace=settings.sweep_after,
        ),
        adopt_later if reason else None,
        recovered,
        reason,
    )


def _health(settings: Settings, control: Control) -> HealthWatch:
    def hot() -> Sequence[RouteEntry]:
        books = control.catalogue.notebooks()
        entries = (control.routes.entry(control.namespace.key(book.slug)) for book in books)
        return [one for one in entries if one is not None and one.target is not None]

    def unhealthy() -> float:
        books = control.catalogue.notebooks()
        return float(sum(book.health is Health.UNHEALTHY for book in books))

    figures = HealthFigures(control.metrics.registry, unhealthy)
    return HealthWatch(control.lifecycle, hot, figures, settings.health_interval)
