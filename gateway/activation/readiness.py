"""The readiness probe: asks a server over HTTP, with its hop secret, until it answers as ours."""

from __future__ import annotations

import asyncio
import enum
import itertools
from collections.abc import Awaitable, Callable

import aiohttp

from routes.keys import Target

PROBE_INTERVAL = 0.1
_PROBE_DEADLINE = aiohttp.ClientTimeout(total=5.0)
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
        self._session: aiohttp.ClientSession | None = None

    async def ask(self, target: Target, base_url: str, secret: str) -> Answer:
        """Probe once."""
        host = f"[{target.host}]" if ":" in target.host else target.host
        url = f"http://{host}:{target.port}{base_url}api/status"
        try:
            async with self._client().get(
                url, headers={"Authorization": f"token {secret}"}, allow_redirects=False
            ) as answer:
                if answer.status in (401, 403, 404):
                    return Answer.REFUSED
                return Answer.READY if answer.status == 200 else Answer.NOT_YET
        except (aiohttp.ClientError, OSError, TimeoutError):
            return Answer.NOT_YET

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

    async def close(self) -> None:
        """Close the HTTP client."""
        if self._session is not None:
            await self._session.close()

    def _client(self) -> aiohttp.ClientSession:
        # Connections are not kept: a probed address may belong to another server next time.
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=_PROBE_DEADLINE, connector=aiohttp.TCPConnector(force_close=True, limit=0)
            )
        return self._session
