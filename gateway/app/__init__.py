"""The only composition root: Settings → a running gateway.

Control (control.py, over base.py) owns what is durable; listeners.py serves it. Control and the
data path live in one event loop here and talk through the Gate protocol.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial

from gateway import logs
from gateway.app.admission import watch_ends
from gateway.app.base import make_folders
from gateway.app.chores import Work, each, lasting
from gateway.app.control import Control, Tables, open_control
from gateway.app.engine import Then, adopt_now, engine_chores, take_over
from gateway.app.listeners import serve_management, serve_pages, serve_public
from gateway.app.ways import look_after_passers_by, ways_of
from gateway.errors import EngineError
from gateway.loop import heed_signals
from gateway.loop import run as run_loop
from gateway.settings import Settings
from gateway.spawners.docker import DockerSpawner
from routes.apachedb import mend

logger = logging.getLogger(__name__)

Prepare = Callable[[Settings, Control], Awaitable[None]]
"""Is done once the gateway listens; for programs that put something into it, e.g. a benchmark."""

ServeDataPath = Callable[[Settings, Control, contextlib.AsyncExitStack], Awaitable[None]]

_HOUSEKEEPING_SECONDS = 600.0
_HTTPD_SECONDS = 10.0


async def nothing(settings: Settings, control: Control) -> None:
    """Prepare nothing."""


def run(settings: Settings, prepare: Prepare = nothing) -> int:
    """Serve until SIGTERM or SIGINT; return the exit code.

    Args:
        settings: in force.
        prepare: see Prepare.

    Raises:
        GatewayError, RouteFileError: the gateway cannot start; one line for people.
    """
    logs.configure(settings.log_level, settings.log_format)
    run_loop(_serve(settings, prepare))
    return 0


def rebuild_routes(settings: Settings) -> str:
    """Write a fresh route file from the running notebooks and what is still readable.

    For when no gateway runs. Returns one line for people.
    """
    return asyncio.run(_rebuild(settings))


async def _rebuild(settings: Settings) -> str:
    make_folders(settings)
    kept = await asyncio.to_thread(mend, settings.routes_path)
    async with contextlib.AsyncExitStack() as stack:
        control = await open_control(settings, stack)
        await adopt_now(control, carry_on=False)
        return await control.routes.rebuild(kept)


async def _serve(settings: Settings, prepare: Prepare) -> None:
    stopping = asyncio.Event()
    heed_signals(stopping.set)
    async with running(settings) as control:
        await prepare(settings, control)
        await stopping.wait()
        logger.info("stopping; notebooks go on running")


@contextlib.asynccontextmanager
async def running(
    settings: Settings,
    tables: Tables | None = None,
    serve: ServeDataPath = serve_public,
    *,
    wait_for_engine: bool = False,
) -> AsyncIterator[Control]:
    """Run a gateway: listening when entered, drained and closed when left.

    Args:
        settings: in force.
        tables: to fill; None for new ones.
        serve: opens the data path.
        wait_for_engine: open the data path only when what runs was adopted; workers that still
            serve it would take the notebooks for stopped.
    """
    async with contextlib.AsyncExitStack() as stack:
        control = await open_control(settings, stack, tables)
        await each((("ending sessions for which nobody vouches", control.sessions.disown),))
        reason = await adopt_now(control)
        await serve_pages(settings, control, stack)
        await serve_management(settings, control, stack)
        serve_now = not reason or not wait_for_engine
        if serve_now:
            await serve(settings, control, stack)
        then = None if serve_now else lambda: serve(settings, control, stack)
        for chore in _chores(settings, control, reason, then):
            stack.push_async_callback(_cancelled, chore)
        _tell(settings, control)
        yield control


def _tell(settings: Settings, control: Control) -> None:
    logger.info(
        "serving url=%s management=%s spawner=%s mode=%s routing=%s notebooks=%d",
        settings.origin,
        settings.management_listen,
        control.spawner.name,
        control.spawner.mode,
        settings.routing,
        len(control.catalogue.notebooks()),
    )
    if settings.origin.startswith("http:"):
        logger.warning(
            "plain http: browsers send no cookie from another site's frame, so links of an LMS "
            "do not work there, and whoever is on the way can read sessions; docs/operating.md "
            "has https"
        )


def _chores(
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


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
