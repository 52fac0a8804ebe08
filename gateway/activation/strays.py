"""What is on the engine and no notebook has use for: told, and what has ended is removed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

from gateway.activation.adoption import is_kept
from gateway.activation.lifecycle import Lifecycle
from gateway.errors import EngineError, EngineUnavailable
from gateway.notebooks.catalogue import Catalogue
from gateway.spawners.base import Server, ServerState, Spawner

logger = logging.getLogger(__name__)


class Strays:
    """Removes servers that ended by themselves, or whose notebook is gone, after a while.

    Their logs can be read until then. What runs is never touched: a database that was put back
    from a backup may know it again.

    Args:
        spawner: of the engine.
        catalogue: the notebooks.
        lifecycle: has the locks.
        grace: seconds.
        clock: monotonic seconds.

    Attributes:
        count: servers without a notebook.
    """

    def __init__(
        self,
        spawner: Spawner,
        catalogue: Catalogue,
        lifecycle: Lifecycle,
        grace: float,
        clock: Callable[[], float],
    ) -> None:
        self._spawner = spawner
        self._catalogue = catalogue
        self._lifecycle = lifecycle
        self._grace = grace
        self._clock = clock
        self._since: dict[str, float] = {}
        self.count = 0

    async def sweep(self, servers: Mapping[str, Server]) -> Sequence[str]:
        """Remove what has had its time; return one line for each. Raises EngineUnavailable.

        Args:
            servers: all on the engine, by slug.
        """
        unowned = [one for slug, one in servers.items() if self._catalogue.find(slug) is None]
        for server in unowned:
            if server.id not in self._since:
                logger.warning("server without a notebook name=%s", server.slug)
        self.count = len(unowned)
        now, useless = self._clock(), [one for one in servers.values() if self._is_over(one)]
        seen = useless + unowned
        self._since = {server.id: self._since.get(server.id, now) for server in seen}
        due = [one for one in useless if now - self._since[one.id] >= self._grace]
        return [line for server in due if (line := await self._tried(server))]

    def _is_over(self, server: Server) -> bool:
        """Whether it has ended and no start will use it."""
        notebook = self._catalogue.find(server.slug)
        ended = server.state is ServerState.EXITED
        return ended and (notebook is None or not is_kept(notebook, server))

    async def _tried(self, server: Server) -> str:
        """Remove it; one that the engine cannot remove keeps none behind it."""
        try:
            return await self._remove(server)
        except EngineUnavailable:
            raise
        except EngineError as error:
            logger.warning("stays on the engine name=%s reason=%s", server.slug, error)
            return ""

    async def _remove(self, server: Server) -> str:
        lock = self._lifecycle.lock(server.slug)
        if lock.locked():
            return ""  # who is at it may take long, and the next list finds what it leaves
        async with lock:
            now = await self._spawner.inspect(server.slug)
            if now is None or now.id != server.id or not self._is_over(now):
                return ""
            await self._spawner.stop(now, 0.0)
        return f"{server.slug} {server.id[:12]}, ended"
