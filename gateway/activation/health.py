"""Health: whether servers that are ready still answer. It tells; it never stops anything.

A server that computes in its own process, or waits for a slow disk, may miss a probe: only several
in a row make it unhealthy, and one answer makes it healthy again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from gateway.activation.figures import HealthFigures
from gateway.activation.lifecycle import Lifecycle
from gateway.activation.readiness import Answer
from gateway.errors import GatewayError
from gateway.notebooks.model import Health
from gateway.proxy.interface import RouteEntry

logger = logging.getLogger(__name__)

_MISSES = 3
_REASONS = {
    Answer.NOT_YET: f"{_MISSES} probes in a row had no good answer",
    Answer.REFUSED: f"{_MISSES} times in a row, what answered did not accept its secret",
}


class HealthWatch:
    """Probes the servers behind hot routes.

    Args:
        lifecycle: asks servers, and keeps records.
        hot: returns the hot entries of notebooks.
        figures: what is measured.
        interval: seconds between two probes of one server.
        pause: waits for some seconds.
    """

    def __init__(
        self,
        lifecycle: Lifecycle,
        hot: Callable[[], Sequence[RouteEntry]],
        figures: HealthFigures,
        interval: float,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._lifecycle = lifecycle
        self._hot = hot
        self._figures = figures
        self._interval = interval
        self._pause = pause
        self._misses: dict[tuple[str, int], int] = {}
        self._probes: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Probe until cancelled: each server once in an interval, spread over it."""
        try:
            while True:
                entries = self._hot()
                known = {(entry.key, entry.generation) for entry in entries}
                self._misses = {one: n for one, n in self._misses.items() if one in known}
                if not entries:
                    await self._pause(self._interval)
                for entry in entries:
                    self._probe_soon(entry)
                    await self._pause(self._interval / len(entries))
        finally:
            for task in self._probes:
                task.cancel()
            await asyncio.gather(*self._probes, return_exceptions=True)

    def _probe_soon(self, entry: RouteEntry) -> None:
        task = asyncio.create_task(self._probe(entry), name=f"probe {entry.slug}")
        self._probes.add(task)
        task.add_done_callback(self._probed)

    def _probed(self, task: asyncio.Task[None]) -> None:
        self._probes.discard(task)
        if task.cancelled() or (error := task.exception()) is None:
            return
        if isinstance(error, GatewayError):
            logger.warning("health is not in the record reason=%s", error)
        else:
            logger.error("a probe failed", exc_info=error)

    async def _probe(self, entry: RouteEntry) -> None:
        answer = await self._lifecycle.ask(entry)
        if answer is None:
            return
        self._figures.probed(answered=answer is Answer.READY)
        which = (entry.key, entry.generation)
        if answer is Answer.READY:
            self._misses.pop(which, None)
            await self._lifecycle.record_health(entry, Health.HEALTHY, None)
            return
        self._misses[which] = self._misses.get(which, 0) + 1
        if self._misses[which] >= _MISSES:
            await self._lifecycle.record_health(entry, Health.UNHEALTHY, _REASONS[answer])
