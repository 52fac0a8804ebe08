"""Routes of nbgate-proxy that outlive it, in a route file and its companion.

The companion has all of them, as `nbgate serve` has its own (routes/pair.py), and is what is read
at the start; the route file is for httpd. It is imported only where routes are to be kept: it
needs libgdbm, and a folder to write to.
"""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path
from urllib.parse import unquote

from gateway.chp.book import Record, RouteBook
from gateway.errors import InvalidInput
from routes import extras
from routes.errors import RouteFileError
from routes.keys import InvalidKey, InvalidTarget, canonical_key
from routes.pair import Kept, RoutePair, publisher_of
from routes.plain import plainly
from routes.trailing import Trailing

logger = logging.getLogger(__name__)

_READABLE = 0o644


class FileKeeper:
    """Keeps routes; see gateway.chp.book.Keeper.

    Args:
        pair: the files.
        name: of the route file, for the log.
        by_host: the first segment of a key is a host.
    """

    def __init__(self, pair: RoutePair, name: str, *, by_host: bool) -> None:
        self._files = Trailing(pair.write, name)
        self._by_host = by_host

    def note(self, record: Record) -> None:
        """See Keeper."""
        target = record.relay.entry.target
        plain = str(target) if target is not None and target.plain else None
        kept = Kept(record.members + "}", _file_key(record, by_host=self._by_host), plain)
        self._files.note(name_of(record.key), kept)

    def drop(self, record: Record) -> None:
        """See Keeper."""
        kept = Kept(None, _file_key(record, by_host=self._by_host))
        self._files.note(name_of(record.key), kept)

    async def flush(self) -> None:
        """See Keeper."""
        await self._files.flush()

    async def close(self) -> None:
        """Write what is left."""
        await self._files.close()


async def keep(
    book: RouteBook, path: Path, stack: contextlib.AsyncExitStack, *, by_host: bool
) -> None:
    """Put the routes that were kept into a book, and keep its routes from now on.

    Routes that the book has already win. `stack` writes what is left, and closes the files.

    Raises:
        InvalidInput: they cannot be read or written; one line for people.
    """
    companion = extras.beside(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        files = publisher_of(path, _READABLE, "route file", stack)
        kept = publisher_of(companion, extras.MODE, "companion of the route file", stack)
    except (RouteFileError, OSError) as error:
        told = error.strerror if isinstance(error, OSError) else None
        raise InvalidInput(f"--persist-routes: {path}: {told or error}") from error
    entries = kept.entries
    keeper = FileKeeper(RoutePair(files, kept), f"route file {path}", by_host=by_host)
    stack.push_async_callback(keeper.close)
    book.keeper = keeper
    for name, text in entries.items():
        _load(book, name.decode("ascii"), text)
    logger.info("Kept routes: %d from %s", len(book), path)


def name_of(key: str) -> str:
    """Return the companion's key of a route's key; only it tells apart what ends in slashes."""
    text = plainly(key.encode())
    bare = "/" + text[1:].rstrip("/")
    return bare + "%2F" * (len(text) - len(bare))


def key_of_name(name: str) -> str:
    """Return the route's key of a companion's key."""
    return unquote(name)


def _load(book: RouteBook, name: str, text: bytes) -> None:
    key = key_of_name(name)
    if book.get(key) is not None:
        return
    data = extras.object_of(text)
    try:
        if data is None:
            raise InvalidTarget(text, "is no JSON of a route")
        book.put(key, data)
    except (InvalidKey, InvalidTarget) as error:
        logger.warning("Kept route %s cannot be used: %s", key, error)


def _file_key(record: Record, *, by_host: bool) -> str:
    """Return the key in the route file; "" where the route is none for it."""
    place = record.relay.entry.key
    if not by_host or place == "/":
        return place if name_of(record.key) == place else ""
    try:
        return "" if "/" in place[1:] else canonical_key(place[1:])
    except InvalidKey:
        return ""
