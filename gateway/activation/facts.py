"""The engine's facts in the records: a cache, so that it never holds a start or a stop up.

Where the database cannot be written, the records in memory are right all the same, and what is owed
to the database is written when it can be.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from gateway.errors import NotFound
from gateway.notebooks.catalogue import Catalogue
from gateway.notebooks.database import DatabaseError

logger = logging.getLogger(__name__)

_WRITE_SECONDS = 5.0
_AGAIN_SECONDS = 0.5


class Facts:
    """Writes facts into the records of a catalogue."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._owed: dict[str, dict[str, Any]] = {}

    async def note(self, slug: str, **facts: Any) -> None:
        """Put facts into a notebook's record. Raises NotFound."""
        owed = self._owed.get(slug)
        facts = (owed or {}) | facts
        try:
            async with asyncio.timeout(_AGAIN_SECONDS if self._owed else _WRITE_SECONDS):
                await self._catalogue.update_notebook(slug, **facts)
        except (DatabaseError, TimeoutError) as error:
            if not self._owed:
                logger.error("records cannot be written, notebooks go on reason=%s", error)
            self._catalogue.presume(slug, **facts)
            self._owed[slug] = facts
            return
        newer = self._owed.get(slug)
        if newer is owed:
            self._owed.pop(slug, None)
        elif newer is not None:
            # Noted meanwhile, and not written: that stands, and is owed still.
            self._catalogue.presume(slug, **newer)

    async def settle(self) -> None:
        """Write what is owed, as far as that is possible again."""
        for slug in list(self._owed):
            try:
                await self.note(slug)
            except NotFound:
                self._owed.pop(slug, None)
            if slug in self._owed:
                return
