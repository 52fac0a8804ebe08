"""Pulling images: one pull per image however many starts wait for it, bounded, with progress.

The engine does the work; what it says of it is read here. A pull belongs to the spawner, not to the
start that began it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass, field
from typing import Any

import docker.auth
import docker.errors
import docker.utils

from gateway.errors import EngineError, ImageMissing
from gateway.spawners.base import OnPull, Pull
from gateway.spawners.engine import Engine, EngineRefused
from gateway.spawners.engine_stream import JsonStream

log = logging.getLogger(__name__)

Json = dict[str, Any]

SILENCE = 120.0
_DEADLINE = 3600.0
_MARGIN = 5.0
_UNKNOWN = ("manifest unknown", "not found", "does not exist", "denied", "unauthorized", "no basic")
_UNREACHABLE = (
    "connection refused",
    "no such host",
    "i/o timeout",
    "timeout",
    "server misbehaving",
    "network is unreachable",
    "no route to host",
    "unexpected eof",
)
_COMPLETE = ("Download complete", "Pull complete")


class Progress:
    """How far a pull is, from the engine's lines about its layers."""

    def __init__(self) -> None:
        self._done: dict[str, int] = {}
        self._total: dict[str, int] = {}

    def take(self, line: Json) -> Pull | None:
        """Return the sums after one more line; None where it says nothing about bytes."""
        layer, status = line.get("id", ""), line.get("status", "")
        detail = line.get("progressDetail") or {}
        if status == "Downloading" and detail.get("total", 0) > 0:
            self._total[layer] = detail["total"]
            self._done[layer] = min(detail.get("current", 0), detail["total"])
        elif status in _COMPLETE and layer in self._total:
            self._done[layer] = self._total[layer]
        else:
            return None
        return self.sums

    @property
    def sums(self) -> Pull:
        """Bytes so far and in all, of the layers whose size is known."""
        return Pull(sum(self._done.values()), sum(self._total.values()))


@dataclass(slots=True, eq=False)
class _Pulling:
    """One pull under way, and who is told about it."""

    progress: Progress = field(default_factory=Progress)
    listeners: list[OnPull] = field(default_factory=list)
    task: asyncio.Task[None] | None = None


class Pulls:
    """The pulls under way on one engine."""

    def __init__(
        self, engine: Engine, silence: float = SILENCE, deadline: float = _DEADLINE
    ) -> None:
        """Start with none.

        Args:
            engine: pulls.
            silence: seconds without any news after which a pull is given up.
            deadline: seconds that it may take in all.
        """
        self._engine = engine
        self._silence = silence
        self._deadline = deadline
        self._running: dict[str, _Pulling] = {}

    async def get(self, image: str, on_pull: OnPull) -> None:
        """Pull an image, or wait for the pull that is under way.

        Raises:
            ImageMissing: no registry gives it; its reason is one line.
            EngineError: the engine cannot hold it.
            EngineUnavailable.
        """
        pulling = self._running.get(image)
        if pulling is None:
            pulling = self._running[image] = _Pulling()
            pulling.task = asyncio.create_task(self._pull(image, pulling), name=f"pull {image}")
            pulling.task.add_done_callback(lambda task: task.cancelled() or task.exception())
        assert pulling.task is not None
        on_pull(pulling.progress.sums)
        pulling.listeners.append(on_pull)
        try:
            await asyncio.shield(pulling.task)
        finally:
            pulling.listeners.remove(on_pull)

    async def close(self) -> None:
        """Give up what is under way."""
        tasks = [pulling.task for pulling in self._running.values() if pulling.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _pull(self, image: str, pulling: _Pulling) -> None:
        log.info("pulling image=%s", image)
        try:
            async with asyncio.timeout(self._deadline):
                await self._ask(image, pulling)
        except EngineRefused as error:
            raise failure(image, error.explanation) from error
        except TimeoutError as error:
            raise ImageMissing(image, f"not done within {self._deadline:g} s") from error
        finally:
            del self._running[image]
        log.info("pulled image=%s bytes=%d", image, pulling.progress.sums.total)

    async def _ask(self, image: str, pulling: _Pulling) -> None:
        try:
            repository, tag = docker.utils.parse_repository_tag(image)
            registry, _ = docker.auth.resolve_repository_name(repository)
        except (docker.errors.InvalidRepository, IndexError) as error:
            raise ImageMissing(image, "it is no image's name") from error
        query = {"fromImage": repository, "tag": tag or "latest"}

        def headers(client: Any) -> dict[str, str]:
            known = docker.auth.get_config_header(client, registry)
            return {"X-Registry-Auth": known.decode()} if known else {}

        async with contextlib.AsyncExitStack() as stack:
            try:
                async with asyncio.timeout(self._silence) as patience:
                    lines = await stack.enter_async_context(
                        self._engine.stream(
                            "POST", "/images/create", query, headers, self._silence + _MARGIN
                        )
                    )
                    await self._follow(image, pulling, lines, patience)
            except TimeoutError as error:
                raise ImageMissing(
                    image, f"its registry has sent nothing for {self._silence:g} s"
                ) from error

    async def _follow(
        self, image: str, pulling: _Pulling, lines: JsonStream, patience: asyncio.Timeout
    ) -> None:
        """Read the engine's lines to their end, telling who listens."""
        loop = asyncio.get_running_loop()
        async for line in lines:
            patience.reschedule(loop.time() + self._silence)
            if "error" in line:
                raise failure(image, str(line["error"]))
            told = pulling.progress.take(line)
            if told is not None:
                for listener in tuple(pulling.listeners):
                    listener(told)


def failure(image: str, words: str) -> EngineError:
    """Return the error for what the engine said about a pull."""
    plain = " ".join(words.split())
    lower = plain.lower()
    if "no space left" in lower:
        return EngineError(
            f"image {image!r} could not be pulled: the engine's disk is full; remove images that "
            f"are not used with `docker image prune`"
        )
    if any(word in lower for word in _UNREACHABLE):
        return ImageMissing(image, f"its registry cannot be reached ({plain})")
    if any(word in lower for word in _UNKNOWN):
        return ImageMissing(image, "its registry does not have it, or not for everybody")
    return ImageMissing(image, plain)
