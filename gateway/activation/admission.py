"""The queue of starts: who may start, who waits, and behind whom. It starts nothing itself.

First in, first out, and one owner after the other: owners take turns, in the order in which they
came. In a class, where everybody starts one notebook, that is the plain order of arrival. Who
starts many waits behind each newcomer at most once, and nobody waits for ever, since whoever was
served goes to the end. For the same reason the last free place is not given to an owner who has a
start under way, and a newcomer finds room in a full queue at the expense of whoever has most in it:
one person's notebooks that never become ready cannot use up the starts of all others.

Nothing here knows of HTTP or of an engine.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from gateway.errors import AllPlacesTaken, GatewayError, QueueFull, TooManyRunning

logger = logging.getLogger(__name__)

_LOOK_SECONDS = 1.0
_MEMINFO = Path("/proc/meminfo")


@dataclass(frozen=True, slots=True)
class AdmissionLimits:
    """What may start and run.

    Attributes:
        starts_at_once: how many starts are under way at the same time.
        queue_length: how many wait at most.
        per_owner: notebooks of one owner that run, or are to; 0 for no limit.
        in_all: notebooks that run, or are to; 0 for no limit.
        memory_reserve: bytes that the machine has to spare when a start begins; 0 to not look.
    """

    starts_at_once: int
    queue_length: int = 1000
    per_owner: int = 0
    in_all: int = 0
    memory_reserve: int = 0

    @property
    def counts_running(self) -> bool:
        """Whether it matters how many run."""
        return bool(self.per_owner or self.in_all)

    def check(self, owner: str, others: Sequence[tuple[str, str]]) -> None:
        """Raise when one more of `owner`'s may not run.

        Args:
            owner: whose it is.
            others: slug and owner of each other notebook that runs, or is to.

        Raises:
            TooManyRunning, AllPlacesTaken: they name the owner's notebooks that run.
        """
        own = tuple(slug for slug, whose in others if whose == owner)
        if self.per_owner and len(own) >= self.per_owner:
            raise TooManyRunning(self.per_owner, own)
        if self.in_all and len(others) >= self.in_all:
            raise AllPlacesTaken(self.in_all, own)


class Ticket:
    """One start's place in the queue. Made by Admission.enter, given back by Admission.leave."""

    def __init__(self, slug: str, owner: str) -> None:
        self.slug = slug
        self.owner = owner
        self.ready = False
        self.admitted = False
        self.returned = False
        self.refused: GatewayError | None = None
        self.called = asyncio.Event()


