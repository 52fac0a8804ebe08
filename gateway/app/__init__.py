"""The only composition root: Settings → a running gateway.

Control (control.py, over base.py) owns what is durable; listeners.py serves it. Control and the
data path live in one event loop here and talk through the Gate protocol.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable

from gateway import logs
from gateway.app.base import make_folders
from gateway.app.chores import each
from gateway.app.control import Control, Tables, open_control
from gateway.app.engine import adopt_now
from gateway.app.housekeeping import all_chores
from gateway.app.listeners import serve_management, serve_pages, serve_public
from gateway.loop import heed_signals
from gateway.loop import run as run_loop
from gateway.settings import Settings
from routes.apachedb import mend

logger = logging.getLogger(__name__)

Prepare = Callable[[Settings, Control], Awaitable[None]]
"""Is done once the gateway listens; for programs that put something into it, e.g. a benchmark."""

ServeDataPath = Callable[[Settings, Control, contextlib.AsyncExitStack], Awaitable[None]]


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
        for chore in all_chores(settings, control, reason, then):
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


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
