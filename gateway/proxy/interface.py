"""The seam between the data path and control: the data that crosses it.

The data path owns connections and nothing durable. For each request head it calls
`Gate.decide`, which is synchronous and does no I/O, and carries out the decision. Only a `Hold`
makes it wait, in `Gate.awaken`. Nothing here does I/O.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final, Protocol

from gateway.proxy.messages import RequestHead
from routes.keys import Target

_NOBODY: Final[frozenset[str]] = frozenset()


@dataclass(slots=True)
class Activity:
    """What the traffic of one notebook was, for the idle culler. Written by the data path only.

    Attributes:
        last: clock time (monotonic seconds) of the last sign of a person; 0.0 for never.
        requests: requests in flight now.
        websockets: tunnels open now.
    """

    last: float = 0.0
    requests: int = 0
    websockets: int = 0


@dataclass(frozen=True, slots=True)
class RouteEntry:
    """What the table holds for a key: one immutable value, replaced whole on each change.

    What each request looks at comes first: compiled, that is one line of the processor's cache.

    Attributes:
        key: the route's key in canonical form.
        target: where it leads now; None means cold.
        slug: the notebook behind it; None for a plain route that an operator set.
        secret: the hop secret to inject; None for plain routes.
        activity: shared by all successive entries of one notebook; None where nobody asks what the
            traffic was: plain routes.
        owner: the subject who may use it; None for plain routes, which are open to all.
        project: the notebook's project; None for plain routes.
        waking: a start is under way, so background requests are held for it.
        generation: of the server behind the target.
        engine_id: the engine the target is on.
        others: subjects who may use it as well: who teaches its project, who it is shared with;
            None for nobody else.
        direct: whether httpd may serve it by itself, where it does that: the server, of an image
            of ours, says who may frame it, and asks for the hop secret.
        ancestors: who may show it in a frame, as `frame-ancestors` has it; None to leave what the
            upstream says.
    """

    key: str
    target: Target | None = None
    slug: str | None = None
    secret: str | None = None
    activity: Activity | None = None
    owner: str | None = None
    project: str | None = None
    waking: bool = False
    generation: int = 0
    engine_id: str = "local"
    others: frozenset[str] | None = None
    direct: bool = False
    ancestors: str | None = None


@dataclass(frozen=True, slots=True)
class Client:
    """Who sent the request, after trusted proxies' headers were applied (forwarded.py).

    Attributes:
        address: IP address as text; of the real client when a trusted proxy told it.
        scheme: `http` or `https`, as the client sees it.
        host: Host as the client sees it, with its port if it sent one.
        port: the port of the client-visible origin.
        trusted: whether the peer itself is a configured proxy.
        user: whom a trusted peer says that it has authenticated; None where it names nobody.
        user_name: what it says they are called; "" for nothing.
    """

    address: str
    scheme: str
    host: str
    port: int
    trusted: bool = False
    user: str | None = None
    user_name: str = ""


def shut_out(before: RouteEntry | None, now: RouteEntry) -> frozenset[str]:
    """Return who might use a notebook, and may no more since its entry was replaced; mostly nobody.

    Administrators are not looked at: what they had open by being named there ends as well.
    """
    if before is None or before.owner is None:
        return _NOBODY
    if before.owner == now.owner and before.others == now.others:
        return _NOBODY
    return (before.others or _NOBODY).union((before.owner,)) - _people(now)


def _people(entry: RouteEntry) -> frozenset[str]:
    owner = () if entry.owner is None else (entry.owner,)
    return (entry.others or _NOBODY).union(owner)


class Relay:
    """Send the request to `entry.target`.

    Attributes:
        entry: its route.
        user: the session's subject, told to the notebook; None on plain routes.
        may_wake: whether the request may start the notebook again if it turns out to be dead.
        session: the session's id, with which it ends; "" on plain routes.
        user_name: what the person is called, told to the notebook; "" where nobody said so.
    """

    __slots__ = ("entry", "may_wake", "session", "user", "user_name")

    # No dataclass: requests to many routes make one each, and compiled a plain class is quicker.
    def __init__(
        self,
        entry: RouteEntry,
        user: str | None = None,
        *,
        may_wake: bool = True,
        session: str = "",
        user_name: str = "",
    ) -> None:
        self.entry = entry
        self.user = user
        self.may_wake = may_wake
        self.session = session
        self.user_name = user_name

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Relay) and (
            (self.entry, self.user, self.may_wake, self.session, self.user_name)
            == (other.entry, other.user, other.may_wake, other.session, other.user_name)
        )

    def __hash__(self) -> int:
        return hash((self.entry.key, self.user, self.may_wake))

    def __repr__(self) -> str:
        return f"Relay({self.entry!r}, {self.user!r}, may_wake={self.may_wake})"


@dataclass(frozen=True, slots=True)
class Hold:
    """Keep the request (reading paused) until its notebook is hot, then relay it.

    Attributes: see Relay.
    """

    entry: RouteEntry
    user: str | None = None
    session: str = ""
    user_name: str = ""


@dataclass(frozen=True, slots=True)
class Local:
    """Hand the request to the aiohttp application.

    Attributes:
        reason: why, told in `X-Nbgate-Reason`: "" (its own page), `unknown`, `login`,
            `forbidden`, `waiting`, `reading` (not live, but its files), `unavailable`.
        slug: the notebook meant, told in `X-Nbgate-Slug`; "" for none.
    """

    reason: str = ""
    slug: str = ""


@dataclass(frozen=True, slots=True)
class Refuse:
    """Answer at once with problem+json; the body of the request is not read.

    Attributes:
        status: HTTP status code.
        code: a stable word.
        detail: one line.
        retry_after: seconds; None for no header.
    """

    status: int
    code: str
    detail: str
    retry_after: int | None = None


Decision = Relay | Hold | Local | Refuse


class Gate(Protocol):
    """Control, as the data path sees it."""

    def decide(self, head: RequestHead, client: Client) -> Decision:
        """Return what to do with a request. Synchronous, no I/O, never raises."""
        ...

    async def awaken(self, hold: Hold) -> Relay | Refuse:
        """Wait until the notebook is hot; bounded by the hold timeout.

        Cancelling it cancels the wait, never the start.
        """
        ...

    def stands(self, relay: Relay) -> bool:
        """Whether `relay`'s target is still the one to send to; plain routes' always are."""
        ...

    def suspect(self, relay: Relay) -> Hold | None:
        """A connection to `relay`'s target was refused: no byte of the request was sent.

        Marks a notebook's target as suspect and returns the Hold to try once more with; None
        for plain routes and for entries that have been replaced by a failed one.
        """
        ...


class DataPath(Protocol):
    """The data path, as control sees it: in this process, or in workers that follow its tables."""

    async def settled(self) -> None:
        """Return when the changes so far are in force: who asked for one sees it at once."""
        ...

    async def drained(self, entry: RouteEntry | None) -> None:
        """Return when no request will be sent to the target that a route had; it is cold now.

        Args:
            entry: the entry before it was made cold; None when there was none.
        """
        ...

    async def end_sessions(self, session_ids: Collection[str]) -> None:
        """Break off what these sessions have open: tunnels, and requests on their way.

        They are out of the session table already, so nothing new begins.
        """
        ...

    def end_use(self, key: str, people: frozenset[str]) -> None:
        """Break off what these people have open at a route, and nowhere else.

        Its entry names them no more, so nothing new begins.
        """
        ...


@dataclass(frozen=True, slots=True)
class ProxyLimits:
    """Bounds of the data path; seconds and bytes.

    Attributes:
        head_bytes: a larger head gets 431.
        head_timeout: a head not complete by then gets 408.
        keepalive_timeout: an idle downstream connection is closed.
        connect_timeout: no upstream connection by then is 504.
        response_timeout: no upstream response head by then, after the whole request was sent,
            is 504; None for no bound.
        upstream_idle: a pooled upstream connection older than this is not used again.
        pipeline: requests read ahead of the one being answered.
        linger_timeout: a client that was told the last has so long to close its direction.
        quiet_timeout: over TLS, where no direction is closed alone, nothing may come for so long.
        flush_interval: so often it is looked whether a client that was told the last has taken it.
        stall_timeout: one that has taken nothing of it for so long is cut off.
        half_open_timeout: a tunnel of which one end has closed, or ended its direction, is closed
            when for so long nothing moved; the other limit holds while the client has some to take.
    """

    head_bytes: int = 65536
    head_timeout: float = 20.0
    keepalive_timeout: float = 75.0
    connect_timeout: float = 5.0
    response_timeout: float | None = 600.0
    upstream_idle: float = 30.0
    pipeline: int = 8
    linger_timeout: float = 5.0
    quiet_timeout: float = 1.0
    flush_interval: float = 30.0
    stall_timeout: float = 600.0
    half_open_timeout: float = 60.0


class Observer(Protocol):
    """Where the data path reports to: metrics and the access log."""

    def request_started(self) -> None:
        """A request head was accepted."""
        ...

    def request_finished(self, outcome: str) -> None:
        """It ended. `outcome`: `1xx` (a tunnel was opened) … `5xx`, or `aborted`."""
        ...

    def websocket_opened(self) -> None:
        """A tunnel was set up (101)."""
        ...

    def websocket_closed(self) -> None:
        """A tunnel ended."""
        ...


Clock = Callable[[], float]
monotonic: Clock = time.monotonic
