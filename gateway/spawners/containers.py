"""What is done to a single container or image, with the engine's odd answers made plain.

"Already gone" and "on its way out" are success here. Which container may be touched, and when, is
docker.py's to know.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from gateway.errors import EngineError, EngineUnavailable, ImageMissing
from gateway.spawners.bounded import ways
from gateway.spawners.docker_spec import COMPOSE_PROJECT, INSTALLATION, ROLE, Image, image_from
from gateway.spawners.engine import DEADLINE, Engine, EngineRefused

_FIRST_LOOK = 0.05
_LAST_LOOK = 1.0
_NOT_RUN = (126, 127)  # a shell's words for "cannot be executed" and "not found"

log = logging.getLogger(__name__)

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
            if error.missing or error.says("invalid reference format"):
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

    async def of(self, installation: str) -> list[Json]:
        """Return the list's items of an installation's containers.

        Their state is not always the newest: one whose removal failed may be told as `removing`.
        """
        label = f"{INSTALLATION}={installation}"
        found: list[Json] = await self._engine.call(
            lambda api: api.containers(all=True, filters={"label": [label]})
        )
        return found

    async def httpd_of(self, gateway: Json) -> list[str]:
        """Return the ids of httpd's containers in the compose project of an inspected gateway."""
        project = (gateway["Config"].get("Labels") or {}).get(COMPOSE_PROJECT, "")
        labels = [f"{ROLE}=httpd", f"{COMPOSE_PROJECT}={project}"]
        found = await self._engine.call(lambda api: api.containers(filters={"label": labels}))
        return [item["Id"] for item in found]

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

    async def start(self, container: str) -> None:
        """Start it; one that runs is fine.

        Raises:
            EngineRefused: it is gone (`missing`), its network is (`network_missing`), or it cannot.
        """
        await self._engine.call(lambda api: api.start(container))

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
        """Remove a container with its anonymous volumes; one that is gone is fine.

        Raises:
            EngineRefused: the engine cannot, or is at it already (`conflict`).
        """
        try:
            await self._engine.call(
                lambda api: api.remove_container(container, v=True, force=True), slow=True
            )
        except EngineRefused as error:
            if not error.missing:
                raise

    async def gone(self, container: str, deadline: float) -> bool:
        """Wait until a container that is being removed is gone, or its removal has failed.

        Returns False where neither is so within `deadline` seconds.
        """
        try:
            await self._engine.call(
                lambda api: api.wait(container, timeout=deadline, condition="removed"),
                slow=True,
                deadline=deadline + DEADLINE,
            )
        except EngineUnavailable:
            return False
        except EngineRefused as error:
            if not error.missing:
                raise
        return True

    async def rename(self, container: str, name: str) -> bool:
        """Give it another name; return False where it is gone."""
        try:
            await self._engine.call(lambda api: api.rename(container, name))
        except EngineRefused as error:
            if error.missing:
                return False
            if not error.says("same name as its current"):
                raise
        return True

    async def run(self, container: str, command: Sequence[str], deadline: float) -> int | None:
        """Run a command in it, as its own user; return the exit code.

        None where it cannot be run or has not ended by `deadline` seconds; then it is killed from
        inside, where the image has the means; see bounded.py.
        """
        try:
            async with asyncio.timeout(deadline):
                code = await self._run_one_way(container, ways(command, deadline))
        except (TimeoutError, EngineError) as error:
            log.info("command not run container=%s reason=%s", container[:12], error or "deadline")
            return None
        return None if code in _NOT_RUN else code

    async def _run_one_way(self, container: str, commands: Iterable[Sequence[str]]) -> int | None:
        """Run the first one whose program the image has."""
        for command in commands:
            try:
                return await self._run(container, command)
            except EngineRefused as error:
                if not error.says("not found in"):
                    raise
                log.debug("not in the image container=%s program=%s", container[:12], command[0])
        return None

    async def _run(self, container: str, command: Sequence[str]) -> int:
        made = await self._engine.call(
            lambda api: api.exec_create(container, list(command), stdout=False, stderr=False)
        )
        await self._engine.call(lambda api: api.exec_start(made["Id"], detach=True))
        pause = _FIRST_LOOK
        while True:
            found = await self._engine.call(lambda api: api.exec_inspect(made["Id"]))
            if not found["Running"]:
                return int(found["ExitCode"])
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LAST_LOOK)

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
