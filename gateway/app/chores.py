"""What goes on until the gateway ends, whatever fails on the way."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable

from gateway.errors import GatewayError
from routes.errors import RouteFileError

logger = logging.getLogger(__name__)

_AGAIN_SECONDS = 5.0

Work = Callable[[], Awaitable[object]]


def lasting(name: str, work: Work, again: float = _AGAIN_SECONDS) -> asyncio.Task[None]:
    """Begin what goes on for ever, in a task; begin it anew, after a pause, where it fails.

    Args:
        name: of the task.
        work: never returns by itself.
        again: seconds.
    """
    return asyncio.create_task(_keep_going(name, work, again), name=name)


async def _keep_going(name: str, work: Work, again: float) -> None:
    while True:
        try:
            await work()
        except Exception:
            logger.exception("%s failed; it begins anew", name)
        await asyncio.sleep(again)


async def each(works: Iterable[tuple[str, Work]]) -> None:
    """Do one after the other; what fails is logged, and keeps none behind it from being done."""
    for name, work in works:
        try:
            await work()
        except (GatewayError, RouteFileError, OSError) as error:
            logger.warning("%s failed reason=%s", name, error)
        except Exception:
            logger.exception("%s failed", name)
