"""What a server does, asked of the server itself, in ways that it does not count as use.

Its `/api/status` tells no more than that somebody asked it something: Lab's polling keeps that
young for ever. So kernels and terminals are asked, each for itself. The answers are the notebook's
own and may be anything: they are bounded, and what is no time is no time.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import aiohttp

from routes.keys import Target

_DEADLINE = 5.0
_LARGEST = 1 << 20
_NO_TRACK = {"no_track_activity": "1"}

FOREGROUND: Final = """
for file in /proc/[0-9]*/stat; do
  { read -r line < "$file"; } 2>/dev/null || continue
  set -- ${line##*) }
  [ "$5" != 0 ] && [ "$3" = "$6" ] && [ "$3" != "$4" ] || continue
  parent=$2
  while [ "$root" != 0 ] && [ "$parent" != "$root" ] && [ "$parent" -gt 1 ]; do
    { read -r line < "/proc/$parent/stat"; } 2>/dev/null || break
    set -- ${line##*) }
    parent=$2
  done
  [ "$root" = 0 ] || [ "$parent" = "$root" ] && exit 0
done
exit 1
"""
"""Ends with 0 while a program is in the foreground of a terminal: in some terminal, a process
group other than its shell's is the foreground one (proc(5), stat: pgrp, session, tty_nr, tpgid)."""


def foreground_command(root: int) -> list[str]:
    """Return the command that finds a terminal's running program.

    Args:
        root: only below this process; 0 where all processes that can be seen are the server's.
    """
    return ["sh", "-c", f"root={root}\n{FOREGROUND}"]


@dataclass(frozen=True, slots=True)
class Usage:
    """What a server told.

    Attributes:
        busy: whether a kernel computes.
        kernels: when a kernel last did something, UTC; None without kernels.
        terminals: how many there are.
        output: when a terminal last printed something, UTC; None without terminals.
    """

    busy: bool = False
    kernels: datetime | None = None
    terminals: int = 0
    output: datetime | None = None


class UsageProbe:
    """Asks servers what they do. Nothing is kept open between two questions.

    Args:
        deadline: seconds for an answer.
    """

    def __init__(self, deadline: float = _DEADLINE) -> None:
        self._deadline = aiohttp.ClientTimeout(total=deadline)
        self._session: aiohttp.ClientSession | None = None

    async def ask(self, target: Target, base_url: str, secret: str) -> Usage | None:
        """Return what the server told; None if it did not answer as a Jupyter server does.

        Args:
            target: where it listens.
            base_url: its prefix; begins and ends with `/`.
            secret: its hop secret.
        """
        host = f"[{target.host}]" if ":" in target.host else target.host
        root = f"http://{host}:{target.port}{base_url}api/"
        kernels, terminals = await asyncio.gather(
            self._list(f"{root}kernels", secret), self._list(f"{root}terminals", secret)
        )
        if kernels is None or terminals is None:
            return None
        return usage_of(kernels, terminals)

    async def busy(self, url: str) -> bool | None:
        """Return whether a check of the project's answers with 200; None without any answer.

        It gets no secret, is not followed anywhere, and what it says besides is not read.
        """
        try:
            async with self._client().get(url, allow_redirects=False) as answer:
                return answer.status == 200
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError):
            return None

    async def close(self) -> None:
        """Close the HTTP client."""
        if self._session is not None:
            await self._session.close()

    async def _list(self, url: str, secret: str) -> list[Any] | None:
        try:
            async with self._client().get(
                url,
                params=_NO_TRACK,
                headers={"Authorization": f"token {secret}"},
                allow_redirects=False,
            ) as answer:
                if answer.status == 404:
                    return []  # it has none of these at all, e.g. no terminals
                return await _parsed(answer) if answer.status == 200 else None
        except (aiohttp.ClientError, OSError, TimeoutError):
            return None

    def _client(self) -> aiohttp.ClientSession:
        # As readiness.py's: an address may be another server's next time.
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=self._deadline,
                connector=aiohttp.TCPConnector(force_close=True, limit=0),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session


async def _parsed(answer: aiohttp.ClientResponse) -> list[Any] | None:
    body = bytearray()
    async for chunk in answer.content.iter_any():
        body += chunk
        if len(body) > _LARGEST:
            return None
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return parsed if isinstance(parsed, list) else None


def usage_of(kernels: Iterable[Any], terminals: Iterable[Any]) -> Usage:
    """Return what the models of kernels and terminals say; what is no model is passed over."""
    kernels = [one for one in kernels if isinstance(one, dict)]
    terminals = [one for one in terminals if isinstance(one, dict)]
    return Usage(
        busy=any(one.get("execution_state") == "busy" for one in kernels),
        kernels=_latest(kernels),
        terminals=len(terminals),
        output=_latest(terminals),
    )


def _latest(models: Iterable[dict[str, Any]]) -> datetime | None:
    times = (_time(one.get("last_activity")) for one in models)
    return max((time for time in times if time is not None), default=None)


def _time(text: object) -> datetime | None:
    try:
        time = datetime.fromisoformat(text) if isinstance(text, str) else None
        if time is None:
            return None
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
