"""The maps from which httpd admits people to their own hot notebooks, beside the route file.

Two of them: the edge id of a session → the person, and `/person/slug` → `1`, for owners alone.
Whoever is in neither is sent to the gateway, so a map that lags behind in who comes opens nothing.
Where those who go cannot be taken out, nobody is in it any more, and the gateway decides about all.
What httpd does with the maps is in httpd.conf; who is in them is decided elsewhere.

The maps are made like the map of secrets (secretmap.py): keys in the canonical form of routes, read
by owner and group alone, derived, with a seal. A key has no `|`: in a RewriteMap's key that begins
a default.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from routes import secretmap
from routes.content import Changes
from routes.errors import Overtaken
from routes.keys import InvalidKey, canonical_key
from routes.publisher import Publisher
from routes.stopgap import Stopgap
from routes.trailing import Trailing

logger = logging.getLogger(__name__)

EDGES = "edges.gdbm"
OWNERS = "owners.gdbm"
OWNS = "1"
"""What the map of owners has for a pair."""

EDGE_BYTES = 24
"""Of chance in an edge id, which is written in hexadecimal."""

WRITE_SECONDS = 1.0
"""How long who waits for an end at httpd waits until it is written; then everybody is taken out."""
WITHHOLD_SECONDS = 0.5
"""How long that may take; it is seen to later too, but then it is told."""

_LATE_SECONDS = 30.0

_EDGE = re.compile(rf"[0-9a-f]{{{2 * EDGE_BYTES}}}")
# Characters of a person that need no escape: as in X-Nbgate-User, and as httpd.conf takes them.
_SAFE = "@+,="


def beside(route_file: Path) -> tuple[Path, Path]:
    """Return where the maps of a route file are: edge ids, owners."""
    return route_file.with_name(EDGES), route_file.with_name(OWNERS)


def check(route_file: Path, wanted: bool) -> list[str]:
    """Return what is wrong with the maps of a route file; see secretmap.check."""
    return [line for path in beside(route_file) for line in secretmap.check(path, wanted)]


def is_edge(text: str) -> bool:
    """Whether `text` has the form of an edge id."""
    return _EDGE.fullmatch(text) is not None


def person(subject: str) -> str:
    """Return the form in which maps have a person: percent-encoded UTF-8."""
    return quote(subject, safe=_SAFE)


def pair(subject: str, slug: str) -> str | None:
    """Return the key that says that `subject` owns `slug`; None where there can be none.

    Then the gateway serves that notebook: to a person called `..`, for instance.
    """
    if not subject:
        return None
    try:
        key = canonical_key(f"/{person(subject)}/{slug}")
    except InvalidKey:
        return None
    return key if key == f"/{person(subject)}/{slug}" else None


class AdmissionMap:
    """One of the maps: the latest change of each key is written a moment later, until it is.

    Args:
        publisher: of the file.
        name: of the map, for the log.
        sleep: waits for some seconds.
        clock: monotonic seconds.
        patience: seconds that `enforce` gives writing.
    """

    def __init__(
        self,
        publisher: Publisher,
        name: str,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
        patience: float = WRITE_SECONDS,
    ) -> None:
        self._publisher = publisher
        self._name = name
        self._trailing: Trailing[bytes | None] = Trailing(self._write, name, sleep, clock)
        self._stopgap = Stopgap(publisher.path, secretmap.MODE, publisher.place)
        self._patience = patience
        self._out: set[bytes] = set()  # dropped, and not known to be out of the file
        self._withheld = False
        self._stale = False
        self._withholdings = 0
        self._placing: asyncio.Future[None] | None = None  # the latest
        # A thread of its own: who is out must not wait until there is room in another's.
        self._thread = ThreadPoolExecutor(1, "stopgap")
        self._turn = asyncio.Lock()
        self._flushes: set[asyncio.Task[None]] = set()

    @property
    def withheld(self) -> bool:
        """Whether nobody is in the file, since it could not be written."""
        return self._withheld and not self._stale

    @property
    def stale(self) -> bool:
        """Whether people are in the file who should not be, since nothing can be done about it."""
        return self._stale

    def prepare(self) -> None:
        """Have at hand what the file is replaced by when it cannot be written."""
        self._stopgap.prepare()

    @property
    def path(self) -> Path:
        """The file that httpd reads."""
        return self._publisher.path

    @property
    def entries(self) -> dict[bytes, bytes]:
        """A copy of what is in the file."""
        return self._publisher.entries

    def put(self, key: str, value: str) -> None:
        """Have an entry written; key and value are in the form that maps have."""
        self._out.discard(key.encode("ascii"))
        self._trailing.note(key, value.encode("ascii"))

    def drop(self, key: str) -> None:
        """Have an entry taken out."""
        self._out.add(key.encode("ascii"))
        self._trailing.note(key, None)

    def retain(self, keys: Iterable[str]) -> None:
        """Have everything else taken out that is in the file: it is of an earlier run."""
        wanted = {key.encode("ascii") for key in keys}
        for key in self._publisher.entries:
            if key not in wanted:
                self.drop(key.decode("ascii"))

    async def flush(self) -> None:
        """Return when httpd has all changes so far; it goes on if who waits for it goes away.

        Raises:
            RouteFileError, OSError, TimeoutError: it could not be; it will be tried again.
        """
        flush = self._begin_flush()
        await asyncio.wait({flush})
        flush.result()

    async def enforce(self) -> None:
        """Return when nobody is in the file who was dropped so far, in a second or two at most.

        Where that cannot be written in this time, nobody is in it at all until it can. Where not
        even that is possible, it is logged.
        """
        flush = self._begin_flush()
        await asyncio.wait({flush}, timeout=self._patience)
        if not flush.done():
            await self._withhold("it takes too long")
            return
        with contextlib.suppress(Exception):  # it is told, and withheld; see _write
            flush.result()

    async def rebuild(self, entries: Mapping[str, str] | None = None) -> Path | None:
        """Write a fresh file; return where a damaged one is kept, None if none was.

        `entries` None means what is known to have been written.
        """
        if entries is None:
            await self.flush()
        async with self._turn:
            kept = await self._replace(entries)
            if self._withheld:
                await self._put_back()
        return kept

    async def close(self) -> None:
        """Write what is left."""
        await self._trailing.close()
        if self._flushes:
            await asyncio.wait(self._flushes)
        self._thread.shutdown(wait=False)

    def _begin_flush(self) -> asyncio.Task[None]:
        """Begin to write all changes so far.

        Whoever stops waiting does not stop it: what is written must be looked at when it is there.
        """
        flush = asyncio.create_task(self._trailing.flush(), name="admission-flush")
        self._flushes.add(flush)
        flush.add_done_callback(self._flushed)
        return flush

    def _flushed(self, flush: asyncio.Task[None]) -> None:
        self._flushes.discard(flush)
        if not flush.cancelled():
            flush.exception()  # whoever waits gets it; who has gone does not

    async def _write(self, changes: Mapping[str, bytes | None]) -> None:
        stored = {key.encode("ascii"): new for key, new in changes.items()}
        async with self._turn:
            try:
                await self._change(stored)
                self._out = self._still_in()
                if self._withheld:
                    await self._put_back()
            except Exception as error:
                if self._takes_out(stored):
                    await self._withhold(str(error) or type(error).__name__)
                raise

    async def _replace(self, entries: Mapping[str, str] | None) -> Path | None:
        """Do what `rebuild` does; anew if the file was emptied meanwhile."""
        while True:
            await self._reopen()
            with contextlib.suppress(Overtaken):
                return await self._publisher.replace(self._without_out(entries))

    async def _change(self, changes: Changes) -> None:
        """Write changes, and that who is out by now is; anew if the file was emptied meanwhile."""
        while True:
            await self._reopen()
            with contextlib.suppress(Overtaken):
                await self._publisher.change({**changes, **dict.fromkeys(self._out)})
                return

    def _still_in(self) -> set[bytes]:
        """Return who was dropped, but was in the file when it was last written."""
        return {key for key in self._out if self._publisher.get(key) is not None}

    def _without_out(self, entries: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return entries, None for those known to have been written, without who was dropped."""
        if entries is None:
            known = self._publisher.entries.items()
            entries = {key.decode("ascii"): value.decode("ascii") for key, value in known}
        return {key: one for key, one in entries.items() if key.encode("ascii") not in self._out}

    def _takes_out(self, changes: Changes) -> bool:
        """Whether somebody may be in the file who is not to be."""
        return any(self._publisher.get(key) not in (None, new) for key, new in changes.items())

    async def _withhold(self, reason: str) -> None:
        """Let nobody be in the file, until it is written again."""
        told, self._withheld = self._withheld, True
        self._withholdings += 1
        loop = asyncio.get_running_loop()
        placing = self._placing = loop.run_in_executor(self._thread, self._stopgap.put_in_place)
        placing.add_done_callback(lambda _: self._was_placed(placing, reason, told))
        await asyncio.wait({placing}, timeout=WITHHOLD_SECONDS)
        if not placing.done():
            self._cannot_withhold(reason, TimeoutError("the disk does not answer"))

    def _was_placed(self, placing: asyncio.Future[None], reason: str, told: bool) -> None:
        """Take note that nobody is in the file, in time or not, or that this could not be."""
        error = placing.exception()
        if error is not None:
            self._cannot_withhold(reason, error)
            return
        if not told or self._stale:
            logger.error(
                "%s: emptied, since it cannot be written: until it can, httpd sends everybody "
                "through the gateway; make room on its disk file=%s reason=%s",
                *(self._name, self.path, reason),
            )
        self._stale = False
        self._prepare_again()  # what is being written now may have to be replaced as well

    def _cannot_withhold(self, reason: str, error: BaseException) -> None:
        if not self._stale:
            logger.error(
                "%s: can be neither written nor removed, so httpd goes on admitting who was in "
                "it; stop httpd, or make the folder writable file=%s reason=%s error=%s",
                *(self._name, self.path, reason, error),
            )
        self._stale = True

    def _prepare_again(self) -> asyncio.Future[None]:
        # Not in the thread of `_withhold`, which must not wait for a slow disk's syncing.
        return asyncio.get_running_loop().run_in_executor(None, self._stopgap.prepare)

    async def _put_back(self) -> None:
        """Have everybody in the file again who is to be.

        The file that has just been written may have been emptied since, and so may be the one
        that is written here.
        """
        seen = None
        while seen != self._withholdings:
            seen = self._withholdings
            await self._reopen()
            with contextlib.suppress(Overtaken):
                await self._publisher.replace(self._without_out())
            self._out = self._still_in()
        self._withheld = self._stale = False
        logger.warning("%s: httpd admits people by it again file=%s", self._name, self.path)
        await asyncio.wait({self._prepare_again()}, timeout=_LATE_SECONDS)

    async def _reopen(self) -> None:
        """Let in what is written next, and nothing else.

        Raises:
            TimeoutError: an empty map may still come over it.
        """
        if self._placing is not None:
            await asyncio.wait({self._placing}, timeout=_LATE_SECONDS)
            if not self._placing.done():
                raise TimeoutError("the disk does not answer")
        await self._publisher.reopen()


@dataclass(frozen=True, slots=True)
class AdmissionMaps:
    """Both maps: edge id → person, and pairs of person and notebook → `1`."""

    edges: AdmissionMap
    owners: AdmissionMap

    async def rebuild(self, owned: Mapping[str, str]) -> tuple[Path | None, Path | None]:
        """Write fresh files; return where damaged ones are kept."""
        return await self.edges.rebuild(), await self.owners.rebuild(owned)
