"""File descriptors: as many as this process may have, and a line in the log when they run out.

Each connection takes one at the client's side and mostly one at the server's. Without any left,
who is connected is served on; new connections are closed by the event loop, silently.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import resource

logger = logging.getLogger(__name__)

_LOOK_SECONDS = 2.0
_SCARCE, _ENOUGH = 2, 16


def raise_limit() -> None:
    """Raise the soft limit to the hard one, where the system lets us."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class Watch:
    """Tells, once, that descriptors have run out, and that there are enough again."""

    def __init__(self) -> None:
        self._scarce = False

    def look(self) -> bool:
        """Look once; return whether they are scarce."""
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        if self._scarce and _can_have(_ENOUGH):
            self._scarce = False
            logger.info("file descriptors suffice again limit=%d", limit)
        elif not self._scarce and not _can_have(_SCARCE):
            self._scarce = True
            logger.error(
                "no file descriptors left, new connections are closed limit=%d; raise it: "
                "LimitNOFILE= (systemd), --ulimit nofile= (docker), ulimit -n (a shell)",
                limit,
            )
        return self._scarce

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            self.look()
            await asyncio.sleep(_LOOK_SECONDS)


def _can_have(number: int) -> bool:
    """Whether so many more can be had now. It asks for them: counting takes longer."""
    with contextlib.ExitStack() as stack:
        try:
            for _ in range(number):
                stack.callback(os.close, os.open(os.devnull, os.O_RDONLY))
        except OSError:
            return False
    return True
