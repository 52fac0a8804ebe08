"""Containers that have to go: removed, or out of the way until they can be.

Engines fail to remove a container while something on the host holds its files, and a container that
is there holds its name. Such a one gets another name, under which nobody looks for the notebook's
server, and is removed later.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Any

from gateway.spawners.base import ServerState
from gateway.spawners.containers import Containers
from gateway.spawners.docker_facts import has_own_name, moment, state_of
from gateway.spawners.docker_spec import SLUG
from gateway.spawners.engine import EngineRefused

log = logging.getLogger(__name__)

Json = dict[str, Any]

_PAUSES = (0.0, 0.2, 0.6, 1.8)
_UNDER_REMOVAL = 10.0
_LEFT_OVER = {"created": "never started", "dead": "dead"}


class Removal:
    """Removes containers of one engine, by id."""

    def __init__(self, containers: Containers, pauses: Sequence[float] = _PAUSES) -> None:
        """Remember how long to wait.

        Args:
            containers: of the engine.
            pauses: seconds before each attempt.
        """
        self._containers = containers
        self._pauses = pauses

    async def remove(self, container: str, slug: str) -> bool:
        """Remove it; where the engine cannot, after some attempts, set it aside.

        Returns whether it is gone.

        Raises:
            EngineRefused: it could not be set aside either.
            EngineUnavailable.
        """
        if await self.tried(container):
            return True
        return await self.set_aside(container, slug)

    async def tried(self, container: str) -> bool:
        """Try to remove it, some times; return whether it is gone."""
        for pause in self._pauses:
            await asyncio.sleep(pause)
            try:
                await self._containers.remove(container)
            except EngineRefused as error:
                log.info("cannot be removed container=%s reason=%s", container[:12], error)
                if error.conflict:  # another gateway removes it at this moment
                    await self._containers.gone(container, _UNDER_REMOVAL)
            else:
                return True
        return False

    async def finished(self, container: str, slug: str) -> None:
        """Wait for a removal that is under way; set the container aside where it takes too long."""
        if not await self._containers.gone(container, _UNDER_REMOVAL):
            await self.set_aside(container, slug)

    async def set_aside(self, container: str, slug: str) -> bool:
        """Free the name; return whether the container is gone by now."""
        if not await self._containers.rename(container, aside_name(container, slug)):
            return True
        log.warning("set aside, to be removed later slug=%s container=%s", slug, container[:12])
        return False

    async def ended(self, installation: str, name: str, error: EngineRefused) -> Json:
        """Return the list's item of a container that the engine cannot inspect.

        Args:
            installation: whose it is.
            name: its own name, or its id.
            error: the engine's, of the inspection.

        Raises:
            EngineRefused: it is not there, or runs.
            EngineUnavailable.
        """
        for item in await self._containers.of(installation):
            if has_own_name(item) and name in (item["Id"], item["Labels"][SLUG]):
                if state_of(item["State"]) in (ServerState.RUNNING, ServerState.PAUSED):
                    break
                return item
        raise error

    async def clear(self, installation: str, name: str, error: EngineRefused) -> None:
        """Remove a container that the engine cannot inspect, or set it aside; see `ended`."""
        item = await self.ended(installation, name, error)
        await self.remove(item["Id"], item["Labels"][SLUG])

    async def swept(
        self, installation: str, now: datetime, grace: float
    ) -> AsyncIterator[tuple[Json, str]]:
        """Remove an installation's leftovers; give each that is gone, and why it was one.

        Arguments as for leftover.
        """
        for item in await self._containers.of(installation):
            stays = state_of(item["State"]) in (ServerState.RUNNING, ServerState.PAUSED)
            # What ended under its own name is no leftover: most are, and need no further look.
            stays = stays or (item["State"] == "exited" and has_own_name(item))
            data = None if stays else await self._looked_at(item["Id"])
            why = "" if data is None else leftover(data, now, grace)
            if data is not None and why and await self.tried(data["Id"]):
                yield data, why

    async def _looked_at(self, container: str) -> Json | None:
        """Return the engine's answer about a container; None where it has none."""
        try:
            return await self._containers.find(container)
        except EngineRefused as error:
            log.info("cannot be looked at container=%s reason=%s", container[:12], error)
            return None


def aside_name(container: str, slug: str) -> str:
    """Return the name of a container that could not be removed."""
    return f"{slug}-gone-{container[:12]}"


def leftover(data: Json, now: datetime, grace: float) -> str:
    """Return why an inspected container is no use to anybody; "" where it is to stay.

    What runs or is paused stays, whatever its name; so does what has ended and was kept.

    Args:
        data: the engine's answer.
        now: by the engine's clock.
        grace: seconds that have to have passed since something happened to it.
    """
    state = data["State"]
    slug = (data["Config"].get("Labels") or {}).get(SLUG, "")
    why = _LEFT_OVER.get(state["Status"], "")
    if state["Status"] == "exited" and data["Name"] == f"/{aside_name(data['Id'], slug)}":
        why = "could not be removed before"
    times = (data.get("Created"), state.get("StartedAt"), state.get("FinishedAt"))
    last = max(filter(None, (moment(text or "") for text in times)), default=now.astimezone(UTC))
    old = (now - last).total_seconds() >= grace
    return why if slug and old else ""
