"""Matching in memory: exact host first, else the longest path prefix on segment boundaries.

Paths are a tree of segments. A match costs a step per segment as far as some key goes along, so
neither the number of routes nor the length of the request's path counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

from routes.keys import canonical_host, canonical_key, canonical_segment

V = TypeVar("V")


class _Node(Generic[V]):
    """A path prefix. `held` has the key's value, or nothing where only longer keys exist."""

    __slots__ = ("children", "held")

    def __init__(self) -> None:
        self.children: dict[bytes, _Node[V]] = {}
        self.held: tuple[V] | None = None


class Table(Generic[V]):
    """Maps keys, in canonical form, to values."""

    def __init__(self) -> None:
        self._values: dict[str, V] = {}
        self._hosts: dict[str, tuple[V]] = {}
        self._root: _Node[V] = _Node()

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Table({len(self)} routes)"

    def put(self, key: str, value: V) -> None:
        """Set the value of a key. Raises InvalidKey."""
        key = canonical_key(key)
        self._values[key] = value
        if not key.startswith("/"):
            self._hosts[key] = (value,)
            return
        node = self._root
        for segment in _segments(key):
            node = node.children.setdefault(segment, _Node())
        node.held = (value,)

    def get(self, key: str) -> V | None:
        """Return the value of exactly this key, or None."""
        return self._values.get(key)

    def remove(self, key: str) -> None:
        """Forget a key; nothing happens when it is not there."""
        if self._values.pop(key, None) is None:
            return
        if not key.startswith("/"):
            del self._hosts[key]
        else:
            self._prune(_segments(key))

    def items(self) -> Iterator[tuple[str, V]]:
        """Yield every key with its value, in no order; the table may change meanwhile."""
        yield from tuple(self._values.items())

    def keys(self) -> list[str]:
        """Return every key, in no order; later changes do not touch the list."""
        return list(self._values)

    def values(self) -> list[V]:
        """Return every value, in no order; later changes do not touch the list."""
        return list(self._values.values())

    def swap(self, other: Table[V]) -> None:
        """Exchange the content with `other`, at once."""
        mine = self._values, self._hosts, self._root
        self._values, self._hosts, self._root = other._values, other._hosts, other._root
        other._values, other._hosts, other._root = mine

    def match(self, host: bytes, path: bytes) -> V | None:
        """Return the value for a request, or None.

        Args:
            host: the raw Host header.
            path: the raw path; it may carry a query, which is ignored.
        """
        return self.find(canonical_host(host) if self._hosts else "", path)

    def find(self, host: str, path: bytes) -> V | None:
        """Do what `match` does; `host` is in canonical form already."""
        if self._hosts:
            held = self._hosts.get(host)
            if held is not None:
                return held[0]
        return self._match_path(path)

    def _match_path(self, path: bytes) -> V | None:
        if not path.startswith(b"/"):
            return None
        node, best = self._root, self._root.held
        end, query = 0, path.find(b"?")
        last = len(path) if query < 0 else query
        while node.children and end < last:
            start = end + 1
            end = path.find(b"/", start, last)
            if end < 0:
                end = last
            segment = path[start:end]
            # Most segments are canonical already; one that equals a key's segment is.
            child = node.children.get(segment) or _other_spelling(node, segment)
            if child is None:
                break
            node, best = child, child.held or best
        return best[0] if best is not None else None

    def _prune(self, segments: list[bytes]) -> None:
        nodes = [self._root]
        for segment in segments:
            nodes.append(nodes[-1].children[segment])
        nodes[-1].held = None
        for segment in reversed(segments):
            node = nodes.pop()
            if node.children or node.held is not None:
                return
            del nodes[-1].children[segment]


def _segments(key: str) -> list[bytes]:
    return [] if key == "/" else key.encode("ascii")[1:].split(b"/")


def _other_spelling(node: _Node[V], segment: bytes) -> _Node[V] | None:
    canonical = canonical_segment(segment)
    return node.children.get(canonical) if canonical != segment else None
