"""The route file and the companion with JSON, written as one.

They are two files, so a crash can fall between them, and where they differ the route file is
right. The order sees to it that what is then read of a key is what was there before, what is there
afterwards, or nothing: no route in the route file has lost its JSON.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from routes.apachedb import ApacheDB
from routes.content import Changes
from routes.errors import DamagedDatabase
from routes.extras import object_of
from routes.files import aside, read
from routes.keys import InvalidTarget, checked_text, parse_target
from routes.publisher import Publisher

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Kept:
    """What the two files are to have about one route.

    Attributes:
        extras: its JSON, for the companion; None for nothing.
        key: in the route file; "" where that is to be left alone.
        target: there; None for no such route.
    """

    extras: str | None
    key: str = ""
    target: str | None = None


class RoutePair:
    """Writes both.

    Args:
        routes: of the route file.
        extras: of the companion; None for no companion.
    """

    def __init__(self, routes: Publisher, extras: Publisher | None) -> None:
        self._routes = routes
        self._extras = extras

    async def write(self, changes: Mapping[str, Kept]) -> None:
        """Write changes by the companion's keys. Raises as Publisher.update."""
        if self._extras is not None:
            await _change(self._routes, self._replaced(changes))
            await _change(self._extras, _texts(changes))
        in_file = {kept.key: kept.target for kept in changes.values() if kept.key}
        await _change(self._routes, {key.encode(): _bytes(text) for key, text in in_file.items()})
        if self._extras is not None:
            gone = (key for key, kept in changes.items() if kept.extras is None)
            await _change(self._extras, {key.encode(): None for key in gone})

    def _replaced(self, changes: Mapping[str, Kept]) -> Changes:
        """Return the route file's entries that would outlive their JSON, as changes."""
        told = ((kept.key.encode(), kept) for kept in changes.values() if kept.key and kept.extras)
        present = ((key, self._routes.get(key), _bytes(kept.target)) for key, kept in told)
        return {key: None for key, old, new in present if old not in (None, new)}


def open_derived(path: Path, mode: int, what: str) -> ApacheDB:
    """Open a companion of the route file; a damaged one is set aside, and a new one made.

    Args:
        path: the file.
        mode: its permission bits.
        what: it is, for the log.

    Raises:
        DatabaseInUse, GdbmMissing, OSError: see ApacheDB.
    """
    try:
        return ApacheDB(path, mode, checked_text, derived=True)
    except DamagedDatabase as error:
        kept = path.replace(aside(path))
        with contextlib.suppress(PermissionError):  # somebody else's file
            kept.chmod(mode)
        logger.warning("made a new %s kept=%s reason=%s", what, kept, error.reason)
        return ApacheDB(path, mode, checked_text, derived=True)


def publisher_of(path: Path, mode: int, what: str, stack: contextlib.AsyncExitStack) -> Publisher:
    """Return a publisher of what `open_derived` opens; `stack` closes both."""
    database = open_derived(path, mode, what)
    stack.callback(database.close)
    publisher = Publisher(database)
    stack.push_async_callback(publisher.close)
    return publisher


def forget_kept(routes: ApacheDB, companion: Path) -> None:
    """Take the routes of a companion that is not to be used any more out of the route file.

    Args:
        routes: the route file.
        companion: its path; it is removed.
    """
    if not companion.exists():
        return
    with contextlib.suppress(DamagedDatabase), routes.batch():
        for key, text in read(companion).items():
            found = object_of(text)
            if found is not None and _is(routes.get(key), found["target"]):
                del routes[key]
    companion.unlink()
    logger.info("routes of an earlier run are forgotten file=%s", companion)


def _is(value: bytes | None, target: str) -> bool:
    try:
        return value is not None and parse_target(value) == parse_target(target)
    except InvalidTarget:
        return False


async def _change(publisher: Publisher, changes: Changes) -> None:
    if changes:
        await publisher.change(changes)


def _texts(changes: Mapping[str, Kept]) -> Changes:
    texts = ((key, kept.extras) for key, kept in changes.items())
    return {key.encode(): text.encode() for key, text in texts if text is not None}


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else text.encode()
