"""The nouns of the domain: Project, Notebook, Limits and the states a notebook moves through.

Frozen values only. How they are stored is database.py's, how they are named is names.py's,
how they come to run is activation/'s.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime


class State(enum.StrEnum):
    """Where a notebook is in `cold → starting → running → stopping → cold`, or `failed`."""

    COLD = "cold"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    FAILED = "failed"


class Health(enum.StrEnum):
    """What a running server answers to probes."""

    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"


class Links(enum.StrEnum):
    """Which links of an LMS lead into a course."""

    OFF = "off"
    SIGNED = "signed"
    PLAIN = "plain"


class LinkPage(enum.StrEnum):
    """Which page of Jupyter a link ends on."""

    NOTEBOOK = "notebook"
    LAB = "lab"


@dataclass(frozen=True, slots=True)
class Limits:
    """What one server may use.

    Attributes:
        memory: bytes; None means the installation's default.
        cpus: cores, may be fractional; None means the installation's default.
    """

    memory: int | None = None
    cpus: float | None = None


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """How long servers stay. Seconds; 0 means never, None the installation's default.

    Attributes:
        idle_timeout: a server that nobody has used for so long is stopped.
        max_age: it is stopped so long after its start, whatever it does.
        warning: its open pages are told so long before a stop.
        busy_cap: busy kernels alone keep it for so long after the last sign of a person.
        pause_after: a server that nobody has used for so long is paused.
        remove_after: a stopped container is kept for so long; 0: it is removed at once.
        still_busy: asked before an idle server is stopped: a URL, answered with 200 as long as it
            is busy, or a command in it that ends with 0. None for nothing.
        autosave: between two saves of an open document; the least that a stop can lose.
    """

    idle_timeout: float | None = None
    max_age: float | None = None
    warning: float | None = None
    busy_cap: float | None = None
    pause_after: float | None = None
    remove_after: float | None = None
    still_busy: str | None = None
    autosave: float | None = None


@dataclass(frozen=True, slots=True)
class Project:
    """What notebooks belong to and are made from: a research project or a course.

    Attributes:
        name: a slug (see names.check_slug), unique.
        title: what pages show.
        source: an absolute folder, or a git URL (`https://…`, `ssh://…`, `file://…`, `git@…`);
            None means notebooks start with an empty space.
        image: container image; None means the installation's default.
        limits: applied to each of its notebooks, unless the notebook has its own.
        environment: variables given to each server.
        labels: labels given to each container.
        staff: subjects (persons) who teach or administer it.
        lifetimes: how long its notebooks' servers stay.
        links: which links of an LMS lead into it.
        links_page: which page of Jupyter they end on.
        frame_ancestors: origins that may show its pages in a frame; None means the installation's.
        anonymous: whether anybody gets a notebook of it for a moment, without a name.
        created: UTC.
    """

    name: str
    title: str
    created: datetime
    source: str | None = None
    image: str | None = None
    limits: Limits = Limits()
    environment: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    staff: tuple[str, ...] = ()
    lifetimes: Lifetimes = Lifetimes()
    links: Links = Links.OFF
    links_page: LinkPage = LinkPage.NOTEBOOK
    frame_ancestors: tuple[str, ...] | None = None
    anonymous: bool = False


@dataclass(frozen=True, slots=True)
class Lock:
    """Why a notebook must not be stopped, deleted or reconfigured.

    Attributes:
        locked_by: the subject who locked it.
        reason: for people to read.
        since: UTC.
    """

    locked_by: str
    reason: str
    since: datetime


@dataclass(frozen=True, slots=True)
class Notebook:
    """One server that nbgate can start. Intent is stored; engine facts here are a cache.

    Attributes:
        slug: ASCII, unique, a DNS label of at most 63 characters; the container's name is made
            from it.
        name: what people see.
        project: the name of the project it belongs to.
        owner: the subject (a person or group) whose session may use it.
        container_image: None means the project's, then the installation's.
        limits: fields that are None fall back to the project's, then the installation's.
        environment: added over the project's.
        labels: added over the project's.
        generation: counts up with every container made for it; secrets are derived from it.
        state: cached, never trusted after a restart.
        container_id: the engine's id of the running container; None when cold. Cached.
        port: the localhost port in dev mode; None in prod mode or when cold. Cached.
        internal_url: `http://address:port` on the engine's network in prod mode. Cached.
        engine_id: the engine that the container is on. Cached.
        engine_status: the engine's word for what the container does; None when there is none.
            Cached.
        health: what it answers to probes since it became ready; None when it is cold. Cached.
        health_reason: one line on why it is unhealthy; None when it is not. Cached.
        started: when its server was started, UTC; None when cold. Cached.
        last_active: the last sign of a person or of work in it, UTC; None for never.
        lock: None means not locked.
        shared_with: subjects who may use it as its project's staff may.
        created: UTC.
    """

    slug: str
    name: str
    project: str
    owner: str
    created: datetime
    container_image: str | None = None
    limits: Limits = Limits()
    environment: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    generation: int = 0
    state: State = State.COLD
    container_id: str | None = None
    port: int | None = None
    internal_url: str | None = None
    engine_id: str = "local"
    engine_status: str | None = None
    health: Health | None = None
    health_reason: str | None = None
    started: datetime | None = None
    last_active: datetime | None = None
    lock: Lock | None = None
    shared_with: tuple[str, ...] = ()
