"""The readiness probe: asks a server over HTTP, with its hop secret, until it answers as ours."""

from __future__ import annotations

import asyncio
import enum
import itertools
import re
from collections.abc import Awaitable, Callable

from routes.keys import Target

PROBE_INTERVAL = 0.1
_PROBE_DEADLINE = 5.0
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([0-9]{3})[ \r]")  # RFC 9112, section 4
_LOOK_EVERY = 10


class Answer(enum.Enum):
    """What one probe found."""

    READY = "it accepts the hop secret"
    NOT_YET = "nobody listens, or it is still starting"
    REFUSED = "somebody answers but does not accept the hop secret"


class NotReady(Exception):
    """The server did not become ready; the text is one line that says why."""


class ReadinessProbe:
    """Probes servers at `<base_url>api/status`, which every Jupyter server protects.

    Args:
        interval: seconds between two probes of one server.
    """

    def __init__(self, interval: float = PROBE_INTERVAL) -> None:
        self._interval = interval

    async def ask(self, target: Target, base_url: str, secret: str) -> Answer:
        """Probe once, by a new connection: the address may be another server's next time."""
        try:
            async with asyncio.timeout(_PROBE_DEADLINE):
                status = await _status(target, f"{base_url}api/status", secret)
        except (OSError, TimeoutError, ValueError):
            return Answer.NOT_YET
        if status in (401, 403, 404):
            return Answer.REFUSED
        return Answer.READY if status == 200 else Answer.NOT_YET

    async def wait(
        self,
        target: Target,
        base_url: str,
        secret: str,
        timeout: float,
        why_dead: Callable[[], Awaitable[str | None]],
    ) -> None:
        """Return when the server is ready.

        Args:
            target: where it listens.
            base_url: its prefix.
            secret: its hop secret.
            timeout: seconds.
            why_dead: asked now and then; one line when the server has ended, None while it runs.

        Raises:
            NotReady: it ended, answers as somebody else, or time is up.
        """
        answer = Answer.NOT_YET
        try:
            async with asyncio.timeout(timeout):
                for attempt in itertools.count(1):
                    answer = await self.ask(target, base_url, secret)
                    if answer is Answer.READY:
                        return
                    reason = await why_dead() if attempt % _LOOK_EVERY == 0 else None
                    if reason is not None:
                        raise NotReady(reason)
                    await asyncio.sleep(self._interval)
        except TimeoutError:
            pass
        if answer is Answer.REFUSED:
            raise NotReady("what answers at its address does not accept its secret")
        raise NotReady(f"it was not ready within {timeout:g} s")


async def _status(target: Target, path: str, secret: str) -> int:
    """Ask with the secret; return the status of the answer, whose rest is nobody's business.

    A client of HTTP costs several times as much, ten times a second for each start, in the loop
    that serves everybody.

    Raises:
        OSError: nobody answers.
        ValueError: what answers is no HTTP.
    """
    reader, writer = await asyncio.open_connection(target.host, target.port)
    try:
        host = f"[{target.host}]" if ":" in target.host else target.host
        writer.write(
            f"GET {path} HTTP/1.1\r\nHost: {host}:{target.port}\r\n"
            f"Authorization: token {secret}\r\nConnection: close\r\n\r\n".encode()
        )
        found = _STATUS_LINE.match(await reader.readline())
    finally:
        writer.close()
    if found is None:
        raise ValueError("no status line of HTTP")
    return int(found[1])
