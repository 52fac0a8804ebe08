"""Matching in memory: exact host first, else the longest path prefix on segment boundaries.

The cost of a match is bounded by the depth of the deepest key, whatever the number of routes
and whatever the length of the request's path.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Generic, TypeVar

from routes.keys import canonical_host, canonical_segment

V = TypeVar("V")


class Table(Generic[V]):
    """Maps canonical keys to values. Keys come from `keys.canonical_key`."""

    def __init__(self) -> None:
        self._hosts: dict[str, V] = {}
        self._paths: dict[bytes, V] = {}
        self._depths: Counter[int] = Counter()
        self._deepest = 0

    def __len__(self) -> int:
        return len(self._hosts) + len(self._paths)

    def put(self, key: str, value: V) -> None:
        """Set the value of a key."""
        if not key.startswith("/"):
            self._hosts[key] = value
            return
        path = key.encode("ascii")
        if path not in self._paths:
            self._depths[_depth(path)] += 1
            self._deepest = max(self._depths)
        self._paths[path] = value

    def get(self, key: str) -> V | None:
        """Return the value of exactly this key, or None."""
        if key.startswith("/"):
            return self._paths.get(key.encode("ascii"))
        return self._hosts.get(key)

    def remove(self, key: str) -> None:
        """Forget a key; nothing happens when it is not there."""
        if not key.startswith("/"):
            self._hosts.pop(key, None)
            return
        path = key.encode("ascii")
        if self._paths.pop(path, None) is not None:
            self._depths[_depth(path)] -= 1
            self._depths += Counter()
            self._deepest = max(self._depths, default=0)

    def items(self) -> Iterator[tuple[str, V]]:
        """Yield every key with its value, in no order."""
        yield from self._hosts.items()
        for path, value in self._paths.items():
            yield path.decode("ascii"), value

    def match(self, host: bytes, path: bytes) -> V | None:
        """Return the value for a request, or None.

        Args:
            host: the raw Host header.
            path: the raw path; it may carry a query, which is ignored.
        """
        if self._hosts:
            value = self._hosts.get(canonical_host(host))
            if value is not None:
                return value
        return self._match_path(path) if self._paths else None

    def _match_path(self, path: bytes) -> V | None:
        prefix = self._leading_segments(path.partition(b"?")[0])
        while prefix:
            value = self._paths.get(prefix)
            if value is not None:
                return value
            prefix = prefix[: prefix.rfind(b"/")]
        return self._paths.get(b"/") if path.startswith(b"/") else None

    def _leading_segments(self, path: bytes) -> bytes:
        """Return as many leading segments as the deepest key has, in canonical form."""
        end = 0
        for _ in range(self._deepest):
            end = path.find(b"/", end + 1)
            if end < 0:
                return canonical_segment(path)
        return canonical_segment(path[:end])


def _depth(path: bytes) -> int:
    return 0 if path == b"/" else path.count(b"/")
