"""How many client connections each worker has: numbers in memory that all workers share.

A worker writes its own number and reads the others'. There is no lock: each number has one writer,
and one that is a moment old does no harm.
"""

from __future__ import annotations

import mmap
import os
from typing import Self

_NUMBER = 4  # bytes of a C int
_AWAY = -1


class Board:
    """The numbers.

    Args:
        descriptor: of the shared memory; it is taken over.
        workers: how many there are.
    """

    def __init__(self, descriptor: int, workers: int) -> None:
        self.descriptor = descriptor
        self._map = mmap.mmap(descriptor, workers * _NUMBER)
        self._numbers = memoryview(self._map).cast("i")

    @classmethod
    def create(cls, workers: int) -> Self:
        """Return a new one, where all are away; children inherit nothing unless it is passed."""
        descriptor = os.memfd_create("nbgate workers")
        os.ftruncate(descriptor, workers * _NUMBER)
        board = cls(descriptor, workers)
        for slot in range(workers):
            board.leave(slot)
        return board

    def show(self, slot: int, connections: int) -> None:
        """Write how many connections the worker of this slot has."""
        self._numbers[slot] = connections

    def leave(self, slot: int) -> None:
        """Write that the worker of this slot accepts nobody."""
        self._numbers[slot] = _AWAY

    def least_beside(self, slot: int) -> int | None:
        """Return the smallest number of the other workers; None when none of them accepts."""
        numbers = self._numbers.tolist()
        del numbers[slot]
        return min((number for number in numbers if number != _AWAY), default=None)
