"""The spawner protocol: what starts, stops and lists servers, whatever the engine.

The core owns this interface; docker.py and process.py import it, never the reverse. A spawner
knows nothing of projects, persons, routes or the database: it is given a ServerSpec and tells
facts as Servers. Every method is asynchronous and bounded by a deadline of the spawner's own.
"""

from __future__ import annotations

import enum
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Literal, Protocol

from routes.keys import Target


@dataclass(frozen=True, slots=True)
class ServerSpec:
    """All a spawner needs to make one server.

    Attributes:
        slug: the notebook's slug.
        generation: the notebook's generation (≥ 1).
        image: container image; the process spawner ignores it.
        base_url: where Jupyter serves: `/` or `/nb/<slug>/`; begins and ends with `/`.
        token: the hop secret of this generation. The server accepts it as
            `Authorization: token …`.
        user_name: the person's display name, for servers that show it.
        space: the notebook's space as the gateway sees it; becomes the server's working directory.
        memory: bytes; None for no limit.
        cpus: cores; None for no limit.
        environment: extra variables.
        labels: extra labels.
        frame_ancestors: origins that may frame the notebook besides its own.
        autosave: seconds between two saves of an open document; None for Jupyter's own.
    """

    slug: str
    generation: int
    image: str
    base_url: str
    token: str
    user_name: str
    space: Path
    memory: int | None = None
    cpus: float | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    frame_ancestors: Sequence[str] = ()
    autosave: float | None = None


class ServerState(enum.StrEnum):
    """What the engine says about a server."""

    CREATED = "created"
    RUNNING = "running"
    PAUSED = "paused"
    EXITED = "exited"
    REMOVING = "removing"


@dataclass(frozen=True, slots=True)
class Server:
    """Facts about one server, as the engine tells them now.

    Attributes:
        id: the engine's id: a container id, or `<pid>-<start ticks>` of a process.
        slug: from its label.
        generation: from its label.
        state: see ServerState.
        target: where the gateway reaches it; None unless it runs or is paused.
        port: localhost port (dev mode and processes); None in prod mode.
        internal_url: `http://address:port` on the engine's network; None for processes.
        exit_code: of an exited server; None while unknown.
        reason: one line about an abnormal end ("out of memory"); "" when there is none.
        status: the engine's own word for its state ("running", "dead", …).
        started: when it was started, UTC; None where the engine does not tell (in lists).
        created: when it was made, UTC; None where the engine does not tell.
        ours: whether an image of ours, or the gateway itself, set its Jupyter up: then it trusts
            the hop secret, and says who may frame it.
    """

    id: str
    slug: str
    generation: int
    state: ServerState
    target: Target | None = None
    port: int | None = None
    internal_url: str | None = None
    exit_code: int | None = None
    reason: str = ""
    status: str = ""
    started: datetime | None = None
    created: datetime | None = None
    ours: bool = False


class Change(enum.StrEnum):
    """What happened to a server."""

    STARTED = "started"
    PAUSED = "paused"
    RESUMED = "resumed"
    ENDED = "ended"
    REMOVED = "removed"


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """One event of the engine.

    Attributes:
        id: of the server.
        slug: from its label.
        change: what happened.
        moment: seconds since the epoch by the engine's clock; where to resume from.
    """

    id: str
    slug: str
    change: Change
    moment: float


@dataclass(frozen=True, slots=True)
class Pull:
    """How far the pull of an image has come.

    Attributes:
        done: bytes so far; of layers whose size is known.
        total: bytes to get; 0 while unknown.
    """

    done: int
    total: int


Mode = Literal["dev", "prod", "unknown"]
"""Where servers are reached: on localhost ports, on the engine's network, or nobody knows yet."""

Observe = Callable[[str, float], None]
"""Told the name of a phase of a start (`create`, `start`) and the seconds that it took."""


OnPull = Callable[[Pull], None]
"""Told how far the pull of an image is; called in the event loop, often."""


def unobserved(phase: str, seconds: float) -> None:
    """Tell nobody."""


def untold(pull: Pull) -> None:
    """Tell nobody."""


class Spawner(Protocol):
    """Starts, stops and lists this installation's servers on one engine."""

    name: str
    engine_id: str

    @property
    def mode(self) -> Mode:
        """The mode in force, as far as known; the engine is not asked."""
        ...

    async def open(self) -> None:
        """Get ready to start servers, and find out the mode; start() does it else. Idempotent.

        Raises:
            EngineUnavailable, EngineError.
        """
        ...

    async def detect_mode(self) -> Mode:
        """Return the mode in force, never "unknown"; the engine is asked until it is known.

        Raises:
            EngineUnavailable, EngineError.
        """
        ...

    async def start(self, spec: ServerSpec, on_pull: OnPull | None = untold) -> Server:
        """Make `spec`'s server run, or join the one that does; return it with its target.

        The deterministic name is the lock: running → join (its generation may be
        older than the spec's: the caller looks); paused → unpause and join; created or exited →
        that container is started when its generation and spec hash fit, else removed and made
        anew; removing → wait. A name that a container holds whose removal fails is freed. An
        image that is not there is pulled, see `pull`; not where `on_pull` is None. It does not
        wait until the server is ready.

        Raises:
            ImageMissing, NameTaken, EngineUnavailable, EngineError.
        """
        ...

    async def pull(self, image: str, on_pull: OnPull = untold) -> None:
        """Have the engine get an image, where the installation allows it; `on_pull` is told.

        Raises:
            ImageMissing, EngineUnavailable, EngineError.
        """
        ...

    async def fits(self, server: Server, spec: ServerSpec) -> bool:
        """Whether `start` would start that ended server again, rather than make a new one."""
        ...

    async def inspect(self, slug: str) -> Server | None:
        """Return the facts about `slug`'s server, or None when the engine has none."""
        ...

    async def list(self) -> Sequence[Server]:
        """Return all servers of this installation, running or not.

        The reason of an end, its exit code and the moment of a start may be missing; see inspect.
        """
        ...

    async def stop(self, server: Server, grace: float, *, keep: bool = False) -> None:
        """End the server: SIGTERM, and SIGKILL after `grace` seconds; then remove it by its id.

        "Already gone" is success. Never touches a server with another id. With `keep` the stopped
        server stays, for `start` to start it again. A paused one is let go first, so that it can
        end gently. A removal that fails because the engine is busy frees the name and is tried
        again later.
        """
        ...

    async def pause(self, server: Server) -> None:
        """Freeze the server: it keeps its memory and uses no processor. `start` lets it go on.

        Raises:
            EngineError: the engine cannot.
        """
        ...

    async def execute(self, server: Server, command: Sequence[str], deadline: float) -> int | None:
        """Run a command in the server, as its user; return its exit code.

        None where it could not be run or has not ended by `deadline` seconds.
        """
        ...

    def watch(self, since: float | None) -> AbstractAsyncContextManager[AsyncIterator[ServerEvent]]:
        """Follow what happens to this installation's servers; entered, it is subscribed.

        The iterator ends by EngineUnavailable when the engine goes away.

        Args:
            since: the moment of the last event that was seen, which is told again; None: from now.
        """
        ...

    async def sweep(self, grace: float) -> Sequence[str]:
        """Remove what no start will use: leftovers of this installation older than `grace` s.

        Those are containers that were created and never started, dead ones, and ones whose
        removal failed before. Returns one line for each.
        """
        ...

    async def logs(self, server: Server, lines: int) -> str:
        """Return the last `lines` lines of its output; "" when there is none any more."""
        ...

    async def close(self) -> None:
        """Let go of the engine; servers go on running."""
        ...
