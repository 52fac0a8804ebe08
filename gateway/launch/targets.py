"""Request targets of links, read strictly: what they say in text, and how they are written.

Pure. A link is an outsider's text that names people, files and where to go next, so whatever could
be read in two ways is refused: encoded slashes, dot segments, control characters, broken encodings.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote, unquote_to_bytes

LONGEST = 8000

_BROKEN = re.compile(r"%(?![0-9A-Fa-f]{2})")
_UNWANTED = frozenset(("Cc", "Cf", "Cs", "Zl", "Zp"))


class BadLink(ValueError):
    """A link that cannot be read in one way only."""


@dataclass(frozen=True, slots=True)
class Target:
    """Path and query of a link, decoded.

    Attributes:
        segments: of the path; the last one is "" behind a trailing slash.
        parameters: name and value, in the link's order.
    """

    segments: tuple[str, ...]
    parameters: tuple[tuple[str, str], ...] = ()

    @property
    def path(self) -> str:
        """The path in plain text."""
        return "/" + "/".join(self.segments)

    def values(self, name: str) -> list[str]:
        """Return the values of all parameters of that name."""
        return [value for other, value in self.parameters if other == name]

    def without(self, names: frozenset[str]) -> Target:
        """Return it without the parameters of these names."""
        kept = tuple(pair for pair in self.parameters if pair[0] not in names)
        return Target(self.segments, kept)

    def __str__(self) -> str:
        return quoted_path(self.segments) + quoted_query(self.parameters)


def quoted_path(segments: Sequence[str]) -> str:
    """Return a path for a URL, from plain text; it begins with `/`."""
    return "/" + "/".join(quote(segment, safe="") for segment in segments)


def quoted_query(parameters: Sequence[tuple[str, str]]) -> str:
    """Return `?` and a query for a URL, from plain text; "" without parameters."""
    pairs = [f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in parameters]
    return "?" + "&".join(pairs) if pairs else ""


def read_target(raw: str) -> Target:
    """Return what a request target in origin form (RFC 9112, 3.2.1) says.

    Raises:
        BadLink: it can be read in more than one way, or is longer than LONGEST.
    """
    if len(raw) > LONGEST or not raw.startswith("/") or not raw.isascii():
        raise BadLink("not a link")
    path, _, query = raw.partition("?")
    segments = tuple(_decoded(segment) for segment in path[1:].split("/"))
    if any(segment in (".", "..") or set("/\\") & set(segment) for segment in segments):
        raise BadLink("a path that leads elsewhere")
    if "" in segments[:-1]:
        raise BadLink("an empty part in the path")
    pairs = (pair.partition("=") for pair in query.split("&") if pair)
    parameters = tuple(
        (_decoded(name.replace("+", " ")), _decoded(value.replace("+", " ")))
        for name, _, value in pairs
    )
    return Target(segments, parameters)


def _decoded(text: str) -> str:
    if _BROKEN.search(text):
        raise BadLink("a broken percent-encoding")
    try:
        plain = unquote_to_bytes(text).decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadLink("not UTF-8") from error
    if any(unicodedata.category(char) in _UNWANTED for char in plain):
        raise BadLink("control characters")
    return plain
