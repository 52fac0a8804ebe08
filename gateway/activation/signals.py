"""What is known of one server's use, and how more of it is asked: the dearer, the later.

Each question can only put an end off, never bring it nearer; so nothing is asked while what is
known already keeps the server. What cannot be asked is unknown, and the rest decides: with three
exceptions, for what may well be computing must not be killed for its silence. A server that does
not answer counts as working if it did when it last answered, or never answered; so does one with
terminals that could not be looked at; and one whose project's own check cannot be asked. All up to
the busy cap, like all work.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import quote

from gateway.activation.idleness import LONG_AGO, Moments, Use
from gateway.activation.usage import Usage, UsageProbe, foreground_command
from gateway.errors import GatewayError
from gateway.notebooks.logs import logger_of
from gateway.notebooks.model import Notebook
from gateway.notebooks.stillbusy import is_url
from gateway.proxy.interface import RouteEntry
from gateway.spaces import Spaces
from gateway.spawners.base import Spawner

_CHECK_DEADLINE = 30.0
_LOOK_DEADLINE = 5.0
_NO_PROGRAM = 1


@dataclass(slots=True)
class Watched:
    """What is known of one notebook's server; moments are monotonic seconds.

    Attributes:
        person: the last sign of a person; a start is one.
        work: the last known work without one.
        started: its start.
        requests: in flight at this look and at the one before: a download, and not the moment of
            a poll.
        in_flight: at the last look.
        warned: since when its pages are warned.
        hot: whether it ran at the last look; None before the first.
        busy: what the server last told; None if it has not.
        recorded: the moment that the record has as `last_active`.
        told: what was logged about it last, so that it is logged once.
    """

    person: float = LONG_AGO
    work: float = LONG_AGO
    started: float = LONG_AGO
    requests: int = 0
    in_flight: int = 0
    warned: float | None = None
    hot: bool | None = None
    busy: bool | None = None
    recorded: float = LONG_AGO
    told: str = ""
    moments: Moments = field(default_factory=Moments)

    @property
    def use(self) -> Use:
        """What is judged."""
        return Use(self.person, self.work, self.started, self.requests, self.warned)

    def tell(self, slug: str, what: str) -> None:
        """Log `what`, unless it was the last thing that was logged."""
        if what != self.told:
            self.told = what
            logger_of(slug).info("%s", what)

    @property
    def last_active(self) -> float:
        """When it was last of use to anybody."""
        return max(self.person, self.work)

    def meet(self, notebook: Notebook, now: float, wall: datetime, *, hot: bool) -> None:
        """Take up what the record says."""
        if self.hot is None:
            self.recorded = self.moments.of("record", notebook.last_active, now, wall)
            self.person = max(self.person, self.recorded)
        elif hot and not self.hot:
            # Somebody wanted it to run, though it may not have been through us.
            self.person, self.busy = now, None
        started = self.moments.of("start", notebook.started, now, wall)
        if started != LONG_AGO:
            self.busy = self.busy if started == self.started else None
            self.started = started
        elif self.started == LONG_AGO:
            self.started = now if self.person == LONG_AGO else self.person
        self.person = max(self.person, self.started)
        self.hot = hot

    def seen(self, last: datetime | None, requests: int, now: float, wall: datetime) -> None:
        """Take up what the traffic was."""
        self.person = max(self.person, self.moments.of("traffic", last, now, wall))
        self.requests, self.in_flight = min(self.in_flight, requests), requests


class Signals:
    """Asks about servers, and puts what it hears into what is Watched.

    Args:
        probe: asks servers.
        spawner: runs commands in them.
        spaces: people's files.
        base_url: where a notebook's Jupyter serves.
        clock: monotonic seconds.
        wall: the wall clock, UTC.
        direct: whether httpd serves notebooks without us, so that we see no person: then a kernel
            or terminal at work is a sign of one.
        vetoed: told when a project's check says that a server is busy.
    """

    def __init__(
        self,
        probe: UsageProbe,
        spawner: Spawner,
        spaces: Spaces,
        base_url: Callable[[str], str],
        clock: Callable[[], float],
        wall: Callable[[], datetime],
        *,
        direct: bool,
        vetoed: Callable[[], None],
    ) -> None:
        self._probe = probe
        self._spawner = spawner
        self._spaces = spaces
        self._base_url = base_url
        self._clock = clock
        self._wall = wall
        self._direct = direct
        self._vetoed = vetoed

    async def ask_server(self, slug: str, entry: RouteEntry, watched: Watched) -> None:
        """Ask for kernels and terminals."""
        if entry.target is None or entry.secret is None:
            return
        usage = await self._probe.ask(entry.target, self._base_url(slug), entry.secret)
        if usage is None:
            if watched.busy is not False:
                watched.work = self._clock()
            taken = "idle" if watched.busy is False else "busy"
            watched.tell(slug, f"the server does not tell what it does; it is taken for {taken}")
            return
        watched.busy = usage.busy or (
            usage.terminals > 0 and await self._in_foreground(slug, watched)
        )
        last = self._last_of(usage, watched)
        watched.work = max(watched.work, self._clock() if watched.busy else last)
        if self._direct:
            watched.person = max(watched.person, last)

    def _last_of(self, usage: Usage, watched: Watched) -> float:
        now, wall = self._clock(), self._wall()
        return max(
            watched.moments.of("kernels", usage.kernels, now, wall),
            watched.moments.of("terminals", usage.output, now, wall),
        )

    async def _in_foreground(self, slug: str, watched: Watched) -> bool:
        """Whether a terminal's program runs, or may: the look for it may fail."""
        try:
            server = await self._spawner.inspect(slug)
            if server is None:
                return False
            # A process's id begins with its number, and it shares its machine with others.
            own = server.id.partition("-")[0] if self._spawner.name == "process" else ""
            look = foreground_command(int(own) if own.isdigit() else 0)
            code = await self._spawner.execute(server, look, _LOOK_DEADLINE)
        except GatewayError as error:
            watched.tell(slug, f"its terminals cannot be looked at, taken for busy: {error}")
            return True
        if code not in (0, _NO_PROGRAM):
            watched.tell(
                slug, f"its terminals cannot be looked at, taken for busy: exit code {code}"
            )
        return code != _NO_PROGRAM

    async def ask_files(self, slug: str, watched: Watched) -> None:
        """Look when its files changed."""
        changed = await self._spaces.last_change(slug)
        now, wall = self._clock(), self._wall()
        watched.work = max(watched.work, watched.moments.of("files", changed, now, wall))

    async def ask_check(self, slug: str, still_busy: str | None, watched: Watched) -> None:
        """Ask the project's own check, which may veto."""
        if not still_busy:
            return
        try:
            busy = await self._check(slug, still_busy)
        except (GatewayError, ValueError) as error:
            watched.tell(slug, f"the check cannot be asked, it is taken for busy: {error}")
            busy = None
        if busy is not False:
            self._vetoed()
            watched.work = self._clock()

    async def _check(self, slug: str, still_busy: str) -> bool | None:
        if is_url(still_busy):
            return await self._probe.busy(still_busy.replace("{slug}", quote(slug, safe="")))
        server = await self._spawner.inspect(slug)
        if server is None:
            return False
        code = await self._spawner.execute(server, shlex.split(still_busy), _CHECK_DEADLINE)
        return None if code is None else code == 0
