"""What stands in for a map that cannot be written: an empty one, made while there is room.

A map that opens something must not stay as it was when somebody is to be taken out of it. Renaming
a file over it needs no room on the disk, and httpd, which does not start without its maps, still
finds one; where even that fails the map is removed. A new map that is on its way does not come over
the empty one: its place is closed.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from pathlib import Path

from routes.builder import Builder
from routes.content import Content
from routes.errors import RouteFileError
from routes.place import Place
from routes.publishing import Stamp, publish, stamp_of

logger = logging.getLogger(__name__)


class Stopgap:
    """The empty map beside `path`; all that is done here touches the disk, in a thread.

    `put_in_place` is called in one thread at a time; it does not wait for `prepare`.

    Args:
        path: the map.
        mode: permission bits of it.
        place: its place, which is closed to what is on its way.
    """

    def __init__(self, path: Path, mode: int, place: Place) -> None:
        self._path = path
        self._mode = mode
        self._place = place
        self._spare = path.with_name(f".{path.name}.empty")
        self._placed: Stamp | None = None
        self._preparing = threading.Lock()
        self._failing = False

    def prepare(self) -> None:
        """Make the empty map, if it is not at hand; without it the map will be removed instead."""
        with self._preparing:
            if self._spare.exists():
                return
            try:
                with contextlib.closing(Builder()) as builder:
                    publish(self._spare, Content(({},)), self._mode, None, builder)
                self._failing = False
            except (RouteFileError, OSError) as error:
                if not self._failing:
                    logger.warning("no empty map at hand file=%s reason=%s", self._spare, error)
                self._failing = True

    def put_in_place(self) -> None:
        """See to it that nobody is in the map, nor comes into it by what is being written now.

        Raises:
            OSError: the map can be neither replaced nor removed.
        """
        self._place.close(self._empty)

    def _empty(self) -> None:
        present = stamp_of(self._path)
        if present is None or present == self._placed:
            return
        try:
            self._rename()
        except OSError:
            self._path.unlink(missing_ok=True)

    def _rename(self) -> None:
        with contextlib.suppress(
            PermissionError
        ):  # a group that we are not in; httpd opens nothing
            os.chown(self._spare, -1, self._path.stat().st_gid)
        placed = stamp_of(self._spare)
        self._spare.replace(self._path)
        self._placed = placed
