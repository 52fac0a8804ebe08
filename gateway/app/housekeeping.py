"""All that goes on beside the requests until the gateway ends, and what is done now and then."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from functools import partial

from gateway.app.admission import watch_ends
from gateway.app.chores import Work, each, lasting
from gateway.app.control import Control
from gateway.app.engine import Then, engine_chores, take_over
from gateway.app.ways import look_after_passers_by, ways_of
from gateway.errors import EngineError
from gateway.settings import Settings
from gateway.spawners.docker import DockerSpawner

logger = logging.getLogger(__name__)

_HOUSEKEEPING_SECONDS = 600.0
_HTTPD_SECONDS = 10.0


def all_chores(
    settings: Settings, control: Control, reason: str, then: Then | None
) -> Iterator[asyncio.Task[None]]:
    """Begin what goes on until the gateway ends; see engine_chores."""
    yield lasting("housekeeping", partial(_keep_house, settings, control))
    yield from control.sharing.chores()
    yield lasting("ends of sessions", partial(watch_ends, control.sessions))
    yield lasting("passers-by", partial(look_after_passers_by, settings, control))
    yield lasting("inheritance", partial(_inherit, control))
    yield lasting("culler", control.culler.run)
    yield from engine_chores(settings, control, reason, then)
    if settings.httpd_direct and isinstance(control.spawner, DockerSpawner):
        yield lasting("join httpd", partial(_keep_httpd_joined, control.spawner))


async def _keep_house(settings: Settings, control: Control) -> None:
    while True:
        await asyncio.sleep(_HOUSEKEEPING_SECONDS)
        await each(_housework(settings, control))


def _housework(settings: Settings, control: Control) -> Iterator[tuple[str, Work]]:
    operations = control.lifecycle.operations
    yield "forgetting sessions", control.sessions.expire
    yield "forgetting tickets", control.tickets.expire
    ways = ways_of(settings, control)
    yield "forgetting nonces", ways.expire
    yield "forgetting shared copies", ways.shares.expire
    yield "sweeping spaces", control.spaces.sweep
    yield "forgetting gateways", control.sharing.presence.sweep
    yield "forgetting operations", partial(operations.forget, settings.operations_kept)
    yield "taking over", partial(take_over, control)
    yield "telling httpd", control.routes.publish_missed


async def _inherit(control: Control) -> None:
    """Go on with what another gateway had begun, as soon as it is gone."""
    lost = control.sharing.presence.lost
    while True:
        await lost.wait()
        lost.clear()
        await take_over(control)


async def _keep_httpd_joined(spawner: DockerSpawner) -> None:
    """Keep httpd on the notebooks' network: it starts after the gateway, and may be replaced."""
    while True:
        try:
            await spawner.join_httpd()
        except EngineError as error:
            logger.warning("httpd is not on the notebooks' network reason=%s", error)
        await asyncio.sleep(_HTTPD_SECONDS)
