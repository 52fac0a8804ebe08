"""Matching in memory: exact host first, else the longest path prefix on segment boundaries.

Paths are a tree of segments. A match costs a step per segment as far as some key goes along, so
neither the number of routes nor the length of the request's path counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Generic, TypeVar

from routes.keys import canonical_host, canonical_key, canonical_segment
from routes.plain import plain_segment

V = TypeVar("V")
_NOTHING: Any = object()
_MANY = 10_000
_MOST_NEAR = 4_096


class _Node(dict[bytes, Any]):
    """A path prefix of longer keys: what follows by segment, a node, or a value where keys end.

    Attributes:
        held: the value of the key that ends here; _NOTHING where only longer keys exist.
        near: what was asked for last, a small copy: a look into a million children misses the
            processor's caches several times. None where there are few.
    """

    __slots__ = ("held", "near")

    def __init__(self, held: Any = _NOTHING) -> None:
        self.held = held
        self.near: dict[bytes, Any] | None = None

    def child(self, segment: bytes) -> Any:
        """Return what this segment, as it is written, leads to; _NOTHING for nothing."""
        near = self.near
        if near is None:
            return self.get(segment, _NOTHING)
        found = near.get(segment, _NOTHING)
        if found is _NOTHING:
            found = self.get(segment, _NOTHING)
            if found is not _NOTHING:
                if len(near) >= _MOST_NEAR:
                    near.clear()
                near[segment] = found
        return found

    def grow(self, segment: bytes, child: Any) -> None:
        """Set what a segment leads to."""
        self[segment] = child
        if self.near is not None:
            self.near.pop(segment, None)
        elif len(self) >= _MANY:
            self.near = {}

    def cut(self, segment: bytes) -> None:
        """Forget a segment."""
        del self[segment]
        if self.near is not None:
            self.near.pop(segment, None)


class Table(Generic[V]):
    """Maps keys, in canonical form, to values."""

    def __init__(self) -> None:
        self._values: dict[str, V] = {}
        self._hosts: dict[str, V] = {}
        self._root = _Node()

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Table({len(self)} routes)"

    def put(self, key: str, value: V) -> None:
        """Set the value of a key. Raises InvalidKey."""
        self.place(canonical_key(key), value)

    def place(self, key: str, value: V) -> None:
        """Do what `put` does; `key` is in canonical form already, and is kept as it is."""
        self._values[key] = value
        if not key.startswith("/"):
            self._hosts[key] = value
        elif key == "/":
            self._root.held = value
        else:
            self._grow(key.encode("ascii")[1:].split(b"/"), value)

    def get(self, key: str) -> V | None:
        """Return the value of exactly this key, or None."""
        return self._values.get(key)

    def remove(self, key: str) -> None:
        """Forget a key; nothing happens when it is not there."""
        if self._values.pop(key, _NOTHING) is _NOTHING:
            return
        if not key.startswith("/"):
            del self._hosts[key]
        elif key == "/":
            self._root.held = _NOTHING
        else:
            self._prune(key.encode("ascii")[1:].split(b"/"))

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
            value: V | None = self._hosts.get(host, _NOTHING)
            if value is not _NOTHING:
                return value
        return self._match_path(path)

    def _match_path(self, path: bytes) -> V | None:
        if not path.startswith(b"/"):
            return None
        node = self._root
        best = node.held
        end, query = 0, path.find(b"?")
        last = len(path) if query < 0 else query
        while node and end < last:
            start = end + 1
            end = path.find(b"/", start, last)
            if end < 0:
                end = last
            segment = path[start:end]
            # Most segments are canonical already; one that equals a key's segment is.
            child = node.child(segment)
            if child is _NOTHING:
                child = _other_spelling(node, segment)
                if child is _NOTHING:
                    break
            if child.__class__ is not _Node:
                best = child
                break
            node = child
            if node.held is not _NOTHING:
                best = node.held
        return None if best is _NOTHING else best

    def _grow(self, segments: list[bytes], value: V) -> None:
        node, last = self._root, segments.pop()
        for segment in segments:
            child = node.get(segment, _NOTHING)
            if child.__class__ is not _Node:
                child = _Node(child)
                node.grow(segment, child)
            node = child
        child = node.get(last)
        if child.__class__ is _Node:
            child.held = value
        else:
            node.grow(last, value)

    def _prune(self, segments: list[bytes]) -> None:
        nodes = [self._root]
        for segment in segments[:-1]:
            nodes.append(nodes[-1][segment])
        node, last = nodes.pop(), segments.pop()
        if node[last].__class__ is _Node:
            node[last].held = _NOTHING
            return
        node.cut(last)
        while nodes and not node:
            held, node = node.held, nodes.pop()
            last = segments.pop()
            if held is not _NOTHING:
                node.grow(last, held)
                return
            node.cut(last)


def _other_spelling(node: _Node, segment: bytes) -> Any:
    canonical = canonical_segment(segment)
    child = node.get(canonical, _NOTHING) if canonical != segment else _NOTHING
    if child is _NOTHING and b"%" in canonical:
        # JupyterHub's keys are plain, and a name's `@` may come as `%40`.
        return node.get(plain_segment(canonical), _NOTHING)
    return child
