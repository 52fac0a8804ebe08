"""Routes that outlive a control that was killed: its changes, in memory that the supervisor holds.

A JupyterHub sees that its proxy has ended, and sets all routes again. That a control ended and was
started again it does not see, so that one must come back with its routes.

There are two memories. Changes are lines behind a number; when they have become many more than the
routes, the routes are written to the other one, and its number last: the higher one counts, and a
kill at any moment leaves one that is whole.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass

from gateway.chp.book import NotKept, Record, RouteBook

_NUMBER = 8  # bytes in front
_SMALL = 1 << 20
_TIMES = 4


@dataclass(slots=True)
class _Memory:
    """One of the two.

    Attributes:
        descriptor: of the memory.
        number: what it begins with; 0 for a memory that does not count.
        end: where the next line goes.
    """

    descriptor: int
    number: int = 0
    end: int = 0


def memories() -> tuple[int, int]:
    """Return descriptors of two new ones; children inherit nothing unless it is passed."""
    first, second = (os.memfd_create(f"nbgate-proxy routes {number}") for number in (1, 2))
    return first, second


class Journal:
    """Keeps routes; see gateway.chp.book.Keeper.

    Args:
        descriptors: of the memories.
        book: the routes; at first without any.
    """

    def __init__(self, descriptors: tuple[int, int], book: RouteBook) -> None:
        self._book = book
        first, second = [_opened(descriptor) for descriptor in descriptors]
        self._active, self._other = (first, second) if first.number else (second, first)
        if self._other.number > self._active.number:
            self._active, self._other = self._other, self._active
        self._bound = _SMALL

    def restore(self) -> bool:
        """Put the routes that were kept into the book; return whether a control was before this."""
        if not self._active.number:
            return False
        kept: dict[str, tuple[str, float]] = {}
        for key, members, last in _lines(self._active):
            if members is None:
                kept.pop(key, None)
            else:
                kept[key] = members, last
        for key, (members, last) in kept.items():
            self._book.restore(key, json.loads(members + "}"), last)
        return True

    def begin(self) -> None:
        """Keep the book's routes as they are now, and from now on."""
        self._rewrite()
        self._book.keeper = self

    def note(self, record: Record) -> None:
        """See Keeper."""
        self._append(_line(record))

    def drop(self, record: Record) -> None:
        """See Keeper."""
        self._append(json.dumps([record.key, None, 0.0]).encode() + b"\n")

    async def flush(self) -> None:
        """See Keeper."""
        raise NotKept("routes are in memory only; --persist-routes keeps them")

    def _append(self, line: bytes) -> None:
        active = self._active
        active.end += _written(active, line)
        if active.end > self._bound:
            self._rewrite()

    def _rewrite(self) -> None:
        """Write the routes to the other memory, which counts from then on."""
        new, old = self._other, self._active
        os.ftruncate(new.descriptor, 0)
        new.number, new.end = 0, _NUMBER
        new.end += _written(new, b"".join(map(_line, self._book.records())))
        new.number = old.number + 1
        os.pwrite(new.descriptor, new.number.to_bytes(_NUMBER, "little"), 0)
        os.ftruncate(old.descriptor, 0)
        old.number = 0
        self._active, self._other = new, old
        self._bound = max(_SMALL, new.end * _TIMES)


def _opened(descriptor: int) -> _Memory:
    os.set_inheritable(descriptor, False)
    return _Memory(descriptor, int.from_bytes(os.pread(descriptor, _NUMBER, 0), "little"))


def _line(record: Record) -> bytes:
    return json.dumps([record.key, record.members, record.activity.last]).encode() + b"\n"


def _lines(memory: _Memory) -> Iterator[tuple[str, str | None, float]]:
    """Yield the changes: key, members and activity of each; what is not whole was not answered."""
    size = os.fstat(memory.descriptor).st_size - _NUMBER
    text = os.pread(memory.descriptor, max(size, 0), _NUMBER)
    for line in text[: text.rfind(b"\n") + 1].splitlines():
        key, members, last = json.loads(line)
        yield key, members, last


def _written(memory: _Memory, data: bytes) -> int:
    """Write at the end of a memory; return how many bytes."""
    left, at = memoryview(data), memory.end
    while left:
        done = os.pwrite(memory.descriptor, left, at)
        left, at = left[done:], at + done
    return len(data)
