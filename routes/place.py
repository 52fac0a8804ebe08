"""The place of a published file, which can be closed to what is on its way there."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from routes.errors import Overtaken


class Place:
    """Where new versions of a file are renamed to, unless it was closed after they were begun.

    Such a version may have what is not to be there any more. Safe from any thread.
    """

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._closed = False

    def reopen(self) -> None:
        """Let versions in again that are begun from now on; none may be on its way.

        It waits while the place is being closed, which a stuck disk can make long.
        """
        with self._turn:
            self._closed = False

    def put(self, new: Path, path: Path) -> None:
        """Rename a new version over the file.

        Raises:
            Overtaken: the place is closed.
            OSError: it cannot be renamed.
        """
        with self._turn:
            if self._closed:
                raise Overtaken(path)
            new.replace(path)

    def close(self, work: Callable[[], None]) -> None:
        """Let no version in, and do `work` with what is there. It may raise; closed it is."""
        with self._turn:
            self._closed = True
            work()
