"""Building images on the engine, with progress."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from gateway.errors import EngineError, InvalidInput
from gateway.spawners.engine import Engine

_DEADLINE = 3600.0
_SILENCE = 900


async def build_image(
    engine: Engine,
    context: Path,
    tag: str,
    base_image: str | None,
    progress: Callable[[str], None],
) -> None:
    """Build the Dockerfile in `context` and tag the result.

    Args:
        engine: where to build.
        context: folder with the Dockerfile.
        tag: name of the image, e.g. `nbgate/jupyter:latest`.
        base_image: build argument BASE_IMAGE; None means the Dockerfile's own.
        progress: called in the event loop with each line of the build's output.

    Raises:
        InvalidInput: there is no Dockerfile.
        EngineError: the build failed; the text has its last words.
    """
    if not await asyncio.to_thread((context / "Dockerfile").is_file):
        raise InvalidInput(f"there is no Dockerfile in {context}")
    arguments = {"BASE_IMAGE": base_image} if base_image else {}
    loop = asyncio.get_running_loop()

    def build(api: Any) -> None:
        events = api.build(
            path=str(context),
            tag=tag,
            buildargs=arguments,
            network_mode="host",  # package indexes are reached as the host reaches them
            decode=True,
            rm=True,
            forcerm=True,
            timeout=_SILENCE,
        )
        for line in build_lines(events):
            loop.call_soon_threadsafe(progress, line)

    await engine.call(build, slow=True, deadline=_DEADLINE)


def build_lines(events: Iterator[dict[str, Any]]) -> Iterator[str]:
    """Return the lines that people read of the engine's build events.

    They are read to their end even if the build failed: only then is the connection given back.

    Raises:
        EngineError: an event says that the build failed.
    """
    failure = None
    for event in events:
        failure = failure or event.get("error")
        text = event.get("stream") or _pull_line(event)
        yield from (line for line in text.splitlines() if line.strip())
    if failure is not None:
        raise EngineError(f"the image could not be built: {str(failure).strip()}")


def _pull_line(event: dict[str, Any]) -> str:
    """Return the line for one event of pulling the base image; "" for bare progress bars."""
    if not event.get("status") or event.get("progressDetail"):
        return ""
    return " ".join(filter(None, [event.get("id", ""), event["status"]]))
