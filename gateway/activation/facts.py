"""The engine's facts in the records: a cache, so that it never holds a start or a stop up.

Where the database cannot be written, the records in memory are right all the same, and what is owed
to the database is written when it can be.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from typing import Any

from gateway.errors import NotFound
from gateway.notebooks.catalogue import Catalogue
from gateway.notebooks.database import DatabaseError
from gateway.notebooks.model import Notebook

logger = logging.getLogger(__name__)

_WRITE_SECONDS = 5.0
_AGAIN_SECONDS = 0.5


class Facts:
    """Writes facts into the records of a catalogue, one write of a notebook's at a time."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._writes: dict[str, asyncio.Task[Notebook]] = {}

    async def note(self, slug: str, **facts: Any) -> None:
        """Put facts into a notebook's record. Raises NotFound."""
        owing = bool(self._catalogue.presumed)
        try:
            async with asyncio.timeout(_AGAIN_SECONDS if owing else _WRITE_SECONDS):
                await self._write(slug, facts)
        except (DatabaseError, TimeoutError) as error:
            if not owing:
                logger.error("records cannot be written, notebooks go on reason=%s", error)
            self._owe(slug, facts)

    async def _write(self, slug: str, facts: Mapping[str, Any]) -> None:
        while (before := self._writes.get(slug)) is not None:
            await asyncio.wait({before})
        if slug in self._catalogue.presumed:
            facts = self._owe(slug, facts)  # they stand at once, and are written with it
        write = asyncio.create_task(self._catalogue.update_notebook(slug, **facts))
        self._writes[slug] = write
        write.add_done_callback(lambda done: self._written(slug, done))
        await asyncio.shield(write)

    def _owe(self, slug: str, facts: Mapping[str, Any]) -> Mapping[str, Any]:
        """Have facts stand above what is owed; return all that is."""
        self._catalogue.presume(slug, **{**self._catalogue.presumed.get(slug, {}), **facts})
        return self._catalogue.presumed[slug]

    def _written(self, slug: str, done: asyncio.Task[Notebook]) -> None:
        del self._writes[slug]
        if not done.cancelled():
            done.exception()  # whoever waits gets it

    async def settle(self) -> None:
        """Write what is owed, as far as that is possible again."""
        for slug in list(self._catalogue.presumed):
            with contextlib.suppress(NotFound):
                await self.note(slug)
            if slug in self._catalogue.presumed:
                return
