"""What is done to a single container or image, with the engine's odd answers made plain.

"Already gone" and "on its way out" are success here. Which container may be touched, and when, is
docker.py's to know.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from gateway.errors import EngineError, EngineUnavailable, ImageMissing
from gateway.spawners.docker_spec import Image, image_from
from gateway.spawners.engine import DEADLINE, Engine, EngineRefused

_REMOVAL_DEADLINE = 60.0

Json = dict[str, Any]


class Containers:
    """Containers on one engine, by name or id."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def image(self, name: str) -> Image:
        """Return what matters about an image.

        Raises:
            ImageMissing: it is not on the engine.
        """
        try:
            return image_from(await self._engine.call(lambda api: api.inspect_image(name)))
        except EngineRefused as error:
            if error.missing:
                raise ImageMissing(name) from error
            raise

    async def find(self, name: str) -> Json | None:
        """Return the engine's answer about a container; None when there is none."""
        try:
            data: Json = await self._engine.call(lambda api: api.inspect_container(name))
        except EngineRefused as error:
            if error.missing:
                return None
            raise
        return data

    async def create(self, config: Json, name: str) -> str | None:
        """Make a container and return its id; None when the name is taken.

        Raises:
            ImageMissing: the image went away in the meantime.
        """
        try:
            made = await self._engine.call(
                lambda api: api.create_container_from_config(config, name=name)
            )
        except EngineRefused as error:
            if error.conflict:
                return None
            if error.missing and error.says("no such image"):
                raise ImageMissing(config["Image"]) from error
            raise
        return str(made["Id"])

    async def stop(self, container: str, grace: float) -> None:
        """SIGTERM, SIGKILL after `grace` seconds (rounded up), and wait until it has ended."""
        try:
            await self._engine.call(
                lambda api: api.stop(container, timeout=math.ceil(grace)),
                slow=True,
                deadline=grace + DEADLINE,
            )
        except EngineRefused as error:
            if not error.missing:
                raise

    async def pause(self, container: str) -> None:
        """Freeze it; a frozen one stays so.

        Raises:
            EngineRefused: it does not run, or the engine cannot.
        """
        await self._change(lambda api: api.pause(container), "already paused")

    async def unpause(self, container: str) -> None:
        """Let it go on; one that is not frozen, or gone, is left alone."""
        try:
            await self._change(lambda api: api.unpause(container), "not paused", "not running")
        except EngineRefused as error:
            if not error.missing:
                raise

    async def _change(self, ask: Callable[[Any], None], *fine: str) -> None:
        try:
            await self._engine.call(ask)
        except EngineRefused as error:
            if not error.says(*fine):
                raise

    async def remove(self, container: str) -> None:
        """Remove a container with its anonymous volumes, and wait until it is gone."""
        try:
            await self._engine.call(
                lambda api: api.remove_container(container, v=True, force=True), slow=True
            )
        except EngineRefused as error:
            if not error.missing and not error.conflict:
                raise
            await self.gone(container)

    async def gone(self, container: str) -> None:
        """Wait until a container that is being removed is gone.

        Raises:
            EngineError: the engine does not get it done.
        """
        try:
            await self._engine.call(
                lambda api: api.wait(container, timeout=_REMOVAL_DEADLINE, condition="removed"),
                slow=True,
                deadline=_REMOVAL_DEADLINE + DEADLINE,
            )
        except EngineUnavailable as error:
            raise EngineError(
                f"container {container[:12]} has been under removal for {_REMOVAL_DEADLINE:g} s; "
                f"look at the engine's log"
            ) from error
        except EngineRefused as error:
            if not error.missing:
                raise

    async def logs(self, container: str, lines: int) -> str:
        """Return the last `lines` lines of output; "" when the container is gone."""
        try:
            output: bytes = await self._engine.call(
                lambda api: api.logs(container, tail=lines, stdout=True, stderr=True), slow=True
            )
        except EngineRefused as error:
            if error.missing or error.conflict:
                return ""
            raise
        return output.decode(errors="replace")
