"""The manual's own configuration, docs/jupyterhub.md: what is told there is what is tested."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

_MANUAL = Path(__file__).resolve().parents[2] / "docs" / "jupyterhub.md"


def block(heading: str, language: str = "python") -> str:
    """Return the first block of code of a language below a heading of the manual."""
    pattern = rf"^## {re.escape(heading)}$(?:(?!^## ).)*?^```{language}\n(.*?)^```$"
    found = re.search(pattern, _MANUAL.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert found is not None, f"the manual has no {language} below {heading!r}"
    return found[1]


def adapted(text: str, changes: Mapping[str, str]) -> str:
    """Return `text` with what is of the example's machine replaced by what is of the test's.

    Each change must have something to do, or the manual has moved on and the test has not.
    """
    for example, own in changes.items():
        assert example in text, f"the manual's {example!r} is not there any more:\n{text}"
        text = text.replace(example, own)
    return text
