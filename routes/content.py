"""What a file is to hold, told as what it holds and what changes: nothing is copied. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

Changes = Mapping[bytes, bytes | None]
"""New values by key; None where the key goes."""


class Content(Mapping[bytes, bytes]):
    """The entries of a file that is to be published.

    Attributes:
        changes: since `before`.
        before: names the content that the changes are made to; None for none that has a name.
        after: names this content.

    Args:
        parts: that content; no key is in two of them. They must not change meanwhile.
    """

    def __init__(
        self,
        parts: Sequence[Mapping[bytes, bytes]],
        changes: Changes | None = None,
        before: object | None = None,
    ) -> None:
        self._parts = parts
        self.changes = changes or {}
        self.before = before
        self.after = object()
        size = sum(map(len, parts))
        for key, value in self.changes.items():
            size += (value is not None) - any(key in part for part in parts)
        self._size = size

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, key: bytes) -> bytes:
        if key in self.changes:
            value = self.changes[key]
            if value is None:
                raise KeyError(key)
            return value
        for part in self._parts:
            if key in part:
                return part[key]
        raise KeyError(key)

    def __iter__(self) -> Iterator[bytes]:
        return (key for key, _ in self.pairs())

    def pairs(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield every entry, one by one."""
        changes = self.changes
        for part in self._parts:
            if changes:
                yield from (pair for pair in part.items() if pair[0] not in changes)
            else:
                yield from part.items()
        for key, value in changes.items():
            if value is not None:
                yield key, value
