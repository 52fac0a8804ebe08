"""Notebooks of the tests, and the moment at which they are made."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from gateway.notebooks.model import Notebook

NOON = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)


def now() -> datetime:
    """Return NOON."""
    return NOON


def a_notebook(slug: str = "genome", **fields: Any) -> Notebook:
    """Return a notebook of mary's in the project demo."""
    return Notebook(
        **{"slug": slug, "name": "Genome", "project": "demo", "owner": "mary"} | fields,
        created=NOON,
    )