class Admission:
    """See the module's docstring.

    Args:
        limits: see there.
        available: tells the machine's available memory in bytes; None while it is not known.
        changed: called whenever somebody's place has changed.
    """

    def __init__(
        self,
        limits: AdmissionLimits,
        available: Callable[[], int | None],
        changed: Callable[[], None],
    ) -> None:
        self.limits = limits
        self._available = available
        self._changed = changed
        self._lines: dict[str, deque[Ticket]] = {}  # by owner; the first one's turn is next
        self._under_way: Counter[str] = Counter()  # by owner
        self._places: dict[Ticket, int] | None = None
        self._looking: asyncio.TimerHandle | None = None
        self.short_of_memory = False

    @property
    def waiting(self) -> int:
        """How many wait."""
        return sum(map(len, self._lines.values()))

    @property
    def under_way(self) -> int:
        """How many starts are under way."""
        return self._under_way.total()

    def enter(self, slug: str, owner: str) -> Ticket:
        """Give the start of a notebook a place in the queue.

        Raises:
            QueueFull: there is none, and nobody has more in the queue than this owner.
        """
        if self.waiting >= self.limits.queue_length:
            self._make_room(owner)
        ticket = Ticket(slug, owner)
        self._lines.setdefault(owner, deque()).append(ticket)
        self._moved()
        return ticket

    async def admit(self, ticket: Ticket, lock: asyncio.Lock) -> None:
        """Return when the start may go on, with `lock` free.

        While somebody else has the notebook's lock, because it is still being stopped for example,
        its place in the queue is kept and nobody behind it is held up.

        Raises:
            GatewayError: it was put out of the queue; see withdraw.
        """
        while True:
            async with lock:
                pass
            ticket.ready = True
            self.look()
            await ticket.called.wait()
            if ticket.refused is not None:
                raise ticket.refused
            if not lock.locked():
                return
            self._give_back(ticket)

    def step_aside(self, ticket: Ticket) -> None:
        """Give up the place of a start that has to wait for something long; see come_back."""
        self._free(ticket)
        ticket.admitted = False
        ticket.called.clear()
        self.look()

    async def come_back(self, ticket: Ticket) -> None:
        """Return when a start that stepped aside has a place again: it is among the next.

        Raises:
            GatewayError: it was put out of the queue; see withdraw.
        """
        self._put_in_front(ticket)
        self.look()
        await ticket.called.wait()
        if ticket.refused is not None:
            raise ticket.refused

    def leave(self, ticket: Ticket) -> None:
        """Take a start out, wherever it is: it has ended, or was cancelled."""
        if ticket.admitted:
            self._free(ticket)
        else:
            self._take_out(ticket)
        self.look()

    def withdraw(self, ticket: Ticket, reason: GatewayError) -> bool:
        """Put a start that still waits out of the queue; return whether it was there."""
        if ticket.admitted or not self._take_out(ticket):
            return False
        ticket.refused = reason
        ticket.called.set()
        self.look()
        return True

    def position(self, ticket: Ticket) -> int:
        """Return a start's place, from 1, as it is now; 0 when it does not wait.

        Newcomers of other owners may come before an owner's second, third … start.
        """
        if self._places is None:
            self._places = {one: place for place, one in enumerate(self._in_order(), 1)}
        return self._places.get(ticket, 0)

    def look(self) -> None:
        """Let start who may: a place has become free, or memory has."""
        while (ticket := self._next()) is not None and self._has_memory():
            self._take_out(ticket)
            ticket.admitted = True
            self._under_way[ticket.owner] += 1
            if ticket.owner in self._lines:
                self._lines[ticket.owner] = self._lines.pop(ticket.owner)
            ticket.called.set()
        if not self._lines:
            self.short_of_memory = False
        self._moved()

    def close(self) -> None:
        """Look no more."""
        if self._looking is not None:
            self._looking.cancel()

    def _next(self) -> Ticket | None:
        """Return who starts next, if there is a place for somebody."""
        free = self.limits.starts_at_once - self.under_way
        if free <= 0:
            return None
        last = free == 1 and self.limits.starts_at_once > 1
        for owner, line in self._lines.items():
            if last and self._under_way[owner]:
                continue
            for ticket in line:
                if ticket.ready:
                    return ticket
        return None

    def _has_memory(self) -> bool:
        reserve = self.limits.memory_reserve
        available = self._available() if reserve else None
        short = available is not None and available < reserve
        if short != self.short_of_memory:
            logger.warning(
                "starts %s available=%s", "wait for memory" if short else "go on", available
            )
            self.short_of_memory = short
        if short:
            self.close()
            loop = asyncio.get_running_loop()
            self._looking = loop.call_later(_LOOK_SECONDS, self.look)
        return not short

    def _make_room(self, owner: str) -> None:
        longest = max(self._lines.values(), key=len)
        if len(longest) <= len(self._lines.get(owner, ())) + 1:
            raise QueueFull(self.limits.queue_length)
        self.withdraw(longest[-1], QueueFull(self.limits.queue_length))

    def _take_out(self, ticket: Ticket) -> bool:
        line = self._lines.get(ticket.owner, deque())
        if ticket not in line:
            return False
        line.remove(ticket)
        if not line:
            del self._lines[ticket.owner]
        self._moved()
        return True

    def _give_back(self, ticket: Ticket) -> None:
        """Put a start that cannot go on yet back where it was: in front."""
        self._free(ticket)
        ticket.admitted = False
        ticket.called.clear()
        self._put_in_front(ticket)
        ticket.ready = False
        self.look()

    def _put_in_front(self, ticket: Ticket) -> None:
        """Put back a start that had its turn: behind others that had theirs, before all else."""
        ticket.returned = True
        line = self._lines.pop(ticket.owner, deque())
        line.insert(sum(one.returned for one in line), ticket)
        front = {owner: one for owner, one in self._lines.items() if one[0].returned}
        self._lines = front | {ticket.owner: line} | self._lines

    def _free(self, ticket: Ticket) -> None:
        self._under_way[ticket.owner] -= 1
        if not self._under_way[ticket.owner]:
            del self._under_way[ticket.owner]

    def _in_order(self) -> Iterator[Ticket]:
        """Yield who waits, in the order of the turns."""
        for turn in range(max(map(len, self._lines.values()), default=0)):
            for line in self._lines.values():
                if turn < len(line):
                    yield line[turn]

    def _moved(self) -> None:
        self._places = None
        self._changed()


def available_memory(path: Path = _MEMINFO) -> int | None:
    """Return the bytes that programs can still get without swapping (proc(5), MemAvailable).

    None where the system does not tell.
    """
    try:
        for line in path.read_text("ascii").splitlines():
            name, _, rest = line.partition(":")
            if name == "MemAvailable":
                return int(rest.split()[0]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    return None
