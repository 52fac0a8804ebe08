"""Each notebook's own logger. Where log lines go and how they look is gateway/logs.py's."""

from __future__ import annotations

import logging
from collections.abc import MutableMapping
from typing import Any


class NotebookLogger(logging.LoggerAdapter[logging.Logger]):
    """Puts the slug on each record, beside what the call itself gives in `extra`."""

    def process(
        self, msg: Any, kwargs: MutableMapping[str, Any]
    ) -> tuple[Any, MutableMapping[str, Any]]:
        """Return the message unchanged, and `extra` with the slug added."""
        kwargs["extra"] = {**(kwargs.get("extra") or {}), **(self.extra or {})}
        return msg, kwargs


def logger_of(slug: str) -> NotebookLogger:
    """Return the logger of a notebook: `nbgate.notebook.<slug>`; records have `slug`."""
    return NotebookLogger(logging.getLogger(f"nbgate.notebook.{slug}"), {"slug": slug})
