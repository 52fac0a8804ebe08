"""The words of the pages, in each language; which one a request wants.

A language is a file in words/, named by its tag: the words of all pages in one place. One that is
added is found by itself. What programs read (problem+json) stays English.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources

DEFAULT = "en"
_MOST_WANTED = 20


@dataclass(frozen=True, slots=True)
class Words:
    """The words of one language.

    Attributes:
        tag: BCP 47, e.g. `fr`.
        texts: by their keys.
    """

    tag: str
    texts: Mapping[str, str]

    def __call__(self, key: str, **values: object) -> str:
        """Return a text with `values` in the places that it has for them."""
        return self.texts[key].format(**values)

    def __contains__(self, key: str) -> bool:
        return key in self.texts


def load() -> Mapping[str, Words]:
    """Return the words of all languages, by their tags."""
    folder = resources.files("gateway.web") / "words"
    files = [one for one in folder.iterdir() if one.name.endswith(".json")]
    return {
        tag: Words(tag, json.loads(one.read_text("utf-8")))
        for one in files
        if (tag := one.name.removesuffix(".json"))
    }


_ALL = load()


def words_for(accept_language: str) -> Words:
    """Return the words of the best language that there is (RFC 9110, section 12.5.4)."""
    for tag in wanted(accept_language):
        found = _ALL.get(tag) or _ALL.get(tag.partition("-")[0])
        if found is not None:
            return found
    return _ALL[DEFAULT]


def wanted(accept_language: str) -> list[str]:
    """Return the language tags of a header, in lower case, the most wanted first."""
    ranked = []
    for item in accept_language.split(",")[:_MOST_WANTED]:
        tag, _, weight = item.partition(";")
        quality = _quality(weight)
        if tag.strip() and quality > 0:
            ranked.append((-quality, tag.strip().lower()))
    return [tag for _, tag in sorted(ranked, key=lambda one: one[0])]


def _quality(weight: str) -> float:
    name, _, value = weight.strip().partition("=")
    if name.strip().lower() != "q":
        return 1.0
    try:
        return float(value)
    except ValueError:
        return 0.0
