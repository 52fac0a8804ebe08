"""TLS contexts that follow their files: renewed ones are used without a restart.

One context is given to the listener and stays. At each handshake it hands over to the context
that holds the newest files (`SSLContext.sni_callback`, which is called without SNI too), so a pair
is in use whole or not at all. Loading a pair into a live context would not do: OpenSSL keeps one
certificate per kind of key there, so the old RSA one would outlive a change to ECDSA.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from gateway.errors import InvalidInput

logger = logging.getLogger(__name__)

_WATCH_SECONDS = 3.0

Mark = list[tuple[int, ...] | None]
Sleep = Callable[[float], Awaitable[None]]


class Renewed:
    """A context that follows its files.

    Args:
        what: it is made of, for the log.
        files: usable now.
        make: makes a context of them; raises InvalidInput where they cannot be used.

    Attributes:
        current: made of the newest usable files.

    Raises:
        InvalidInput: they cannot be used; one line for people.
    """

    def __init__(
        self, what: str, files: Sequence[Path], make: Callable[[], ssl.SSLContext]
    ) -> None:
        self._what = what
        self._files = files
        self._make = make
        self._seen = self._mark()
        self.current = make()

    def for_listener(self) -> ssl.SSLContext:
        """Return a context that hands over to `current` at each handshake."""
        context = self._make()
        context.sni_callback = self._choose
        return context

    def refresh(self) -> bool:
        """Load the files if they have changed; return whether there is a new context.

        What cannot be used is told once, and what is in use stays.
        """
        mark = self._mark()
        if mark == self._seen:
            return False
        self._seen = mark
        try:
            self.current = self._make()
        except InvalidInput as error:
            logger.warning("the new %s is not used, the old one stays: %s", self._what, error)
            return False
        logger.info("%s renewed", self._what)
        return True

    def _choose(
        self, connection: ssl.SSLObject | ssl.SSLSocket, name: str | None, context: ssl.SSLContext
    ) -> None:
        connection.context = self.current

    def _mark(self) -> Mark:
        return [_mark_of(file) for file in self._files]


def follow(
    renewed: Renewed, stack: contextlib.AsyncExitStack, then: Callable[[], None] = lambda: None
) -> None:
    """Look after the files until `stack` is left; do `then` after each renewal."""
    chore = asyncio.get_running_loop().create_task(watch(renewed, then), name="watch TLS files")
    stack.push_async_callback(_ended, chore)


async def watch(
    renewed: Renewed,
    then: Callable[[], None] = lambda: None,
    sleep: Sleep = asyncio.sleep,
    seconds: float = _WATCH_SECONDS,
) -> None:
    """Look after the files, for ever; do `then` after each renewal."""
    while True:
        await sleep(seconds)
        if await asyncio.to_thread(renewed.refresh):
            then()


async def _ended(chore: asyncio.Task[None]) -> None:
    chore.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await chore


def _mark_of(file: Path) -> tuple[int, ...] | None:
    """Return what changes when a file, or what a link leads to, does; None when it is not there."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
